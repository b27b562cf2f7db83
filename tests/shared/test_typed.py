"""Histories as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.shared.errors import InputError
from groundswell.shared.typed import typed_history

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "action", "text", "days"),
    [
        ("searched smartwatch", "search", "smartwatch", None),
        ("searched for a smartwatch, 2 weeks ago", "search", "a smartwatch", 14),
        ("Viewed fitness band 3 days ago", "view", "fitness band", 3),
        ("bought coffee yesterday", "purchase", "coffee", 1),
        ("added to cart: kettle", "cart", "kettle", None),
        ("air fryer", "search", "air fryer", None),
        ("搜索智能手表", "search", "智能手表", None),
        ("浏览了手环 3天前", "view", "手环", 3),
        ("昨天买了牛奶", "purchase", "牛奶", 1),
        ("两周前搜索过空气炸锅", "search", "空气炸锅", 14),
        ("加入购物车：水壶", "cart", "水壶", None),
    ],
)
def test_a_clause(typed: str, action: str, text: str, days: float | None) -> None:
    (event,) = typed_history(typed, NOW)
    assert (event.action, event.text) == (action, text)
    if days is not None:
        assert event.time == NOW - timedelta(days=days)


def test_clauses_keep_their_order_and_lie_before_now() -> None:
    events = typed_history("bought tea; viewed kettle；搜索水壶\nsmartwatch", NOW)
    assert [event.text for event in events] == ["tea", "kettle", "水壶", "smartwatch"]
    times = [event.time for event in events]
    assert times == sorted(times)
    assert times[-1] < NOW


@pytest.mark.parametrize("typed", ["bought ", "viewed ; tea", "x;" * 60, "y" * 6000])
def test_what_names_nothing_or_too_much_is_refused(typed: str) -> None:
    with pytest.raises(InputError):
        typed_history(typed, NOW)


@pytest.mark.fuzz
@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(typed: str) -> None:
    try:
        events = typed_history(typed, NOW)
    except InputError:
        return
    assert all(event.text and event.time < NOW for event in events)
