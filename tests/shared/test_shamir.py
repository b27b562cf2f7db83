"""Secret sharing: enough shares give the secret, fewer tell nothing, bad ones are found."""

from __future__ import annotations

import secrets
from itertools import combinations
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.shared.shamir import (
    OTHER_SUBSETS,
    PRIME,
    SHARE_BYTES,
    combine,
    is_element,
    random_element,
    split,
)

elements = st.integers(0, PRIME - 1).map(lambda value: value.to_bytes(SHARE_BYTES, "little"))


@st.composite
def sharings(draw: st.DrawFn) -> tuple[bytes, int, int]:
    """A secret, a threshold and a number of shares."""
    count = draw(st.integers(1, 20))
    return draw(elements), draw(st.integers(1, count)), count


def numbered(shares: list[bytes]) -> dict[int, bytes]:
    return dict(enumerate(shares, start=1))


@settings(max_examples=200, deadline=None)
@given(sharings(), st.data())
def test_any_subset_of_threshold_shares_gives_the_secret(
    sharing: tuple[bytes, int, int], data: st.DataObject
) -> None:
    secret, threshold, count = sharing
    shares = numbered(split(secret, threshold, count, secrets.token_bytes))
    chosen = data.draw(st.permutations(sorted(shares)))[:threshold]
    subset = {x: shares[x] for x in chosen}
    assert combine(subset, threshold, lambda found: found == secret) == secret


@settings(max_examples=200, deadline=None)
@given(sharings())
def test_one_share_too_few_gives_nothing(sharing: tuple[bytes, int, int]) -> None:
    secret, threshold, count = sharing
    shares = numbered(split(secret, threshold, count, secrets.token_bytes))
    few = dict(list(shares.items())[: threshold - 1])
    assert combine(few, threshold, lambda _: True) is None


def test_fewer_shares_fit_every_secret() -> None:
    """With t - 1 shares known, each candidate secret is met by exactly one polynomial."""
    secret = random_element(secrets.token_bytes)
    shares = numbered(split(secret, 3, 5, secrets.token_bytes))
    known = {x: shares[x] for x in (1, 2)}
    seen = set()
    for guess in range(20):
        forged = known | {3: (guess + 7).to_bytes(SHARE_BYTES, "little")}
        found = combine(forged, 3, lambda _: True)
        assert found is not None
        seen.add(found)
    assert len(seen) == 20


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bad_shares_are_left_out(data: st.DataObject) -> None:
    count = data.draw(st.integers(4, 9))
    threshold = data.draw(st.integers(2, count - 1))
    bad = data.draw(st.sets(st.integers(1, count), max_size=count - threshold))
    secret = random_element(secrets.token_bytes)
    shares = numbered(split(secret, threshold, count, secrets.token_bytes))
    for x in bad:
        shares[x] = random_element(secrets.token_bytes)
    assert comb(count, threshold) <= 1 + OTHER_SUBSETS
    assert combine(shares, threshold, lambda found: found == secret) == secret


def test_bad_shares_are_left_out_of_a_large_roster() -> None:
    secret = random_element(secrets.token_bytes)
    shares = numbered(split(secret, 66, 128, secrets.token_bytes))
    for x in (1, 17, 64):
        shares[x] = random_element(secrets.token_bytes)
    assert combine(shares, 66, lambda found: found == secret) == secret


@pytest.mark.parametrize(("count", "threshold"), [(8, 5), (16, 9), (128, 66)])
def test_the_number_of_candidates_is_bounded(count: int, threshold: int) -> None:
    shares = numbered(split(bytes(SHARE_BYTES), threshold, count, secrets.token_bytes))
    tried = []

    def refuse(candidate: bytes) -> bool:
        tried.append(candidate)
        return False

    assert combine(shares, threshold, refuse) is None
    assert len(tried) == min(comb(count, threshold), 1 + OTHER_SUBSETS)


def test_every_single_bad_share_is_left_out_at_once() -> None:
    """Small rosters: all subsets are tried."""
    secret = random_element(secrets.token_bytes)
    shares = numbered(split(secret, 5, 8, secrets.token_bytes))
    for bad in combinations(range(1, 9), 3):
        forged = shares | {x: random_element(secrets.token_bytes) for x in bad}
        assert combine(forged, 5, lambda found: found == secret) == secret


@pytest.mark.fuzz
@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.integers(1, 20), st.binary(max_size=40), max_size=10), st.integers(1, 5))
def test_any_bytes_may_stand_as_shares(shares: dict[int, bytes], threshold: int) -> None:
    found = combine(shares, threshold, lambda _: True)
    sound = sum(is_element(share) for share in shares.values())
    assert (found is None) == (sound < threshold)


def test_a_secret_outside_the_field_is_refused() -> None:
    with pytest.raises(ValueError, match="field element"):
        split(PRIME.to_bytes(SHARE_BYTES, "little"), 2, 3, secrets.token_bytes)
    with pytest.raises(ValueError, match="threshold"):
        split(bytes(SHARE_BYTES), 4, 3, secrets.token_bytes)


def test_a_random_element_rejects_what_is_outside_the_field() -> None:
    draws = iter([b"\xff" * 32, (5).to_bytes(32, "little")])
    assert random_element(lambda _: next(draws)) == (5).to_bytes(32, "little")
