"""Keys of the secure sum: each serves one purpose, one attempt, one roster and one direction."""

from __future__ import annotations

from dataclasses import replace

from groundswell.shared.roster import Terms
from groundswell.shared.secure_sum import (
    commitment,
    mask_context,
    pair_key,
    self_key,
    share_context,
    share_key,
)

TERMS = Terms(bytes(16), bytes(32), 3, 3, 1)
OTHER_RUN = replace(TERMS, run=bytes(range(16)))
SECRET = bytes(range(32))
ROSTER, OTHER_ROSTER = bytes(32), bytes(range(32))


def test_no_share_key_serves_two_messages() -> None:
    contexts = [
        share_context(TERMS, 1, ROSTER, "a", "b"),
        share_context(TERMS, 1, ROSTER, "b", "a"),
        share_context(TERMS, 1, ROSTER, "a", "c"),
        share_context(TERMS, 2, ROSTER, "a", "b"),
        share_context(TERMS, 1, OTHER_ROSTER, "a", "b"),
        share_context(OTHER_RUN, 1, ROSTER, "a", "b"),
        share_context(TERMS, 1, ROSTER, "ab", ""),
    ]
    assert len({share_key(SECRET, context) for context in contexts}) == len(contexts)
    assert share_key(SECRET, contexts[0]) == share_key(SECRET, contexts[0])


def test_both_sites_of_a_pair_derive_the_same_mask_and_no_other_context_does() -> None:
    first = mask_context(TERMS, 1, ROSTER, "gradient", 1, bytes(32))
    contexts = [
        first,
        mask_context(TERMS, 2, ROSTER, "gradient", 1, bytes(32)),
        mask_context(TERMS, 1, OTHER_ROSTER, "gradient", 1, bytes(32)),
        mask_context(OTHER_RUN, 1, ROSTER, "gradient", 1, bytes(32)),
        mask_context(TERMS, 1, ROSTER, "evaluation", 1, bytes(32)),
        mask_context(TERMS, 1, ROSTER, "gradient", 2, bytes(32)),
        mask_context(TERMS, 1, ROSTER, "gradient", 1, bytes(range(32))),
    ]
    keys = [pair_key(SECRET, context, "a", "b") for context in contexts]
    keys += [self_key(SECRET, context, "a") for context in contexts]
    keys += [pair_key(SECRET, first, "a", "c"), self_key(SECRET, first, "b")]
    assert len(set(keys)) == len(keys)
    assert pair_key(SECRET, first, "b", "a") == keys[0]


def test_a_commitment_is_to_one_secret_of_one_site_in_one_attempt() -> None:
    made = [
        commitment(TERMS, 1, "a", SECRET),
        commitment(TERMS, 2, "a", SECRET),
        commitment(TERMS, 1, "b", SECRET),
        commitment(OTHER_RUN, 1, "a", SECRET),
        commitment(TERMS, 1, "a", bytes(32)),
    ]
    assert len(set(made)) == len(made)
