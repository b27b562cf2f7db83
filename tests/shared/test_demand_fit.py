"""The two regressions find what was put in, and stay finite where there is nothing to find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

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


def test_a_column_that_never_moved_counts_for_nothing_when_it_does() -> None:
    x = np.random.default_rng(3).normal(size=(50, 2))
    x[:, 1] = 0.3
    found = ridge(x, x[:, 0], 1.0)
    moved = x + np.array([0.0, 5.0])
    assert found.at(moved) == pytest.approx(found.at(x))


def sparse(rows: int, moving: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A column of noise and one that moves in the first rows alone; in those all came."""
    x = np.random.default_rng(4).normal(size=(rows, 2))
    x[:, 1] = np.arange(rows) < moving
    outcome = np.random.default_rng(5).random(rows) < 0.2
    outcome[:moving] = True
    return x, outcome


def test_a_column_that_moves_in_few_rows_teaches_as_little_as_they_are() -> None:
    """Three rows of thousands say next to nothing against a penalty of many rows."""
    x, outcome = sparse(10_000, 3)
    target = np.where(x[:, 1] > 0, 5.0, 0.0) + x[:, 0]
    assert abs(ridge(x, target, 80.0).at(np.array([[0.0, 1.0]]))[0]) < 1.5
    usual, moved = sigmoid(logistic(x, outcome, 60.0).at(np.array([[0.0, 0.0], [0.0, 1.0]])))
    assert usual == pytest.approx(0.2, abs=0.02)
    assert moved < 0.4


def test_a_column_that_moves_in_enough_rows_is_penalised_as_any_other() -> None:
    x, outcome = sparse(10_000, 1000)
    target = np.where(x[:, 1] > 0, 5.0, 0.0) + x[:, 0]
    assert ridge(x, target, 80.0).at(np.array([[0.0, 1.0]]))[0] > 4.5
    assert sigmoid(logistic(x, outcome, 60.0).at(np.array([[0.0, 1.0]])))[0] > 0.8


@pytest.mark.parametrize("came", [False, True])
def test_what_never_or_always_came_has_finite_odds(came: bool) -> None:
    x = np.random.default_rng(2).normal(size=(50, 3))
    x[:, 1] = 4.0  # a column that says nothing
    found = logistic(x, np.full(50, came), 10.0).at(x)
    assert np.isfinite(found).all()
    assert np.all((found > 0) == came)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_the_odds_found_are_the_best_ones_where_few_outcomes_came(seed: int) -> None:
    """Rare outcomes and columns with far outliers, where whole steps of Newton's go astray."""
    draw = np.random.default_rng(seed)
    x = np.exp(draw.normal(0, 2.5, size=(1000, 30)))
    outcome = draw.random(1000) < 0.003
    outcome |= x[:, 0] > np.quantile(x[:, 0], 0.99)
    found = logistic(x, outcome, 10.0)
    z = np.column_stack([np.ones(len(x)), (x - found.mean) / found.spread])
    slope = z.T @ (outcome - sigmoid(found.at(x)))
    assert slope[1:] == pytest.approx(10 * found.weights[1:], abs=0.1)
    assert slope[0] == pytest.approx(0, abs=0.1)


@given(st.floats(-20, 20))
def test_log_odds_undo_the_sigmoid(value: float) -> None:
    assert log_odds(sigmoid(np.array([value])))[0] == pytest.approx(value, abs=1e-3)
