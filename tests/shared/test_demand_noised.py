"""Noised demand: forecasts beat the raw release, surges bend no season, a calendar is heard."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from numpy.typing import NDArray

from groundswell.shared import demand
from groundswell.shared.demand_features import DemandHistory, month_phases
from groundswell.shared.demand_noised import NoisedDemand
from groundswell.shared.demand_weights import WEEKS_A_YEAR, covariance, unweighed
from groundswell.shared.demand_windows import Windows

Float64 = NDArray[np.float64]
WEEKS, SERIES, NOISE = 26, 60, 40.0


def expected_counts(weeks: int = WEEKS + 1) -> Float64:
    """Yearly waves of all phases about levels of 100 to 1,500."""
    draw = np.random.default_rng(0)
    level = draw.uniform(100, 1500, (SERIES, 1))
    phase, strength = draw.uniform(0, 2 * np.pi, (SERIES, 1)), draw.uniform(0, 0.5, (SERIES, 1))
    turn = 2 * np.pi * np.arange(weeks) / WEEKS_A_YEAR + phase
    wave: Float64 = level * (1 + strength * np.cos(turn))
    return wave


def noised(expected: Float64, noise: float = NOISE, seed: int = 1) -> DemandHistory:
    draw = np.random.default_rng(seed)
    counts = draw.poisson(expected[:, :WEEKS]) + draw.normal(0, noise, (len(expected), WEEKS))
    return DemandHistory(
        counts,
        np.zeros(len(expected), dtype=np.int64),
        np.zeros((0, WEEKS + 1)),
        month_phases(Windows.weeks(date(2026, 1, 5), WEEKS + 1)),
    )


def independent(noise: float = NOISE) -> Float64:
    """Covariance of independent noise."""
    return noise**2 * np.eye(WEEKS)


def error(found: Float64, expected: Float64) -> float:
    return demand.wmape(found, expected[:, WEEKS])


def test_with_known_noise_the_forecast_beats_the_raw_series_and_its_means() -> None:
    expected = expected_counts()
    history = noised(expected)
    found = error(NoisedDemand(history, independent()).mean(), expected)
    assert found < 0.6 * error(demand.last_week(history.counts), expected)
    assert found < 0.7 * error(demand.mean_of_weeks(history.counts, 4), expected)
    assert found < 0.7 * error(demand.damped_holt(history.counts), expected)


def test_more_noise_costs_accuracy() -> None:
    expected = expected_counts()
    quiet, loud = (
        error(NoisedDemand(noised(expected, noise), independent(noise)).mean(), expected)
        for noise in (5.0, 80)
    )
    assert quiet < loud


def test_noise_that_is_alike_in_many_weeks_is_told_from_demand() -> None:
    """As a release has it: single weeks are loud, what a forecast looks at is quiet."""
    expected = expected_counts()
    exact = noised(expected, 0.0)
    drawn = np.random.default_rng(3).normal(0, 1.5 * NOISE, exact.counts.T.shape)
    history = replace(exact, counts=exact.counts + unweighed(drawn).T)
    knowing = NoisedDemand(history, covariance(1.5 * NOISE)).mean()
    alone = NoisedDemand(history, np.diag(np.diagonal(covariance(1.5 * NOISE)))).mean()
    assert error(knowing, expected) < 0.95 * error(alone, expected)


def test_a_surge_is_found_and_bends_neither_level_nor_season() -> None:
    expected = expected_counts()
    calm = noised(expected)
    counts = calm.counts.copy()
    counts[3, 12] *= 5
    found = NoisedDemand(replace(calm, counts=counts), independent())
    assert found.surges[3, 12]
    assert found.surges.sum() <= 3
    assert found.mean()[3] == pytest.approx(NoisedDemand(calm, independent()).mean()[3], rel=0.05)


def test_what_lasts_of_surges_is_learned_from_all_series() -> None:
    def next_week(last: tuple[float, ...]) -> float:
        expected = expected_counts()
        for series in range(0, 20, 2):
            expected[series, 10 : 10 + len(last)] *= last
        expected[21, WEEKS - 1] *= 4
        return float(NoisedDemand(noised(expected), independent()).mean()[21] / expected[21, WEEKS])

    assert next_week((4.0, 4.0)) > next_week((4.0,)) + 0.3


def test_an_answer_to_the_calendar_is_repeated_at_the_next_occasion() -> None:
    expected = expected_counts()
    calendar = np.zeros((1, WEEKS + 1))
    calendar[0, [4, 13, WEEKS]] = 1.0
    expected[:10, [4, 13, WEEKS]] *= 1.4
    history = noised(expected)
    told = NoisedDemand(replace(history, calendar=calendar), independent()).mean()[:10]
    ignorant = NoisedDemand(history, independent()).mean()[:10]
    assert error(told, expected[:10]) < 0.6 * error(ignorant, expected[:10])


def test_a_calendar_that_ends_too_early_is_refused() -> None:
    with pytest.raises(ValueError, match="ends before week"):
        NoisedDemand(noised(expected_counts()), independent()).mean(2)


def test_a_noised_history_is_forecast_by_it() -> None:
    history = noised(expected_counts())
    found = demand.forecast(history, 1, noise=independent())
    np.testing.assert_array_equal(found.mean[:, 0], NoisedDemand(history, independent()).mean())
    assert np.isfinite(found.p50).all()
    assert np.all(found.p50 <= found.p90)
