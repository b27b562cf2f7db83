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
        ("bought tea,3 days ago", "purchase", "tea", 3),
        ("买了coffee3天前", "purchase", "coffee", 3),
        ("买了牛奶三天前", "purchase", "牛奶", 3),
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


@pytest.mark.parametrize(
    "typed",
    [
        "tea 1.5 days ago", "tea 10^6 days ago", "tea 1,000 days ago", "tea 12345 days ago",
        "tea -3 days ago", "茶1.5天前", "茶 10^6天前", "茶十三天前", "茶12345天前",
    ],
)  # fmt: skip
def test_a_number_that_is_not_read_whole_is_not_read(typed: str) -> None:
    (event,) = typed_history(typed, NOW)
    assert event.text == typed
    assert event.time == NOW - timedelta(minutes=1)


@pytest.mark.parametrize(
    "typed",
    [
        "bought tea tomorrow", "viewed kettle 3 days from now", "tea, next week", "明天买茶",
        "买茶 3天后", "买茶两周以后", "3天后买茶", "下周买茶", "买茶下个月",
    ],
)  # fmt: skip
def test_the_future_is_refused(typed: str) -> None:
    with pytest.raises(InputError, match="in the future"):
        typed_history(typed, NOW)


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
