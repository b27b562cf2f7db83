"""Weekly demand: simple methods by hand, no look ahead, honest intervals, and learning at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundswell.shared import demand
from groundswell.shared.demand_features import (
    DemandHistory,
    Features,
    month_phases,
    run_up,
    surged,
)
from groundswell.shared.demand_windows import Windows
from groundswell.shared.task import Occasion

Float64 = NDArray[np.float64]
FIRST = date(2017, 1, 2)
SERIES, WEEKS, AHEAD = 60, 40, 4
KNOWN = Windows.weeks(FIRST, WEEKS + AHEAD)
seeds = st.integers(0, 2**32 - 1)


def history(seed: int = 0, *, plan: bool = True, totals: bool = True) -> DemandHistory:
    """Poisson counts; a promotion doubles a series' expected count in its week."""
    draw = np.random.default_rng(seed)
    level = draw.gamma(2.0, 8.0, size=(SERIES, 1))
    promoted = (draw.random((SERIES, WEEKS + AHEAD)) < 0.15).astype(np.float64)
    expected = level * (1 + promoted[:, :WEEKS])
    counts = draw.poisson(expected).astype(np.float64)
    label = np.arange(SERIES) % 20
    sums = np.stack([counts[label == k].sum(axis=0) for k in range(20)])
    occasions = (
        Occasion(date=date(2017, 4, 16), name="Easter", category="feast"),
        Occasion(date=date(2017, 7, 4), name="July 4", category="summer"),
    )
    return DemandHistory(
        counts,
        np.repeat(np.arange(3), 20),
        run_up(occasions, KNOWN),
        month_phases(KNOWN),
        sums[label] if totals else None,
        promoted[None] if plan else None,
    )


def test_simple_methods_by_hand() -> None:
    counts = np.array([[1.0, 2.0, 3.0, 6.0]])
    assert demand.last_week(counts) == [6]
    assert demand.mean_of_weeks(counts, 2) == [4.5]
    by_hand = 0.5 * 6 + 0.5 * (0.5 * 3 + 0.5 * (0.5 * 2 + 0.5 * 1))
    assert demand.exponential_smoothing(counts, 0.5) == [by_hand]


@settings(deadline=None)
@given(seeds, st.floats(0.05, 0.95))
def test_a_constant_series_is_forecast_as_it_is(seed: int, weight: float) -> None:
    level = float(np.random.default_rng(seed).integers(0, 100))
    counts = np.full((1, 20), level)
    assert demand.exponential_smoothing(counts, weight) == pytest.approx([level])
    for horizon in (1, 4):
        found = demand.damped_holt(counts, horizon, (weight, weight / 2, 0.8))
        assert found == pytest.approx([level])


def test_damped_holt_follows_a_trend_and_flattens_out() -> None:
    counts = np.arange(40, dtype=np.float64)[None]
    one, four, far = (float(demand.damped_holt(counts, h, (0.5, 0.3, 0.9))[0]) for h in (1, 4, 200))
    assert 38 < one < four < far < 60


@settings(deadline=None)
@given(seeds, st.integers(14, WEEKS - 1), st.integers(1, 4))
def test_a_forecast_sees_nothing_of_its_own_week_or_later(
    seed: int, origin: int, horizon: int
) -> None:
    whole = history(0)
    draw = np.random.default_rng(seed)
    counts, totals = whole.counts.copy(), np.array(whole.totals)
    counts[:, origin:] = draw.integers(0, 99, size=counts[:, origin:].shape)
    totals[:, origin:] = draw.integers(0, 99, size=totals[:, origin:].shape)
    changed = replace(whole, counts=counts, totals=totals)
    expected = Features(whole).at(origin, horizon)
    found = Features(changed).at(origin, horizon)
    np.testing.assert_array_equal(found.x, expected.x)
    if origin - horizon >= 14:
        mean = demand.DemandModel(changed).mean(origin, horizon)
        np.testing.assert_array_equal(mean, demand.DemandModel(whole).mean(origin, horizon))


def test_a_known_promotion_is_learned() -> None:
    whole = history()
    assert whole.plan is not None
    errors = {}
    for name, given_history in (("with", whole), ("without", replace(whole, plan=None))):
        model = demand.DemandModel(given_history, penalty=10.0)
        weeks = range(30, WEEKS)
        found = np.stack([model.mean(week) for week in weeks], axis=1)
        errors[name] = demand.wmape(found, whole.counts[:, 30:])
    assert errors["with"] < 0.8 * errors["without"]


def test_the_label_in_the_coming_mailer_is_the_likeliest_to_surge() -> None:
    whole = history(totals=False)
    assert whole.plan is not None
    plan = whole.plan.copy()
    plan[:, :, WEEKS] = 0
    large = np.flatnonzero(whole.counts[:, -8:].mean(axis=1) > 8)
    for series in large[:5]:
        plan[0, :, WEEKS] = 0
        plan[0, series, WEEKS] = 1
        likely = demand.forecast(replace(whole, plan=plan), 1).surge[:, 0]
        assert likely.argmax() == series


