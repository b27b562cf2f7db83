"""Rolling origin: nothing is trained on that the fold is judged by."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from groundswell.shared.errors import InputError
from groundswell.shared.task import Task
from groundswell.simulation.folds import MIN_TRAIN, average, rolling_origin

DAY = 86_400_000_000
TASK = Task()


@settings(deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 6), st.integers(1, 4), st.integers(0, 3), st.integers(1, 15)
)
def test_windows_of_training_and_choosing_end_before_the_test_block_begins(
    count: int, folds: int, windows: int, validation: int, window_days: int
) -> None:
    task = Task(window=timedelta(days=window_days))
    times = 7 * DAY * np.arange(count, dtype=np.int64)
    try:
        found = rolling_origin(times, task, folds, windows=windows, validation=validation)
    except InputError:
        assume(False)
    assert [fold.number for fold in found] == list(range(1, folds + 1))
    for fold in found:
        start = fold.times.test[0]
        assert len(fold.times.test) == windows
        assert len(fold.times.train) >= MIN_TRAIN
        for early in (fold.times.train, fold.times.validation):
            assert np.all(early + task.window_us <= start)
        if len(fold.times.validation):
            first = fold.times.validation[0]
            assert np.all(fold.times.train + task.window_us <= first)
    tested = np.concatenate([fold.times.test for fold in found])
    np.testing.assert_array_equal(tested, times[len(times) - folds * windows :])


def test_each_origin_trains_on_all_before_it() -> None:
    times = 7 * DAY * np.arange(10, dtype=np.int64)
    found = rolling_origin(times, TASK, 3, windows=2, validation=1)
    assert [len(fold.times.train) for fold in found] == [3, 5, 7]
    assert [len(fold.times.validation) for fold in found] == [1, 1, 1]


@pytest.mark.parametrize(("count", "folds"), [(0, 1), (2, 1), (5, 4), (10, 100)])
def test_too_little_data_is_bad_input(count: int, folds: int) -> None:
    with pytest.raises(InputError, match="--folds"):
        rolling_origin(7 * DAY * np.arange(count, dtype=np.int64), TASK, folds)


@pytest.mark.parametrize("folds", [0, -1])
def test_fewer_than_one_fold_is_bad_input(folds: int) -> None:
    with pytest.raises(InputError, match="at least 1"):
        rolling_origin(7 * DAY * np.arange(9, dtype=np.int64), TASK, folds)


def test_the_average_has_an_error_where_there_are_several_folds() -> None:
    mean, error = average([0.4, 0.5, 0.6])
    assert mean == pytest.approx(0.5)
    assert error == pytest.approx(0.1 / 3**0.5)
    assert math.isnan(average([0.4])[1])
