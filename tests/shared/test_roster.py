"""The rules of rosters and survivor sets, heads, and headroom modulo 2^64."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.roster import (
    Head,
    Heads,
    Terms,
    check_headroom,
    check_sites,
    check_threshold,
    colluding_sites,
    least_threshold,
    sites_hash,
)

merchant_lists = st.lists(st.sampled_from("abcdefgh"), min_size=3, max_size=20)


def terms(threshold: int = 5, n_min: int = 3, colluders: int = 1) -> Terms:
    return Terms(bytes(16), bytes(32), threshold, n_min, colluders)


def test_a_colluding_merchant_counts_with_all_its_sites() -> None:
    assert colluding_sites(["a", "b", "c"], 1) == 1
    assert colluding_sites(["a", "a", "a", "b", "b", "c"], 1) == 3
    assert colluding_sites(["a", "a", "a", "b", "b", "c"], 2) == 5
    assert colluding_sites(["a"], 0) == 0


@settings(max_examples=200, deadline=None)
@given(merchant_lists, st.integers(0, 2), st.integers(2, 20))
def test_two_survivor_sets_share_an_honest_signer(
    merchants: list[str], colluders: int, threshold: int
) -> None:
    """Wherever the threshold is accepted: 2 (t - colluding) signers can't all be distinct."""
    given_terms = terms(threshold, 3, colluders)
    colluding = colluding_sites(merchants, colluders)
    honest = len(merchants) - colluding
    least = least_threshold(merchants, colluders)
    if threshold < least:
        with pytest.raises(Refusal, match="threshold-too-low"):
            check_threshold(merchants, given_terms)
    elif threshold > len(merchants):
        with pytest.raises(Refusal, match="threshold-too-high"):
            check_threshold(merchants, given_terms)
    else:
        check_threshold(merchants, given_terms)
        assert 2 * (threshold - colluding) > honest


@settings(max_examples=200, deadline=None)
@given(merchant_lists, st.integers(0, 2), st.integers(3, 10))
def test_an_accepted_set_holds_the_noises_that_were_reserved_for(
    merchants: list[str], colluders: int, n_min: int
) -> None:
    given_terms = terms(5, n_min, colluders)
    honest = len(merchants) - colluding_sites(merchants, colluders)
    if len(merchants) >= n_min and honest >= n_min - colluders:
        assert check_sites(merchants, given_terms, n_min) == honest
    else:
        with pytest.raises(Refusal, match="too-few-sites"):
            check_sites(merchants, given_terms, n_min)


def test_n_min_sites_of_one_large_merchant_are_refused() -> None:
    check_sites(["a", "b", "c", "d"], terms(n_min=4), 4)
    with pytest.raises(Refusal, match="too-few-sites"):
        check_sites(["a", "a", "b", "c"], terms(n_min=4), 4)


def test_a_head_may_only_rise() -> None:
    heads = Heads({"north": Head(5, b"x")})
    heads.record("north", Head(5, b"x"))
    heads.record("north", Head(6, b"y"))
    heads.record("south", Head(0, b""))
    assert heads.known() == {"north": Head(6, b"y"), "south": Head(0, b"")}
    for head, code in ((Head(5, b"x"), "ledger-behind"), (Head(6, b"z"), "ledger-forked")):
        with pytest.raises(Refusal, match=code):
            heads.record("north", head)
    assert heads.known()["north"] == Head(6, b"y")


def test_headroom_is_checked_against_every_sites_slots() -> None:
    check_headroom([10**6] * 128, 2**30, 1e7)
    room = 2**63 // 2**30
    check_headroom([room - 1], 2**30, 1.0)
    for slots, scale, deviation in (
        ([room], 2**30, 1.0),
        ([room // 2, room // 2 + 1], 2**30, 1.0),
        ([1], 1, 2.0**57),
    ):
        with pytest.raises(Refusal, match="no-headroom"):
            check_headroom(slots, scale, deviation)


@pytest.mark.parametrize(
    "values",
    [
        (bytes(15), bytes(32), 5, 3, 1),
        (bytes(16), bytes(31), 5, 3, 1),
        (bytes(16), bytes(32), 1, 3, 1),
        (bytes(16), bytes(32), 129, 3, 1),
        (bytes(16), bytes(32), 5, 1, 0),
        (bytes(16), bytes(32), 5, 3, 3),
        (bytes(16), bytes(32), 5, 3, -1),
    ],
)
def test_terms_that_make_no_sense_are_refused(values: tuple[bytes, bytes, int, int, int]) -> None:
    with pytest.raises(InputError):
        Terms(*values)


def test_a_set_hashes_the_same_in_any_order() -> None:
    assert sites_hash("sharers", ["b", "a"]) == sites_hash("sharers", ["a", "b"])
    assert sites_hash("sharers", ["a", "b"]) != sites_hash("sharers", ["ab"])
    assert sites_hash("sharers", ["a"]) != sites_hash("survivors", ["a"])
