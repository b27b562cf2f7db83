"""Ridge and logistic regression over standardised columns, with an intercept that is free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_STEPS = 20
_SMALL = 1e-3
_STILL = 1e-9
_LEAST_SHARE = 0.1  # of rows that a column counts as moving in, where it moves in fewer


@dataclass(frozen=True)
class Linear:
    """A fitted line; ``mean`` and ``spread`` are those of the columns that it was fitted on.

    Attributes:
        weights: float64 ``[1 + F]``, the intercept first.
        mean, spread: float64 ``[F]``; the spread of a column that is 0 in nearly all rows is taken
            as if it were not in one of ten.
    """

    weights: Float64
    mean: Float64
    spread: Float64

    def at(self, x: Float64) -> Float64:
        """float64 ``[S]`` from ``[S, F]``: the line's values (log odds, of a logistic one)."""
        result: Float64 = _standard(x, self.mean, self.spread) @ self.weights
        return result


def ridge(x: Float64, target: Float64, penalty: float) -> Linear:
    """Least squares of ``target`` ``[N]`` on ``x`` ``[N, F]``; the penalty counts in rows."""
    mean, spread = _scale(x)
    z = _standard(x, mean, spread)
    solved = np.linalg.solve(z.T @ z + _penalties(z, penalty), z.T @ target)
    return Linear(np.asarray(solved, dtype=np.float64), mean, spread)


def logistic(x: Float64, outcome: NDArray[np.bool_], penalty: float) -> Linear:
    """Log odds of ``outcome`` ``[N]`` on ``x`` ``[N, F]``, by Newton's steps."""
    mean, spread = _scale(x)
    z = _standard(x, mean, spread)
    share = float(outcome.mean())
    weights: Float64 = np.zeros(z.shape[1])
    weights[0] = np.log((share + _SMALL) / (1 - share + _SMALL))
    penalties = _penalties(z, penalty)

    def cost(weights: Float64) -> float:
        odds = z @ weights
        away = np.logaddexp(0.0, odds) - outcome * odds
        return float(away.sum() + weights @ penalties @ weights / 2)

    current = cost(weights)
    for _ in range(_STEPS):
        likely = sigmoid(z @ weights)
        curvature = likely * (1 - likely) + 1e-9
        slope = z.T @ (outcome - likely) - penalties @ weights
        step = np.linalg.solve((z * curvature[:, None]).T @ z + penalties, slope)
        # A whole step may go too far where few outcomes came, and the next ones ever farther.
        while (found := cost(weights + step)) > current and np.abs(step).max() > _SMALL:
            step = step / 2
        weights, current = weights + step, found
        if np.abs(step).max() < _SMALL:
            break
    return Linear(weights, mean, spread)


def sigmoid(value: Float64) -> Float64:
    """float64, of the shape of ``value``: probabilities of log odds."""
    result: Float64 = 1 / (1 + np.exp(-np.clip(value, -30, 30)))
    return result


def log_odds(probability: Float64) -> Float64:
    """float64, of the shape of ``probability``; finite at 0 and 1."""
    inside = np.clip(probability, 1e-9, 1 - 1e-9)
    result: Float64 = np.log(inside / (1 - inside))
    return result


def _scale(x: Float64) -> tuple[Float64, Float64]:
    mean: Float64 = np.asarray(x.mean(axis=0), dtype=np.float64)
    spread: Float64 = np.asarray(x.std(axis=0), dtype=np.float64)
    # A column that is 0 but for a few rows, such as a plan of one label's promotions, has a spread
    # near 0: standardised by it, those rows would stand out by so much that the penalty hardly bit,
    # and what happened to come in them would be learned as a rule.
    share = np.maximum((x != 0).mean(axis=0), _STILL)
    spread = spread * np.sqrt(np.maximum(1.0, _LEAST_SHARE / share))
    # Nothing was learned of a column that never moved: it counts for nothing when it does.
    return mean, np.where(spread > _STILL, spread, np.inf)


def _standard(x: Float64, mean: Float64, spread: Float64) -> Float64:
    return np.concatenate([np.ones((len(x), 1)), (x - mean) / spread], axis=1)


def _penalties(z: Float64, penalty: float) -> Float64:
    found: Float64 = np.diag([1e-6, *np.full(z.shape[1] - 1, penalty)])
    return found
