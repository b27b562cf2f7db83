"""Days of calendars and plans lie in the windows of whatever length that demand is counted in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundswell.shared.demand_features import month_phases, run_up
from groundswell.shared.demand_windows import Windows
from groundswell.shared.promotions import Promotion, planned
from groundswell.shared.task import Occasion, Task

PLACES = {"TEA": 0}
FIRST = date(2018, 1, 1)
WEEK = [Promotion("TEA", FIRST, date(2018, 1, 7), 1.0)]


def coming(length: timedelta, at: datetime, offset: int = 0) -> list[float]:
    """The promotion's share in two past windows and four coming ones."""
    task = Task(window=length, day_offset=timedelta(hours=offset))
    found = planned(WEEK, PLACES, Windows.ending(at, task, 2, 4))
    assert found is not None
    return [float(share) for share in found[0, 0]]


@pytest.mark.parametrize(
    ("at", "offset"),
    [
        (datetime(2018, 1, 1, 3, 50, tzinfo=UTC), 5),  # just after an evening's last event
        (datetime(2018, 1, 1, 5, tzinfo=UTC), 5),
        (datetime(2018, 1, 1, 9, tzinfo=UTC), 5),
        (datetime(2017, 12, 31, 19, tzinfo=UTC), 0),
        (datetime(2018, 1, 1, 10, tzinfo=UTC), 0),
    ],
)
def test_a_week_of_promotion_lies_in_the_window_that_most_of_it_does(
    at: datetime, offset: int
) -> None:
    assert coming(timedelta(days=7), at, offset) == pytest.approx([0, 0, 1, 0, 0, 0])


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (timedelta(days=1), [0, 0, 1, 1, 1, 1]),
        (timedelta(days=5), [0, 0, 1, 0.4, 0, 0]),
        (timedelta(days=14), [0, 0, 0.5, 0, 0, 0]),
        (timedelta(days=30), [0, 0, 7 / 30, 0, 0, 0]),
        (timedelta(hours=84), [0, 0, 1, 1, 0, 0]),
        (timedelta(hours=60), [0, 0, 1, 1, 0.8, 0]),
    ],
)
def test_a_promotion_takes_its_part_of_windows_of_another_length(
    length: timedelta, expected: list[float]
) -> None:
    assert coming(length, datetime(2018, 1, 1, tzinfo=UTC)) == pytest.approx(expected)


def test_windows_of_hours_begin_where_they_do() -> None:
    # The window of 14:00 to 2:00 has two hours of the promotion's first day, the ones after it all.
    at = datetime(2017, 12, 31, 14, tzinfo=UTC)
    assert coming(timedelta(hours=12), at) == pytest.approx([0, 0, 1 / 6, 1, 1, 1])


@pytest.mark.parametrize("days", [1, 3, 7, 14])
def test_a_run_up_is_spread_over_windows_of_any_length(days: int) -> None:
    occasion = Occasion(date=date(2018, 1, 9), name="x", category="any")
    windows = Windows(datetime(2018, 1, 1), timedelta(days=days), 28 // days + 1)
    found = run_up((occasion,), windows)
    assert found.sum() == pytest.approx(1)
    # 3 to 9 January
    expected = {1: [0, 0, 1, 1], 3: [1, 3, 3], 7: [5, 2], 14: [7]}[days]
    assert found[0, : len(expected)] == pytest.approx(np.array(expected) / 7)


def test_phases_of_a_day_are_whole() -> None:
    found = month_phases(Windows(datetime(2018, 1, 1), timedelta(days=1), 31))
    assert set(np.unique(found)) == {0.0, 1.0}
    assert found.sum(axis=1).tolist() == [5, 7, 7, 7]


@given(
    st.integers(0, 24 * 60 - 1),
    st.one_of(st.integers(1, 50), st.integers(1, 30).map(lambda days: 24 * days)),
    st.integers(1, 60),
)
def test_every_window_is_told_whole(minute: int, hours: int, number: int) -> None:
    windows = Windows(
        datetime(2018, 1, 1) + timedelta(minutes=minute), timedelta(hours=hours), number
    )
    assert windows.means(np.ones(windows.days)) == pytest.approx(np.ones(number))
    assert len(windows.middles()) == number
    # Nothing of a day is told of a window that does not touch it, not even a rounding error.
    last = np.zeros(windows.days)
    last[-1] = 1
    assert np.count_nonzero(windows.means(last)) <= 1 + 24 // hours
