"""The contract of every baseline, on small data, and what the counting ones say by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import pytest

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.histories import MICROSECONDS_PER_DAY, Histories, Int64
from groundswell.shared.task import EvaluationTimes, Task
from groundswell.simulation import baselines
from groundswell.simulation.baselines.baseline import Baseline, TrainingData, choose
from groundswell.simulation.baselines.counts import Popularity, UserDays
from groundswell.simulation.baselines.frequency import Backoff
from groundswell.simulation.evaluate import EvaluationSet, Forecast


class Small(Protocol):
    """What these tests need of the fixture."""

    @property
    def histories(self) -> Histories: ...

    @property
    def catalogue(self) -> Catalogue: ...

    @property
    def task(self) -> Task: ...

    @property
    def times(self) -> EvaluationTimes: ...


@pytest.fixture(scope="module")
def data(small: Small) -> TrainingData:
    return TrainingData(small.histories, small.task, small.catalogue, small.times)


def rows(data: TrainingData) -> EvaluationSet:
    return data.rows(data.times.test)


def scored(baseline: Baseline, of: EvaluationSet) -> Forecast:
    (chunk,) = of.chunks()
    return baseline.scores(chunk.known, chunk.at)


@pytest.fixture(scope="module", params=baselines.ALL)
def fitted(request: pytest.FixtureRequest, data: TrainingData) -> tuple[str, Baseline]:
    name = str(request.param)
    return name, baselines.make(name).fit(data)


def test_scores_are_finite_and_probabilities_sum_to_1(
    fitted: tuple[str, Baseline], data: TrainingData
) -> None:
    of = rows(data)
    forecast = scored(fitted[1], of)
    assert forecast.scores.shape == (len(of), data.labels)
    assert np.isfinite(forecast.scores).all()
    if forecast.probabilities is not None:
        assert forecast.probabilities.sum(axis=1) == pytest.approx(np.ones(len(of)), abs=1e-5)
        assert (forecast.probabilities >= 0).all()
        # The order of the probabilities is the order of the scores.
        order = forecast.scores.argsort(axis=1, kind="stable")
        sorted_probabilities = np.take_along_axis(forecast.probabilities, order, axis=1)
        assert np.all(np.diff(sorted_probabilities, axis=1) >= -1e-6)


def test_a_row_is_scored_alone_as_in_company(
    fitted: tuple[str, Baseline], data: TrainingData
) -> None:
    of = rows(data)
    together = scored(fitted[1], of).scores[7]
    alone = scored(fitted[1], replace(of, row=of.row[7:8], at=of.at[7:8])).scores[0]
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


def test_a_user_without_history_gets_the_prior(
    fitted: tuple[str, Baseline], data: TrainingData
) -> None:
    at = data.times.test[:1]
    nobody = data.histories.take([0]).before(at).last_events(0)
    assert np.isfinite(fitted[1].scores(nobody, at).scores).all()


def test_the_same_seed_and_the_same_past_give_the_same_scores(
    fitted: tuple[str, Baseline], data: TrainingData
) -> None:
    """Fitted anew with everything from the first test time on replaced: no score there moves."""
    name, baseline = fitted
    at = int(data.times.test[0])
    h = data.histories
    label = np.where(h.time >= at, 0, h.label).astype(np.int32)
    changed = replace(data, histories=replace(h, label=label))
    of = data.rows(data.times.test[:1])
    again = scored(baselines.make(name).fit(changed), of).scores
    np.testing.assert_array_equal(again, scored(baseline, of).scores)


def test_popularity_is_the_share_of_user_days_before_the_time(data: TrainingData) -> None:
    h, at = data.histories, int(data.times.test[1])
    user, day = h.row(), h.time // MICROSECONDS_PER_DAY
    counts = Popularity.of(h, data.task, data.labels)
    for last in (None, 28):
        since = 0 if last is None else at // MICROSECONDS_PER_DAY - last
        seen = (h.time < at) & (day >= since)
        visits = set(zip(user[seen], day[seen], strict=True))
        bought = set(zip(user[seen], day[seen], h.label[seen], strict=True))
        expected = np.bincount([label for _, _, label in bought], minlength=12) / len(visits)
        np.testing.assert_allclose(counts.share(at, last), expected)


def test_a_label_counts_once_a_day_by_its_strongest_action(data: TrainingData) -> None:
    at = np.array([10 * MICROSECONDS_PER_DAY], dtype=np.int64)
    weights = np.array([0.5, 1.0, 0.1, 1.0], dtype=np.float32)
    h = Histories(
        ("u",),
        np.array([0, 4]),
        np.array([6, 6, 6, 9], dtype=np.int64) * MICROSECONDS_PER_DAY,
        np.array([2, 2, 3, 2], dtype=np.int32),
        weights,
        np.zeros(4, dtype=np.int16),
        np.zeros(4, dtype=np.int32),
        np.array([0, 0, 0, 1], dtype=np.int32),
    )
    days = UserDays.of(h, data.task, 5)
    assert days.label.tolist() == [2, 2, 3]
    assert days.weight == pytest.approx([1.0, 1.0, 0.1])
    assert days.age(at, data.task).tolist() == [3, 0, 3]


def test_backoff_falls_back_to_popularity_without_own_days(data: TrainingData) -> None:
    fitted = Backoff().fit(data)
    at = data.times.test[:1]
    nobody = data.histories.take([0]).before(at).last_events(0)
    probabilities = fitted.scores(nobody, at).probabilities
    share = Popularity.of(data.histories, data.task, 12).share(int(at[0]), 28)
    assert probabilities is not None
    np.testing.assert_allclose(probabilities[0], share / share.sum())


def test_the_best_parameter_is_chosen_and_the_first_where_there_is_nothing_to_choose_by(
    data: TrainingData,
) -> None:
    class Family:
        def __init__(self, h: Histories, at: Int64) -> None:
            counts = np.bincount(h.row() * 12 + h.label, minlength=len(h) * 12)
            self.counts = counts.reshape(len(h), 12).astype(np.float64)

        def __call__(self, sign: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
            return sign * self.counts

    assert choose(rows(data), [-1.0, 1.0], Family, ("all",)) == 1.0
    nothing = data.rows(np.zeros(0, dtype=np.int64))
    assert choose(nothing, [-1.0, 1.0], Family, ("all",)) == -1.0


def test_defaults_stand_in_where_no_window_is_held_back(data: TrainingData) -> None:
    none = np.zeros(0, dtype=np.int64)
    times = EvaluationTimes(data.times.train, none, data.times.test)
    fitted = Backoff().fit(replace(data, times=times))
    assert (fitted.half_life, fitted.prior_days) == (90.0, 6.0)
