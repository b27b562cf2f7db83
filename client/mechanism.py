"""The Gaussian mechanism of one site: clip, round to integers, add rounded Gaussian noise.

Protected unit: all of one user's events at one site, add or remove. A release is
``y = sum_u v_u + z`` where ``v_u`` is one user's integer vector with L2 norm at most ``scale``
(certain, checked in exact integers) and ``z`` is ``round(N(0, s^2))`` per coordinate. Source:
design section 3, steps 3 to 5, and the lemma there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from groundswell.shared.errors import InputError
from groundswell.shared.scaling import FILL, scale

__all__ = [
    "AUTO_S",
    "FLAT",
    "Randomness",
    "SystemRandomness",
    "clip_and_round",
    "gaussian_noise",
    "rounding_keys",
    "scale",
    "within_bound",
]

FLAT = "flat"
AUTO_S = "auto_s"
AUTO_S_STABILITY = 0.01

Vectors = NDArray[np.float64] | NDArray[np.float32]
Words = NDArray[np.uint64]

# Pairs of one block of noise: bounds the memory of temporaries to some 32 MiB.
PAIRS_PER_BLOCK = 1 << 19


class Randomness(Protocol):
    """The one seam through which a site draws its sample and its noise."""

    def words(self, count: int) -> Words:
        """uint64 ``[count]``, independent and uniform."""
        ...


class SystemRandomness:
    """A deployed site's only randomness: ChaCha20 under a fresh operating-system key per call."""

    def words(self, count: int) -> Words:
        return keystream(os.urandom(32), count)


def keystream(key: bytes, count: int) -> Words:
    """uint64 ``[count]``: the first words of the ChaCha20 stream under a 32-byte key, nonce 0.

    A key must serve one stream only.
    """
    stream = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(8 * count))
    return np.frombuffer(stream, dtype="<u8").astype(np.uint64, copy=False)


def rounding_keys(attempt_secret: bytes, users: Sequence[str]) -> list[bytes]:
    """One 32-byte rounding key per user: HKDF-SHA256 of the attempt's secret and the pseudonym.

    The same (attempt, user) always rounds alike, whatever else is in the sample and however it is
    cut into chunks; that keeps the other users' vectors unchanged when one user is removed.
    """
    return [
        HKDF(
            algorithm=hashes.SHA256(), length=32, salt=None, info=b"rounding\0" + user.encode()
        ).derive(attempt_secret)
        for user in users
    ]


def clip_and_round(
    vectors: Vectors,
    clip_norm: float,
    scale: int,
    max_nonzero: int,
    keys: Sequence[bytes],
    mode: str = FLAT,
) -> NDArray[np.int64]:
    """Each user's vector, clipped to ``clip_norm`` and stochastically rounded to integers.

    A row depends on that row and its key alone, to the bit. A row that is not finite, has more than
    ``max_nonzero`` non-zero coordinates, or breaks the bound ``|v| <= scale`` becomes zeros,
    silently: no code, error or log line may depend on user data.

    Args:
        vectors: float ``[U, m]``, one row per user.
        clip_norm: C, an L2 norm in the vectors' unit.
        scale: Delta, the L2 bound of the integer rows.
        max_nonzero: the plan's cap on a row's non-zero coordinates.
        keys: ``U`` rounding keys of 32 bytes, one per (attempt, user), see ``rounding_keys``.
        mode: ``flat``, or ``auto_s`` for C g / (|g| + 0.01) (Bu et al. 2023, automatic clipping).

    Returns:
        int64 ``[U, m]`` with every row's L2 norm at most ``scale``.

    Raises:
        InputError: the plan's parameters are unusable; never because of a value in ``vectors``.
    """
    if mode not in (FLAT, AUTO_S):
        raise InputError("clipping", mode, "must be flat or auto_s", "choose one of the two")
    if not (math.isfinite(clip_norm) and clip_norm > 0):
        raise InputError("clip_norm", clip_norm, "must be finite and positive", "correct the plan")
    if scale * scale < 1_000_000 * max_nonzero:
        raise InputError(
            "scale", scale, f"below 1000 sqrt({max_nonzero})", "compute it with scale()"
        )
    if len(keys) != len(vectors):
        raise InputError("keys", len(keys), f"must be one per row of {len(vectors)}", "pass all")
    rounded = np.zeros(vectors.shape, dtype=np.int64)
    for row, vector, key in zip(rounded, vectors, keys, strict=True):
        _round_row(row, vector, clip_norm, scale, max_nonzero, key, mode)
    rounded[~within_bound(rounded, scale)] = 0
    return rounded


