"""Dividing users into sites: whole users, evenly, and the same every time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundswell.shared.errors import InputError
from groundswell.shared.events import SCHEMA
from groundswell.shared.identity import is_name
from groundswell.simulation.sites import (
    by_column,
    by_hash,
    by_home,
    check_users,
    lightest_groups,
    roster_names,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def events(*rows: tuple[str, str | None, int]) -> pl.DataFrame:
    """One event for each (user, site, day)."""
    full = [
        {"user": user, "site": site, "time": START + timedelta(days=day), "action": "purchase"}
        for user, site, day in rows
    ]
    return pl.DataFrame(full, schema=SCHEMA)


def users(sites: dict[str, pl.DataFrame]) -> dict[str, list[str]]:
    return {name: sorted(set(frame["user"])) for name, frame in sites.items()}


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 8))
def test_groups_differ_by_no_more_than_the_heaviest_weight(weights: list[int], groups: int) -> None:
    weights.sort(reverse=True)
    totals = [0] * groups
    for weight, group in zip(weights, lightest_groups(weights, groups), strict=True):
        totals[group] += weight
    assert max(totals) - min(totals) <= max(weights, default=0)


def test_a_column_divides_events() -> None:
    sites = by_column(events(("a", "north", 0), ("a", "south", 1), ("b", "south", 0)))
    assert users(sites) == {"north": ["a"], "south": ["a", "b"]}


def test_places_keep_their_names_where_they_can() -> None:
    names = roster_names(["north", "North", "Zürich", "São Paulo", "CA", "../etc", "南", "site-04"])
    assert names == {
        "north": "north",
        "site-04": "site-04",
        "../etc": "etc",
        "CA": "ca",
        "North": "site-03",
        "São Paulo": "sao-paulo",
        "Zürich": "zurich",
        "南": "site-08",
    }


@given(st.sets(st.text(max_size=70), max_size=20))
def test_every_place_has_a_name_of_its_own_that_a_certificate_may_carry(places: set[str]) -> None:
    names = roster_names(places)
    assert set(names) == places
    assert len(set(names.values())) == len(places)
    assert all(is_name(name) for name in names.values())


def test_an_event_without_a_site_is_refused() -> None:
    with pytest.raises(InputError, match="they have no site"):
        by_column(events(("a", None, 0)))


def test_too_many_sites_are_refused() -> None:
    with pytest.raises(InputError, match="at most 128"):
        by_column(events(*(("a", f"s{i}", 0) for i in range(129))))


def test_hash_keeps_users_whole_and_gives_the_same_again() -> None:
    frame = events(*((f"u{i % 60}", None, i) for i in range(240)))
    sites = by_hash(frame, 4)
    assert sorted(sites) == ["site-01", "site-02", "site-03", "site-04"]
    assert sum(len(site) for site in users(sites).values()) == 60
    fewer = by_hash(frame.filter(pl.col("user") != "u7"), 4)
    for name, own in users(sites).items():
        assert users(fewer)[name] == [user for user in own if user != "u7"]


def test_home_is_where_most_visits_were_before_the_cut() -> None:
    frame = events(
        ("a", "x", 0), ("a", "x", 0), ("a", "y", 1), ("a", "y", 2), ("a", "x", 8), ("a", "x", 9),
        ("b", "x", 9),
    )  # fmt: skip
    assert users(by_home(frame, 4)) == {"x": ["a", "b"]}
    assert users(by_home(frame, 4, START + timedelta(days=5))) == {"x": ["b"], "y": ["a"]}
    assert sum(map(len, by_home(frame, 4).values())) == len(frame)


def test_many_places_are_dealt_out_to_the_lightest_group() -> None:
    rows = [(f"u{place}{i}", f"p{place}", 0) for place in range(5) for i in range(place + 1)]
    sites = users(by_home(events(*rows), 2))
    assert sorted(len(site) for site in sites.values()) == [7, 8]


def test_a_user_without_a_place_is_refused() -> None:
    with pytest.raises(InputError, match="none of their events has a place"):
        by_home(events(("a", "x", 0), ("b", None, 0)), 2)


def test_one_user_is_no_federation() -> None:
    sites = by_hash(events(("a", None, 0)), 4)
    with pytest.raises(InputError, match="fill 1 of 4 sites"):
        check_users(sites, 4)
    with pytest.raises(InputError, match="needs two at least"):
        check_users(sites)
