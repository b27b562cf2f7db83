"""Trends: what rises, fades, is to be restocked, or drowns in the noise."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from groundswell.shared.demand_release import DemandRelease
from groundswell.shared.demand_trends import LEAST_WINDOWS, demand_trends, restock
from groundswell.shared.demand_weights import covariance, unweighed
from groundswell.shared.questions import LabelTrend, Trend, microseconds
from groundswell.shared.task import Task

Float64 = NDArray[np.float64]

AS_OF = microseconds(datetime(2026, 1, 26, tzinfo=UTC))
LABELS = ("calm", "falls", "rare", "rises", "steady")


def release(noise: float = 0.0, weeks: int = 26) -> DemandRelease:
    generator = np.random.default_rng(5)
    week = np.arange(weeks)
    means = np.stack(
        [
            np.full(weeks, 400.0),
            600 * 0.93**week,
            np.full(weeks, 3.0),
            60 * 1.09**week,
            np.full(weeks, 250.0),
        ]
    )
    counts = generator.poisson(means) + generator.normal(0, noise, means.shape)
    return DemandRelease(counts, noise**2 * np.eye(weeks), AS_OF)


def trends(noise: float = 0.0, lead: int = 2) -> dict[str, LabelTrend]:
    found = demand_trends(release(noise), LABELS, Task(), lead)
    assert found is not None
    return {each.label: each for each in found}


def test_directions_are_found() -> None:
    found = trends()
    assert found["rises"].trend is Trend.RISING
    assert found["falls"].trend is Trend.FADING
    assert found["calm"].trend is Trend.STEADY
    assert (found["rises"].surge or 0) > (found["calm"].surge or 0)


def test_half_and_nine_tenths_are_ordered_and_restock_covers_the_lead_time() -> None:
    for lead in (1, 2, 4):
        for each in trends(lead=lead).values():
            middle = [h.p50 for h in each.horizons]
            assert all(h.p50 <= h.p90 for h in each.horizons)
            assert sum(middle[:lead]) <= (each.restock or 0)
            assert (each.restock or 0) <= sum(h.p90 for h in each.horizons[:lead]) + 1e-9
            assert (each.surge_low or 0) <= (each.surge or 0) <= (each.surge_high or 0)


def test_what_drowns_in_the_noise_says_so_and_comes_last() -> None:
    noisy = demand_trends(release(noise=40.0), LABELS, Task(), 2)
    assert noisy is not None
    by_label = {each.label: each for each in noisy}
    assert not by_label["rare"].resolvable
    assert by_label["rare"].horizons == ()
    assert by_label["rare"].surge is None
    assert by_label["calm"].resolvable
    assert [each.resolvable for each in noisy] == sorted(
        (each.resolvable for each in noisy), reverse=True
    )
    assert all(each.resolvable for each in trends().values())


def test_too_few_windows_give_no_trends() -> None:
    short = release(weeks=LEAST_WINDOWS - 1)
    assert demand_trends(short, LABELS, Task(), 2) is None
    enough = release(weeks=LEAST_WINDOWS)
    assert demand_trends(enough, LABELS, Task(), 2) is not None


def test_windows_before_the_data_are_cut_off() -> None:
    whole = release(noise=5.0)
    empty = np.random.default_rng(1).normal(0, 5.0, (len(LABELS), 9))
    padded = np.concatenate([empty, whole.values], axis=1)
    deviations = np.arange(1.0, 36.0)
    noise = np.diag(deviations**2)
    found = DemandRelease.trimmed(padded, noise, AS_OF)
    assert found.values.shape == whole.values.shape
    assert found.deviations.tolist() == deviations[9:].tolist()
    assert DemandRelease.trimmed(empty, 25.0 * np.eye(9), AS_OF).values.shape == (len(LABELS), 0)


def test_old_windows_that_drown_one_by_one_are_kept_where_they_belong_to_the_data() -> None:
    """They have the most noise; what lies before the data is cut off none the less."""
    begun = []
    for seed in range(40):
        values = covariance_noise(90.0, seed)
        values[:, 6:] += 1000 / len(LABELS)
        begun.append(26 - DemandRelease.trimmed(values, covariance(90.0), AS_OF).values.shape[1])
    assert np.median(begun) == 6
    assert np.mean(np.abs(np.array(begun) - 6) <= 1) > 0.8


def covariance_noise(deviation: float, seed: int) -> Float64:
    drawn = np.random.default_rng(seed).normal(0, deviation, (26, len(LABELS)))
    return unweighed(drawn).T


def test_nine_sums_in_ten_stay_below_a_restock_however_long_the_lead() -> None:
    """Levels drift, as demand does: a forecast that is low for one window is low for all."""
    draw = np.random.default_rng(8)
    drift = np.exp(np.cumsum(draw.normal(0, 0.04, (300, 60)), axis=1))
    counts = draw.poisson(60 * drift).astype(np.float64)
    names = tuple(str(number) for number in range(300))
    known = DemandRelease.exact(counts[:, :56], AS_OF)
    below = []
    for lead in (1, 2, 3, 4):
        found = demand_trends(known, names, Task(), lead)
        assert found is not None
        came = counts[:, 56 : 56 + lead].sum(axis=1)
        below.append(np.mean([came[int(each.label)] <= (each.restock or 0) for each in found]))
    assert min(below) > 0.86
    assert max(below) < 0.97


def test_spreads_of_a_restock_add_between_squares_and_a_sum() -> None:
    p50, spread = np.array([10.0, 20.0, 30.0]), np.array([3.0, 4.0, 12.0])
    assert restock(p50[:1], p50[:1] + spread[:1]) == pytest.approx(13)
    assert 60 + 13 < restock(p50, p50 + spread) < 60 + 19


@pytest.mark.parametrize("lead", [1, 4])
def test_the_same_release_gives_the_same_trends(lead: int) -> None:
    assert trends(12.0, lead) == trends(12.0, lead)
