"""Masks: they cancel to the last bit, and no two contexts share a key."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.shared.errors import Refusal
from groundswell.shared.masks import (
    BLOCK_WORDS,
    agree,
    apply_masks,
    derive,
    digest,
    private_key,
    public_bytes,
)

extremes = st.sampled_from([-(2**63), 2**63 - 1, 0, -1, 1])
words = st.one_of(st.integers(-(2**63), 2**63 - 1), extremes)
keys = st.lists(st.binary(min_size=32, max_size=32), max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.lists(words, min_size=1, max_size=50), keys, keys)
def test_what_is_added_and_subtracted_again_leaves_every_bit(
    values: list[int], added: list[bytes], subtracted: list[bytes]
) -> None:
    vector = np.array(values, dtype=np.int64)
    masked = vector.copy().view(np.uint64)
    apply_masks(masked, added, subtracted)
    apply_masks(masked, subtracted, added)
    assert np.array_equal(masked.view(np.int64), vector)


@pytest.mark.parametrize("length", [1, BLOCK_WORDS - 1, BLOCK_WORDS, 2 * BLOCK_WORDS + 5])
def test_a_stream_does_not_depend_on_the_blocks(length: int) -> None:
    key = bytes(range(32))
    whole = np.zeros(3 * BLOCK_WORDS, dtype=np.uint64)
    part = np.zeros(length, dtype=np.uint64)
    apply_masks(whole, [key])
    apply_masks(part, [key])
    assert np.array_equal(part, whole[:length])


def test_the_stream_is_aes_256_in_counter_mode() -> None:
    """First block: AES-256 of the zero block under the zero key (FIPS 197 / NIST vector)."""
    vector = np.zeros(2, dtype=np.uint64)
    apply_masks(vector, [bytes(32)])
    assert vector.astype("<u8").tobytes().hex() == "dc95c078a2408989ad48a21492842087"


def test_derivation_separates_purposes_and_contexts() -> None:
    secret = os.urandom(32)
    derived = {
        derive(secret, "a", b"b", b"c"),
        derive(secret, "a", b"bc"),
        derive(secret, "a", b"b", b"", b"c"),
        derive(secret, "ab", b"c"),
        derive(secret, "a"),
    }
    assert len(derived) == 5
    assert digest("a", b"b", b"c") != digest("a", b"bc")


def test_both_ends_agree() -> None:
    one, other = private_key(os.urandom(32)), private_key(os.urandom(32))
    assert agree(one, public_bytes(other)) == agree(other, public_bytes(one))


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32), (1).to_bytes(32, "little")])
def test_a_key_of_low_order_or_wrong_length_is_refused(key: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        agree(private_key(os.urandom(32)), key)
    assert refused.value.code == "bad-key"
