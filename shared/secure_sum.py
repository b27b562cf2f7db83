"""Keys and commitments of the secure sum: what a site makes, and the coordinator later checks.

Every key is bound to {run, seq, H(R)} and to the sites that it belongs to, in their order where it
is directed: no key serves twice, and so the nonces can be constant. Mask keys are bound to the
release as well: where the coordinator asked two sites for different releases, their masks don't
cancel, and it can't pass off the one's small noise for its share of the other's.
"""

from __future__ import annotations

from groundswell.shared.masks import derive, digest, framed
from groundswell.shared.roster import Terms

# One key encrypts one message.
SHARE_NONCE = bytes(12)


def commitment(terms: Terms, seq: int, site: str, self_mask: bytes) -> bytes:
    """H(b): lets the coordinator know the right b when it sees it."""
    return digest("commitment", terms.run, _number(seq), site.encode(), self_mask)


def share_context(terms: Terms, seq: int, roster_hash: bytes, sender: str, to: str) -> bytes:
    """What a pair of shares is bound to, as key derivation context and as associated data."""
    return framed((terms.run, _number(seq), roster_hash, sender.encode(), to.encode()))


def share_key(channel_secret: bytes, context: bytes) -> bytes:
    """k(i -> j), from the X25519 secret of two channel keys; directed by its context."""
    return derive(channel_secret, "share", context)


def mask_context(
    terms: Terms, seq: int, roster_hash: bytes, kind: str, round_number: int, model_hash: bytes
) -> bytes:
    """What the masks of a vector are bound to: attempt, roster, and what was asked for."""
    return framed(
        (
            terms.run,
            _number(seq),
            roster_hash,
            kind.encode(),
            _number(round_number),
            model_hash,
        )
    )


def self_key(self_mask: bytes, context: bytes, site: str) -> bytes:
    """Key of the stream that hides a site's vector until b is rebuilt."""
    return derive(self_mask, "self-mask", context, site.encode())


def pair_key(mask_secret: bytes, context: bytes, one: str, other: str) -> bytes:
    """Key of the stream that the lesser name adds and the greater subtracts."""
    low, high = sorted((one, other))
    return derive(mask_secret, "pair-mask", context, low.encode(), high.encode())


def _number(seq: int) -> bytes:
    return seq.to_bytes(8, "little")
