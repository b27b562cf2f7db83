"""What clean sets aside, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from groundswell.client.clean import CleanRules, clean_histories, clean_rows, ordered, scrub
from groundswell.client.sources.mapping import MAPPED, RAW_TIME, RAW_VALUE
from groundswell.shared.config_data import Data
from groundswell.shared.errors import InputError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULES = CleanRules.of(Data(bot_events_per_day=5, bot_instants_per_minute=3), NOW)
GOOD = {"user": "a", "time": NOW - timedelta(days=1), "action": "purchase", "item": "1"}


def frame(*rows: Mapping[str, object]) -> pl.LazyFrame:
    return pl.DataFrame([{**GOOD, **row} for row in rows], schema=MAPPED).lazy()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, None),
        ({"user": None}, "missing_user"),
        ({"action": None}, "missing_action"),
        ({"time": None}, "missing_time"),
        ({"time": None, RAW_TIME: "soon"}, "unreadable_time"),
        ({"time": datetime(1970, 1, 1, tzinfo=UTC)}, "impossible_time"),
        ({"time": NOW + timedelta(seconds=1)}, "impossible_time"),
        ({RAW_VALUE: "3,5"}, "unreadable_value"),
        ({"value": -1.0}, "refund"),
        ({"value": -1.0, "action": "return"}, None),
        ({"value": 0.0}, None),
        ({"item": None}, "nothing_named"),
        ({"item": None, "text": "a@b.example"}, "nothing_named"),
        ({"item": None, "text": "red shoes"}, None),
    ],
)
def test_row_rules(row: dict[str, object], reason: str | None) -> None:
    assert clean_rows(frame(row), RULES).collect()["reason"].to_list() == [reason]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("order for jane.doe+x@shop.example.com please", "order for please"),
        ("jane (at) shop.example", None),
        ("联系我：13812345678", "联系我:"),
        ("call +43 (0)664 123 45 67 now", "call now"),
        ("call 555-1234", "call"),
        ("联系 ＡＢ＠ｓｈｏｐ．ｃｎ 谢谢", "联系 谢谢"),
        ("iphone 15 128 gb", "iphone 15 128 gb"),
        ("  red   shoes ", "red shoes"),
        ("size 42", "size 42"),
        ("   ", None),
    ],
)
def test_texts_are_scrubbed_of_addresses_and_numbers(text: str, left: str | None) -> None:
    assert scrub(frame({"text": text})).collect()["text"].to_list() == [left]


def test_scrubbed_texts_are_counted() -> None:
    rows = scrub(frame({"text": "a@b.example x"}, {"text": "x"}, {"text": None})).collect()
    assert rows["scrubbed"].to_list() == [True, False, False]


def histories(*rows: Mapping[str, object]) -> pl.DataFrame:
    return clean_histories(
        ordered(frame(*rows).drop(RAW_TIME, RAW_VALUE, "zoned")), RULES
    ).collect()


def test_the_same_event_counts_once_and_a_different_one_twice() -> None:
    reasons = histories({}, {}, {"value": 1.0}, {"user": "b"}, {"user": "b"})["reason"].to_list()
    assert sorted(filter(None, reasons)) == ["duplicate", "duplicate"]


def test_a_bot_is_set_aside_from_the_event_that_gives_it_away() -> None:
    start = datetime(2025, 6, 1, tzinfo=UTC)
    hours = [{"time": start + timedelta(hours=i), "item": str(i)} for i in range(7)]
    later = {"time": start + timedelta(days=9)}
    before = {"time": start - timedelta(days=9)}
    other = {"user": "b", "time": start + timedelta(hours=3)}
    rows = histories(*hours, later, before, other)
    assert rows.filter(reason="bot").sort("time")["time"].to_list() == [
        start + timedelta(hours=5),
        start + timedelta(hours=6),
        start + timedelta(days=9),
    ]


def test_many_different_times_in_a_minute_are_a_bot_and_a_large_basket_is_not() -> None:
    start = datetime(2025, 6, 1, tzinfo=UTC)
    seconds = [{"time": start + timedelta(seconds=i)} for i in range(5)]
    assert histories(*seconds)["reason"].to_list() == [None, None, None, "bot", "bot"]
    basket = [{"time": start, "item": str(i)} for i in range(5)]
    assert histories(*basket)["reason"].null_count() == 5


def test_the_order_of_rows_in_the_source_changes_nothing() -> None:
    rows = [{"item": str(i % 4), "user": "ab"[i % 2], "value": float(i)} for i in range(40)]
    assert histories(*rows).equals(histories(*reversed(rows)))


def test_a_day_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="not a day"):
        CleanRules.of(Data(earliest="01.01.1990"), NOW)


def test_latest_day_counts_to_its_end() -> None:
    rules = CleanRules.of(Data(latest="2025-12-30"), NOW)
    assert rules.latest == datetime(2025, 12, 31, tzinfo=UTC)