def test_a_label_that_surges_often_is_likelier_to_surge_than_a_calm_one_of_its_level() -> None:
    draw = np.random.default_rng(2)
    restless = draw.random((SERIES, WEEKS)) < 0.2
    restless[SERIES // 2 :] = False
    counts = draw.poisson(np.where(restless, 24, 8)).astype(np.float64)
    # The last weeks of all are alike, so that only the habit tells them apart.
    counts[:, -8:] = 8
    site = np.zeros(SERIES, dtype=np.int64)
    found = demand.forecast(DemandHistory(counts, site, run_up((), KNOWN), month_phases(KNOWN)), 1)
    half = SERIES // 2
    assert found.surge[:half].mean() > 2 * found.surge[half:].mean()


def test_a_forecast_has_the_shape_asked_for_and_ordered_quantiles() -> None:
    found = demand.forecast(history(), AHEAD)
    for values in (found.mean, found.p50, found.p90, found.surge):
        assert values.shape == (SERIES, AHEAD)
        assert np.isfinite(values).all()
        assert (values >= 0).all()
    assert np.all(found.p50 <= found.p90)
    assert np.all(found.surge_low <= found.surge)
    assert np.all(found.surge <= found.surge_high)
    assert found.resolvable.all()


def test_nine_weeks_in_ten_stay_below_p90() -> None:
    whole = history(plan=False)
    inside = []
    for week in range(30, WEEKS):
        model = demand.DemandModel(whole)
        mean, dispersion = model.mean(week), model.dispersion(week)
        inside.append(whole.counts[:, week] <= demand.quantiles(mean, dispersion)[1])
    assert 0.87 < float(np.mean(inside)) < 0.97


def test_noise_widens_the_interval_and_is_not_taken_for_demand() -> None:
    whole = history(plan=False)
    noise_std = 6.0
    noise = np.random.default_rng(1).normal(0, noise_std, size=whole.counts.shape)
    noised = replace(whole, counts=whole.counts + noise)
    exact = demand.forecast(whole, 1)
    found = demand.forecast(noised, 1, noise=noise_std**2 * np.eye(WEEKS))
    width = found.surge_high - found.surge_low
    assert width.mean() > (exact.surge_high - exact.surge_low).mean()
    ignored = demand.DemandModel(noised).dispersion(WEEKS, 1)
    told = demand.DemandModel(noised).dispersion(WEEKS, 1, np.full(WEEKS, noise_std**2))
    true = demand.DemandModel(whole).dispersion(WEEKS, 1)
    assert abs(told.mean() - true.mean()) < 0.3 * abs(ignored.mean() - true.mean())


@settings(deadline=None)
@given(st.floats(0, 500), st.floats(0, 100))
def test_more_noise_never_makes_a_series_resolvable(level: float, noise_std: float) -> None:
    quiet, loud = (demand.resolvable(np.array([level]), noise_std * k)[0] for k in (1, 2))
    assert quiet or not loud
    assert demand.resolvable(np.array([level]), 0.0)[0]


def test_a_surge_smaller_than_its_noise_is_not_resolvable() -> None:
    # A level of 20 surges by 10; two deviations of the noise in that are 10.6.
    assert demand.resolvable(np.array([20.0, 22.0]), 5.3).tolist() == [False, True]


def test_a_level_that_noise_took_below_zero_resolves_no_more_than_an_empty_one() -> None:
    level = np.array([-60.0, 0.0])
    assert demand.resolvable(level, 2.6).tolist() == [False, False]
    assert demand.resolvable(level, 2.4).tolist() == [True, True]


def test_a_surge_needs_half_as_much_again_and_five_buyers() -> None:
    level = np.array([10.0, 10.0, 2.0, 2.0])
    actual = np.array([15.0, 16.0, 4.0, 5.0])
    assert surged(actual, level).tolist() == [False, True, False, True]
    likely, _, _ = demand.surge(actual, level, np.full(4, 1.1))
    assert np.all((likely > 0) & (likely < 1))


def test_the_probability_of_a_surge_rises_with_the_expected_count() -> None:
    mean = np.linspace(1, 60, 30)
    likely, _, _ = demand.surge(mean, np.full(30, 20.0), np.full(30, 1.5))
    assert np.all(np.diff(likely) > 0)
    assert likely[-1] > 0.99


def test_precision_counts_ties_against_the_forecast_group_by_group() -> None:
    scores = np.array([1.0, 1.0, 1.0, 2.0, 3.0, 1.0])
    positives = np.array([True, False, False, True, False, True])
    groups = [0, 0, 0, 1, 1, 1]
    assert demand.precision_at(scores, positives, groups, k=1) == 0
    assert demand.precision_at(scores, positives, groups, k=2) == pytest.approx(0.25)


def test_wmape_weighs_by_what_came() -> None:
    assert demand.wmape(np.array([8.0, 2.0]), np.array([10.0, 0.0])) == pytest.approx(0.4)


def test_run_up_spreads_seven_days_over_the_weeks() -> None:
    thursday = (Occasion(date=date(2017, 1, 12), name="x", category="any"),)
    found = run_up(thursday, Windows.weeks(FIRST, 3))
    np.testing.assert_allclose(found, [[3 / 7, 4 / 7, 0]])
    phases = month_phases(Windows.weeks(FIRST, 52))
    assert phases.shape == (4, 52)
    assert phases[0, 0] == pytest.approx(4 / 7)  # 2 to 5 January
    assert np.all(phases.sum(axis=0) <= 1 + 1e-12)


def test_a_plan_or_calendar_that_ends_too_early_is_refused() -> None:
    whole = history()
    with pytest.raises(ValueError, match="end before week"):
        demand.forecast(whole, AHEAD + 1)
    with pytest.raises(ValueError, match="plan does not fit"):
        replace(whole, plan=np.zeros((1, SERIES, 3)))


def test_too_few_weeks_are_refused() -> None:
    short = replace(history(plan=False, totals=False), counts=history().counts[:, :12])
    with pytest.raises(ValueError, match="too few"):
        demand.forecast(short, 1)
