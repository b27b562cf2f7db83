"""The two regressions find what was put in, and stay finite where there is nothing to find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundswell.shared.demand_fit import log_odds, logistic, ridge, sigmoid


def test_a_ridge_without_penalty_is_least_squares() -> None:
    x = np.random.default_rng(0).normal(3.0, [1.0, 50.0], size=(40, 2))
    target = 7 + x @ np.array([2.0, -0.1])
    assert ridge(x, target, 0.0).at(x) == pytest.approx(target)


def test_a_heavy_penalty_leaves_the_mean() -> None:
    x = np.random.default_rng(0).normal(size=(40, 2))
    target = 7 + x @ np.array([2.0, -1.0])
    assert ridge(x, target, 1e9).at(x) == pytest.approx(np.full(40, target.mean()), abs=1e-4)


def test_a_logistic_regression_finds_the_odds_that_were_put_in() -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(size=(20_000, 2))
    odds = -1 + x @ np.array([1.5, 0.0])
    outcome = draw.random(len(x)) < sigmoid(odds)
    assert np.abs(logistic(x, outcome, 1.0).at(x) - odds).mean() < 0.1


@pytest.mark.parametrize("came", [False, True])
def test_what_never_or_always_came_has_finite_odds(came: bool) -> None:
    x = np.random.default_rng(2).normal(size=(50, 3))
    x[:, 1] = 4.0  # a column that says nothing
    found = logistic(x, np.full(50, came), 10.0).at(x)
    assert np.isfinite(found).all()
    assert np.all((found > 0) == came)


@given(st.floats(-20, 20))
def test_log_odds_undo_the_sigmoid(value: float) -> None:
    assert log_odds(sigmoid(np.array([value])))[0] == pytest.approx(value, abs=1e-3)
