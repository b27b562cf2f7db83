"""Keys, and the streams that hide a vector: added modulo 2^64, removed to the last bit.

A mask is the AES-256-CTR key stream of a key that is used for this one stream, read as
little-endian 64-bit words. Sums of uint64 arrays wrap modulo 2^64 in numpy, and int64 two's
complement survives the trip. Sources: HKDF, RFC 5869; double masking, Bonawitz et al., "Practical
Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017, section 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from groundswell.shared.errors import Refusal

UInt64 = NDArray[np.uint64]

KEY_BYTES = 32
# One block of key stream and the part of the sum that it is added to stay in the cache: measured
# 7.9 GB/s at 256 KiB against 6.9 GB/s at 4 MiB.
BLOCK_WORDS = 1 << 15
_ZEROS = memoryview(bytes(8 * BLOCK_WORDS))
_START = bytes(16)


def derive(secret: bytes, purpose: str, *context: bytes) -> bytes:
    """HKDF-SHA256: a 32-byte key for one purpose in one context (each part length-prefixed)."""
    info = b"groundswell/v1/" + purpose.encode() + b"\0" + framed(context)
    return HKDF(hashes.SHA256(), KEY_BYTES, None, info).derive(secret)


def digest(purpose: str, *parts: bytes) -> bytes:
    """SHA-256 over a purpose and length-prefixed parts: no two lists of parts collide."""
    return hashlib.sha256(b"groundswell/v1/" + purpose.encode() + b"\0" + framed(parts)).digest()


def framed(parts: Iterable[bytes]) -> bytes:
    """Each part after its length, 8 bytes little-endian."""
    return b"".join([len(part).to_bytes(8, "little") + part for part in parts])


def private_key(seed: bytes) -> X25519PrivateKey:
    """The X25519 key behind pk_mask, from the seed s that is shared among the roster."""
    return X25519PrivateKey.from_private_bytes(derive(seed, "mask-key"))


def public_bytes(key: X25519PrivateKey) -> bytes:
    """The raw public half of a key."""
    return key.public_key().public_bytes_raw()


def agree(own: X25519PrivateKey, other: bytes) -> bytes:
    """The shared secret of two X25519 keys.

    Raises:
        Refusal: ``bad-key``: not 32 bytes, or a point of low order.
    """
    try:
        return own.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError as error:
        raise Refusal("bad-key", "a key of the roster is no usable X25519 key") from error


def apply_masks(vector: UInt64, added: Iterable[bytes], subtracted: Iterable[bytes] = ()) -> None:
    """Add the streams of some keys and subtract those of others, in place and modulo 2^64.

    Args:
        vector: uint64 ``[d]``, changed in one pass.
    """
    plus = [_stream(key) for key in added]
    minus = [_stream(key) for key in subtracted]
    buffer = np.empty(min(BLOCK_WORDS, len(vector)), dtype="<u8")
    for start in range(0, len(vector), BLOCK_WORDS):
        block = vector[start : start + BLOCK_WORDS]
        words = buffer[: len(block)]
        octets = words.data.cast("B")
        zeros = _ZEROS[: 8 * len(block)]
        for stream in plus:
            stream.update_into(zeros, octets)
            np.add(block, words, out=block)
        for stream in minus:
            stream.update_into(zeros, octets)
            np.subtract(block, words, out=block)


def _stream(key: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key), modes.CTR(_START)).encryptor()
