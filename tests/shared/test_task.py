"""Prediction times lie on a grid that no data can move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from groundswell.shared.errors import InputError
from groundswell.shared.task import Task, held_back

DAY = 86_400_000_000
WEEK = 7 * DAY
TASK = Task(day_offset=timedelta(hours=5))
BOUND = 10**17


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


def test_weekly_times_are_mondays_at_the_beginning_of_the_day() -> None:
    times = TASK.prediction_times(at("2017-04-03"), at("2017-04-20"))
    assert times.tolist() == [
        at("2017-04-03T05:00"),
        at("2017-04-10T05:00"),
        at("2017-04-17T05:00"),
    ]


@given(st.integers(-BOUND, BOUND), st.integers(0, 40 * WEEK))
def test_times_lie_within_the_bounds_and_none_is_left_out(first: int, length: int) -> None:
    times = TASK.prediction_times(first, first + length)
    around = np.arange(-1, len(times) + 1) * WEEK + (times[0] if len(times) else first)
    assert all(first <= t <= first + length for t in times)
    if len(times):
        assert around[0] < first
        assert around[-1] > first + length


def test_held_back_windows_are_the_last_complete_ones() -> None:
    times = held_back(TASK, at("2017-04-01"), at("2018-01-01T04:00"), validation=4, test=8)
    assert times.test[0] == at("2017-11-06T05:00")
    assert times.test[-1] == at("2017-12-25T05:00")
    assert times.validation.tolist() == [at(f"2017-10-{day:02d}T05:00") for day in (9, 16, 23, 30)]
    assert times.train[-1] + TASK.window_us <= times.validation[0]


def test_no_train_window_reaches_into_a_held_back_one() -> None:
    task = Task(window=timedelta(days=14), step=timedelta(days=7))
    times = held_back(task, at("2017-04-01"), at("2017-12-31"), validation=2, test=0)
    assert (times.train + task.window_us <= times.validation[0]).all()


def test_data_too_short_for_training_is_refused() -> None:
    with pytest.raises(InputError, match="holds 2 complete windows"):
        held_back(TASK, at("2017-12-15"), at("2018-01-01T04:00"), validation=2, test=0)


def test_action_names_do_not_depend_on_the_order_in_the_file() -> None:
    assert Task(actions={"view": 0.1, "cart": 1}).action_names == ("cart", "view")


@pytest.mark.parametrize("actions", [{}, {"view": -1.0}, {"view": 0.0}, {"view": float("nan")}])
def test_impossible_weights_are_refused(actions: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Task(actions=actions)
