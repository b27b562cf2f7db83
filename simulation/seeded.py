"""Randomness that can be repeated, or is none at all. Simulation only: its output is a rehearsal.

A deployed site draws from ``SystemRandomness``; nothing outside ``simulation/`` may use these.
"""

from __future__ import annotations

import hashlib

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray


class SeededRandomness:
    """A ChaCha20 stream keyed by a seed and labels: the same arguments give the same words.

    Two calls continue one stream, so ``words(a)`` then ``words(b)`` equal one ``words(a + b)``.
    """

    def __init__(self, seed: int | bytes, *labels: str | int) -> None:
        self._stream = Cipher(ChaCha20(_key(seed, labels), bytes(16)), mode=None).encryptor()

    def words(self, count: int) -> NDArray[np.uint64]:
        stream = self._stream.update(bytes(8 * count))
        return np.frombuffer(stream, dtype="<u8").astype(np.uint64, copy=False)

    def generator(self) -> np.random.Generator:
        """A numpy generator seeded from the stream, for generated data and tests."""
        return np.random.default_rng(self.words(4))


class NoNoise:
    """Words that make ``gaussian_noise`` exactly zero: what ``--break noise`` puts in its place.

    The largest word gives a radius of sqrt(-2 ln(1 - 2^-65)) = 2.3e-10 standard deviations, which
    rounds to 0 for every standard deviation that a plan may have (at most 1e7).
    """

    def words(self, count: int) -> NDArray[np.uint64]:
        return np.full(count, np.iinfo(np.uint64).max, dtype=np.uint64)


def _key(seed: int | bytes, labels: tuple[str | int, ...]) -> bytes:
    """32 bytes; parts are length-prefixed, so that different arguments never collide."""
    digest = hashlib.sha256(b"groundswell seeded randomness")
    for part in (seed, *labels):
        data = part if isinstance(part, bytes) else f"{type(part).__name__}:{part}".encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()
