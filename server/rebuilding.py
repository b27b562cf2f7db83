"""Rebuilds the secrets that the survivors revealed, and takes the masks off the sum.

Source: Bonawitz et al. 2017, figure 4, round 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from groundswell.shared.errors import AttemptVoid
from groundswell.shared.masks import UInt64, agree, apply_masks, private_key, public_bytes
from groundswell.shared.roster import Roster, Terms
from groundswell.shared.secure_sum import commitment, pair_key, self_key
from groundswell.shared.shamir import combine
from groundswell.shared.wire import groundswell_pb2 as wire


def remove_masks(
    total: UInt64,
    *,
    terms: Terms,
    seq: int,
    roster: Roster,
    context: bytes,
    sharers: Sequence[str],
    survivors: Sequence[str],
    revealed: Mapping[str, wire.Unmasked],
) -> None:
    """Turn the sum of the survivors' masked vectors into the sum of their vectors, in place.

    Args:
        total: uint64 ``[d]``, modulo 2^64.
        context: what the masks are bound to, see ``secure_sum.mask_context``.
        sharers: U2, over which pair masks were made.
        survivors: U3, whose vectors are in ``total``.
        revealed: what each survivor revealed.

    Raises:
        AttemptVoid: ``too-few-shares`` where fewer than t sites revealed, or their shares give no
            secret that fits what the owner advertised.
    """
    if len(revealed) < terms.threshold:
        raise AttemptVoid("too-few-shares", f"{len(revealed)} of {terms.threshold} sites revealed")
    self_masks, mask_seeds = _shares_by_owner(roster, revealed)
    added: list[bytes] = []
    subtracted: list[bytes] = []
    for site in survivors:
        secret = _rebuild(site, self_masks, terms, _fits_commitment(roster, terms, seq, site))
        subtracted.append(self_key(secret, context, site))
    for dropped in sorted(set(sharers) - set(survivors)):
        seed = _rebuild(dropped, mask_seeds, terms, _fits_mask_key(roster, dropped))
        private = private_key(seed)
        for site in survivors:
            secret = agree(private, roster.members[site].mask_key)
            key = pair_key(secret, context, site, dropped)
            # The site added the stream where its own name is the lesser.
            (subtracted if site < dropped else added).append(key)
    apply_masks(total, added, subtracted)


Shares = dict[str, dict[int, bytes]]


def _shares_by_owner(
    roster: Roster, revealed: Mapping[str, wire.Unmasked]
) -> tuple[Shares, Shares]:
    """Shares of b and of s: owner to x to share."""
    self_masks: Shares = {}
    mask_seeds: Shares = {}
    for site, body in revealed.items():
        x = roster.position(site)
        for each in body.shares:
            kind = each.WhichOneof("share")
            if kind == "self_mask":
                self_masks.setdefault(each.site, {})[x] = each.self_mask
            elif kind == "mask_seed":
                mask_seeds.setdefault(each.site, {})[x] = each.mask_seed
    return self_masks, mask_seeds


def _rebuild(site: str, shares: Shares, terms: Terms, fits: Callable[[bytes], bool]) -> bytes:
    secret = combine(shares.get(site, {}), terms.threshold, fits)
    if secret is None:
        raise AttemptVoid("too-few-shares", f"the shares of a secret of {site} do not give it")
    return secret


def _fits_commitment(roster: Roster, terms: Terms, seq: int, site: str) -> Callable[[bytes], bool]:
    expected = roster.members[site].commitment
    return lambda secret: commitment(terms, seq, site, secret) == expected


def _fits_mask_key(roster: Roster, site: str) -> Callable[[bytes], bool]:
    expected = roster.members[site].mask_key
    return lambda seed: public_bytes(private_key(seed)) == expected
