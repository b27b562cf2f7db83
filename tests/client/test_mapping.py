"""How columns of many types become canonical values."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from groundswell.client.sources.mapping import canonical
from groundswell.shared.config_data import Columns, Source
from groundswell.shared.errors import InputError


def mapped(columns: dict[str, object], **source: object) -> pl.DataFrame:
    frame = pl.LazyFrame({"user": ["a"], "time": ["2026-01-01"], "item": ["1"], **columns})
    names = {"item": "item", **({"value": "value"} if "value" in columns else {})}
    table = Source.model_validate({"columns": Columns(**names), **source})
    return canonical(frame, table, "file").collect()


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "zoned"),
    [
        ("2026-03-01 12:00", False),
        ("2026-03-01T12:00:00.000", False),
        ("2026/03/01 12:00:00", False),
        (" 2026-03-01 12:00:00Z ", True),
        ("2026-03-01T13:00:00+01:00", True),
        ("2026-03-01T04:30:00-0730", True),
        ("2026-03-01 14:00:00 +02", True),
        ("1772366400", True),
        ("1772366400000", True),
        (1772366400000000, True),
        (datetime(2026, 3, 1, 12), False),
        (NOON, True),
    ],
)
def test_times_are_read(written: object, zoned: bool) -> None:
    row = mapped({"time": [written]})
    assert row["time"].to_list() == [NOON]
    assert row["zoned"].to_list() == [zoned]
    assert row["raw_time"].to_list() == [None]


def test_times_without_a_zone_are_taken_in_the_configured_one() -> None:
    row = mapped({"time": ["2026-07-01 14:00:00"]}, timezone="Europe/Vienna")
    assert row["time"].to_list() == [datetime(2026, 7, 1, 12, tzinfo=UTC)]


def test_an_hour_that_the_clock_skips_is_unread() -> None:
    row = mapped({"time": ["2026-03-29 02:30:00"]}, timezone="Europe/Vienna")
    assert row["time"].to_list() == [None]
    assert row["raw_time"].to_list() == ["2026-03-29 02:30:00"]


def test_a_format_of_ones_own_is_followed() -> None:
    row = mapped({"time": ["01.03.2026 12.00"]}, time_format="%d.%m.%Y %H.%M")
    assert row["time"].to_list() == [NOON]


def test_a_format_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="no usable format"):
        mapped({"time": ["01.03.2026 12"]}, time_format="%d.%m.%Y %H")


def test_what_cannot_be_read_is_kept_as_it_was_written() -> None:
    row = mapped({"time": ["yesterday"], "value": ["3,50"]})
    assert row["raw_time"].to_list() == ["yesterday"]
    assert row["raw_value"].to_list() == ["3,50"]
    assert row["time"].to_list() == row["value"].to_list() == [None]


@pytest.mark.parametrize("value", [3.5, "3.5", " 3.5 "])
def test_values_are_read(value: object) -> None:
    assert mapped({"value": [value]})["value"].to_list() == [3.5]


def test_numbers_that_are_none_are_unread() -> None:
    assert mapped({"value": [float("nan")]})["raw_value"].to_list() == ["NaN"]


def test_days_and_whole_numbers_are_taken() -> None:
    row = mapped({"user": [7], "time": [date(2026, 3, 1)], "item": [12]})
    assert row["user"].to_list() == ["7"]
    assert row["item"].to_list() == ["12"]
    assert row["time"].to_list() == [datetime(2026, 3, 1, tzinfo=UTC)]


def test_blank_texts_are_null_and_the_action_is_a_purchase() -> None:
    row = mapped({"user": ["  "], "item": [" 1 "]})
    assert row["user"].to_list() == [None]
    assert row["item"].to_list() == ["1"]
    assert row["action"].to_list() == ["purchase"]


@pytest.mark.parametrize(
    ("columns", "key"),
    [
        ({"user": [1.5]}, "[data].columns.user"),
        ({"user": [True]}, "[data].columns.user"),
        ({"time": [1.5]}, "[data].columns.time"),
        ({"time": [True]}, "[data].columns.time"),
        ({"value": [True]}, "[data].columns.value"),
        ({"item": [[1]]}, "[data].columns.item"),
    ],
)
def test_a_wrong_type_is_refused(columns: dict[str, object], key: str) -> None:
    with pytest.raises(InputError, match="type is wrong") as caught:
        mapped(columns)
    assert caught.value.key == key


def test_something_must_say_what_the_action_was_about() -> None:
    frame = pl.LazyFrame({"user": ["a"], "time": ["2026-01-01"]})
    with pytest.raises(InputError, match="item, label and text"):
        canonical(frame, Source(), "file")
