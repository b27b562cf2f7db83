"""Shamir's secret sharing over the integers modulo 2^255 - 19.

Source: A. Shamir, "How to share a secret", CACM 22(11), 1979. The prime is that of Curve25519, so a
secret of 255 random bits fits into one field element and a share is 32 bytes. Python's integers are
not constant-time: shares and secrets here live for one round inside one process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import combinations, islice
from math import comb

PRIME = 2**255 - 19
SHARE_BYTES = 32
# Subsets tried beyond the first where shares are bad: bounds what a liar can make others compute.
OTHER_SUBSETS = 200

Entropy = Callable[[int], bytes]


def random_element(entropy: Entropy) -> bytes:
    """A uniform field element, 32 bytes little-endian, by rejection."""
    while True:
        candidate = int.from_bytes(entropy(SHARE_BYTES), "little") & (2**255 - 1)
        if candidate < PRIME:
            return candidate.to_bytes(SHARE_BYTES, "little")


def split(secret: bytes, threshold: int, count: int, entropy: Entropy) -> list[bytes]:
    """Shares for x = 1..count; any ``threshold`` of them give the secret, fewer tell nothing.

    Args:
        secret: a field element, 32 bytes little-endian.

    Raises:
        ValueError: not 1 <= threshold <= count, or ``secret`` is no field element.
    """
    if not 1 <= threshold <= count:
        raise ValueError(f"threshold {threshold} does not lie in 1..{count}")
    if not is_element(secret):
        raise ValueError("the secret is no field element")
    constant = int.from_bytes(secret, "little")
    higher = [int.from_bytes(random_element(entropy), "little") for _ in range(threshold - 1)]
    shares = []
    for x in range(1, count + 1):
        value = 0
        for coefficient in reversed(higher):
            value = (value * x + coefficient) % PRIME
        shares.append(((value * x + constant) % PRIME).to_bytes(SHARE_BYTES, "little"))
    return shares


def is_element(data: bytes) -> bool:
    """Whether ``data`` is a field element in its one allowed form."""
    return len(data) == SHARE_BYTES and int.from_bytes(data, "little") < PRIME


def combine(
    shares: Mapping[int, bytes], threshold: int, accepts: Callable[[bytes], bool]
) -> bytes | None:
    """The secret behind ``shares``, or None.

    A wrong share gives a wrong secret without an error, so ``accepts`` must know the right one (by
    its hash or its public key). The first subset of ``threshold`` shares is tried, then at most 200
    others.

    Args:
        shares: x to share, 1 <= x < PRIME.
    """
    elements = {
        x: int.from_bytes(share, "little") for x, share in shares.items() if is_element(share)
    }
    if threshold < 1 or len(elements) < threshold:
        return None
    for chosen in islice(_subsets(tuple(sorted(elements)), threshold), 1 + OTHER_SUBSETS):
        weights = _weights_at_zero(chosen)
        total = sum(weight * elements[x] for weight, x in zip(weights, chosen, strict=True))
        secret = (total % PRIME).to_bytes(SHARE_BYTES, "little")
        if accepts(secret):
            return secret
    return None


def _subsets(points: tuple[int, ...], size: int) -> Iterator[tuple[int, ...]]:
    """Subsets in an order that soon leaves any given point out: all of them where they are few,
    else the points ranked by a hash of a counter."""
    yield points[:size]
    if comb(len(points), size) <= 1 + OTHER_SUBSETS:
        yield from islice(combinations(points, size), 1, None)
        return
    for counter in range(OTHER_SUBSETS):
        ranked = sorted(points, key=lambda x: hashlib.sha256(b"%d %d" % (counter, x)).digest())
        yield tuple(sorted(ranked[:size]))


@lru_cache(maxsize=512)
def _weights_at_zero(points: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's coefficients at 0: prod over other points of x_k / (x_k - x_i), modulo PRIME."""
    weights = []
    for x in points:
        above = below = 1
        for other in points:
            if other != x:
                above = above * other % PRIME
                below = below * (other - x) % PRIME
        weights.append(above * pow(below, -1, PRIME) % PRIME)
    return tuple(weights)
