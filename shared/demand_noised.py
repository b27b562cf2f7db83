"""Weekly demand out of a noised release: its season, its slow drift and its surges, told apart.

A release of 26 windows says little about any one week of a label, much about its half-year. Each
series is a Gaussian process over weeks: a level that drifts, one yearly wave, its answers to the
public calendar; and each count varies like a multiple of its mean, plus the noise, whose size in
each week and likeness between weeks are known. Weeks that lie too far from what all other weeks of
the series say are surges: they bend neither level nor wave, and what lasts of one is learned over
all series. Nothing but the release and the calendar is read, so it costs no budget.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from groundswell.shared.demand_features import DemandHistory
from groundswell.shared.demand_weights import course

Float64 = NDArray[np.float64]

_SURGE_DEVIATIONS = 4.0
_ROUNDS = 6  # of finding surges; between them the parameters are fitted anew
_LEVEL_VARIANCE = 0.2  # of the relative level before the first week
_OCCASION_VARIANCE = 0.05  # of the relative answer to a whole week before an occasion
# Logarithms of: variance over mean of counts, weekly variance of the drift, variance of the wave.
_USUAL = np.log([1.0, 1e-4, 0.05])
_USUAL_SPREAD = 2.0  # standard deviation of each one about its usual value
_LEARNED_SERIES = 400  # largest series that the parameters are fitted on
_LEAST_DISPERSION = 1.02
_LASTING_PRIOR = 10.0
_LONGEST_LASTING = 0.95


class NoisedDemand:
    """Forecasts of the weeks after a noised history.

    Attributes:
        dispersion: variance over mean of the counts in weeks without a surge.
        surges: bool ``[S, T]``, weeks taken for surges (or collapses).
    """

    def __init__(self, history: DemandHistory, noise: Float64) -> None:
        """Fit ``S`` series of ``T`` weeks.

        Args:
            noise: float64 ``[T, T]``, covariance of the noise on the counts of a series.
        """
        counts = history.counts
        self._usual = np.maximum(np.median(counts, axis=1), 1.0)
        self._change = counts / self._usual[:, None] - 1
        self._noise = noise
        self._calendar = history.calendar
        self._extra = np.zeros(counts.shape)  # variance of the surge in each week
        self._logs = _USUAL
        for number in range(_ROUNDS):
            if number % 2:
                self._learn()
            self._find_surges()
        self.surges = self._extra > 0
        self.dispersion = max(float(np.exp(self._logs[0])), _LEAST_DISPERSION)
        self._solved = np.linalg.solve(self._covariance(self._logs), self._change[:, :, None])
        self._lasting = self._learn_lasting()

    def mean(self, horizon: int = 1) -> Float64:
        """float64 ``[S]``: expected true counts ``horizon`` weeks after the last one, at least 0.

        Raises:
            ValueError: the calendar ends before that week.
        """
        weeks = self._change.shape[1]
        week = weeks + horizon - 1
        if week >= self._calendar.shape[1]:
            raise ValueError(f"the calendar ends before week {week}")
        shared = self._shared(self._logs, week + 1)[week, :weeks]
        change = self._solved[:, :, 0] @ shared
        last = np.where(self.surges[:, -1], self._change[:, -1] - self._fitted()[:, -1], 0.0)
        expected = self._usual * (1 + change + last * self._lasting**horizon)
        result: Float64 = np.maximum(expected, 0.0)
        return result

    def _shared(self, logs: Float64, weeks: int) -> Float64:
        """float64 ``[weeks, weeks]``: covariance of a relative true count without its surges."""
        _, drift, wave = np.exp(logs)
        calendar = self._calendar[:, :weeks]
        found: Float64 = (
            course(weeks, _LEVEL_VARIANCE, drift, wave) + _OCCASION_VARIANCE * calendar.T @ calendar
        )
        return found

    def _covariance(
        self, logs: Float64, chosen: slice | NDArray[np.int64] = slice(None)
    ) -> Float64:
        """float64 ``[S, T, T]``: covariance of the relative counts that were released."""
        usual, extra = self._usual[chosen], self._extra[chosen]
        weeks = extra.shape[1]
        found = self._shared(logs, weeks) + self._noise / np.square(usual)[:, None, None]
        own = np.exp(logs[0]) / usual
        found[:, range(weeks), range(weeks)] += own[:, None] + extra
        return found

    def _learn(self) -> None:
        """The parameters of greatest likelihood, about their usual values."""
        largest = np.argsort(-self._usual, kind="stable")[:_LEARNED_SERIES]
        change = self._change[largest]

        def cost(logs: Float64) -> float:
            root = np.linalg.cholesky(self._covariance(logs, largest))
            white = np.linalg.solve(root, change[:, :, None])
            size = 2 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum()
            away = np.square((logs - _USUAL) / _USUAL_SPREAD).sum()
            return float(np.square(white).sum() + size + away)

        options = {"maxiter": 60, "xatol": 0.05, "fatol": 0.1}
        self._logs = minimize(cost, self._logs, method="Nelder-Mead", options=options).x

    def _find_surges(self) -> None:
        """Variance for each week too far from what the other weeks of its series say.

        The deviation and its variance without the week come from the inverse of the covariance
        (Rasmussen and Williams 2006, section 5.4.2).
        """
        inverse = np.linalg.inv(self._covariance(self._logs))
        precision = np.diagonal(inverse, axis1=1, axis2=2)
        away = (inverse @ self._change[:, :, None])[:, :, 0] / precision
        spread = np.maximum(1 / precision - self._extra, 1e-12)
        far = away**2 > _SURGE_DEVIATIONS**2 * spread
        self._extra = np.where(far, away**2 - spread, 0.0)

    def _fitted(self) -> Float64:
        weeks = self._change.shape[1]
        result: Float64 = self._solved[:, :, 0] @ self._shared(self._logs, weeks)
        return result

    def _learn_lasting(self) -> float:
        """What part of a surge is still there a week later, shrunk to none."""
        away = (self._change - self._fitted()) * np.sqrt(self._usual)[:, None]
        before, after = away[:, :-1][self.surges[:, :-1]], away[:, 1:][self.surges[:, :-1]]
        share = float(before @ after) / (float(before @ before) + _LASTING_PRIOR)
        return min(max(share, 0.0), _LONGEST_LASTING)