def _round_row(
    row: NDArray[np.int64],
    vector: NDArray[np.floating],
    clip_norm: float,
    scale: int,
    max_nonzero: int,
    key: bytes,
    mode: str,
) -> None:
    """Fill the zeros ``row`` (int64 ``[m]``) with the rounded vector, or leave it as it is."""
    where = np.flatnonzero(vector)
    if not 0 < len(where) <= max_nonzero:
        return
    values = vector[where].astype(np.float64)
    largest = float(np.max(np.abs(values)))
    if not math.isfinite(largest):
        return
    # Over its largest entry a vector neither overflows nor underflows when it is squared.
    unit = values / largest
    norm = float(np.sqrt(np.sum(unit * unit)))
    with np.errstate(over="ignore"):
        if mode == FLAT:
            factor = min(float(np.float64(largest) / clip_norm), 1 / norm)
        else:
            factor = float(1 / (norm + np.float64(AUTO_S_STABILITY) / largest))
    scaled = unit * (FILL * scale * factor)
    floor = np.floor(scaled)
    # 53 bits compare exactly with the fraction, which is itself exact: no bias, and a whole number
    # stays as it is.
    uniform = (keystream(key, len(where)) >> np.uint64(11)) * 2.0**-53
    row[where] = floor.astype(np.int64) + (uniform < scaled - floor)


def within_bound(vectors: NDArray[np.int64], scale: int) -> NDArray[np.bool_]:
    """bool ``[U]``: whether each integer row has an L2 norm of at most ``scale``, exactly.

    Entries are compared first, so that no square can overflow; squares are then added in blocks
    whose sum fits int64, and the blocks as unbounded integers.
    """
    users, dimension = vectors.shape
    if dimension == 0:
        return np.ones(users, dtype=np.bool_)
    good: NDArray[np.bool_] = (vectors.max(axis=1) <= scale) & (vectors.min(axis=1) >= -scale)
    block = max(1, (2**63 - 1) // (scale * scale))
    for user in np.flatnonzero(good):
        squares = np.square(vectors[user])
        sums = np.add.reduceat(squares, np.arange(0, dimension, block))
        good[user] = sum(sums.tolist()) <= scale * scale
    return good


def gaussian_noise(
    dimension: int, standard_deviation: float, randomness: Randomness
) -> NDArray[np.int64]:
    """int64 ``[dimension]``, independent draws of round(N(0, standard_deviation^2)).

    Box and Muller 1958 in float64, from two 64-bit words a pair. The largest draw is
    sqrt(2 ln 2^65) = 9.49 standard deviations; what the words' grid and float64 cost is the 1e-12
    that design section 3 step 5 adds to delta once.

    Raises:
        InputError: the standard deviation is not a finite positive number.
    """
    if not (math.isfinite(standard_deviation) and standard_deviation > 0):
        raise InputError(
            "standard_deviation", standard_deviation, "must be finite and positive", "check sigma"
        )
    noise = np.empty(dimension, dtype=np.int64)
    for start in range(0, dimension, 2 * PAIRS_PER_BLOCK):
        part = noise[start : start + 2 * PAIRS_PER_BLOCK]
        pairs = (len(part) + 1) // 2
        drawn = integers_from_words(randomness.words(2 * pairs), standard_deviation)
        part[:] = drawn[: len(part)]
    return noise


def integers_from_words(words: Words, standard_deviation: float) -> NDArray[np.int64]:
    """int64 ``[2 P]`` from uint64 ``[2 P]``: each pair of words gives the two draws in its place.

    With u = (w + 1/2) / 2^64 of the two words: s sqrt(-2 ln u_0) times the cosine and the sine of
    2 pi u_1, rounded to the nearest integer.
    """
    radius_words, angle_words = words[0::2], words[1::2]
    radius = standard_deviation * np.sqrt(-2.0 * _log_uniform(radius_words))
    # The angle as a turn in (-pi, pi], by the word's two's complement: the same points of the
    # circle, and full precision around zero.
    turn = (np.ascontiguousarray(angle_words).view(np.int64) + 0.5) * (math.pi / 2.0**63)
    drawn = np.empty(len(words), dtype=np.int64)
    drawn[0::2] = np.rint(radius * np.cos(turn))
    drawn[1::2] = np.rint(radius * np.sin(turn))
    return drawn


def _log_uniform(words: Words) -> NDArray[np.float64]:
    """ln((w + 1/2) / 2^64), always below zero.

    Beyond one half, float64 would round u to 1 and lose the small radii, so there the logarithm is
    taken of the complement, 1 - u = (2^64 - 1 - w + 1/2) / 2^64.
    """
    upper = words >= np.uint64(1 << 63)
    distance = (np.where(upper, ~words, words).astype(np.float64) + 0.5) * 2.0**-64
    return np.where(upper, np.log1p(-distance), np.log(distance))
