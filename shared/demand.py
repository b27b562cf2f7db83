"""Weekly demand by label: forecasts of next weeks' counts, and how likely each label surges.

Pure functions on exact counts (a site's own) or noised ones (a federation's). A series is one label
at one site; all series are fitted together, so a rule learned on one helps the others. Forecasts of
an origin use nothing of its week or later, except what is public in advance: calendar, texts, plan.
Exact counts are forecast by two regressions over the same columns, one of the count and one of the
odds of a surge; noised ones by :mod:`groundswell.shared.demand_noised`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from groundswell.shared.demand_features import (
    FIRST_ORIGIN,
    LEVEL_WEEKS,
    SURGE_COUNT,
    SURGE_RATIO,
    DemandHistory,
    Design,
    Features,
    least_surge,
    surged,
)
from groundswell.shared.demand_fit import log_odds, logistic, ridge, sigmoid
from groundswell.shared.demand_noised import NoisedDemand

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

SES_WEIGHT = 0.2
HOLT = (0.2, 0.05, 0.8)  # weights of level and trend, damping
PENALTY = 80.0
SURGE_PENALTY = 60.0
SMOOTHED_SHARE = 0.3
_SURGING_LEVEL = 0.8  # mean of eight weeks below which five buyers are too rare to learn from
_DISPERSION_PRIOR = 10.0  # expected count that the average dispersion is worth in a series
_LEAST_DISPERSION = 1.02
_LEAST_MEAN = 0.05
_INTERVAL = 1.645  # standard errors: 90 %


@dataclass(frozen=True)
class DemandForecast:
    """Forecasts of ``S`` series for horizons 1..H.

    Attributes:
        mean, p50, p90: float64 ``[S, H]``, counts.
        surge: float64 ``[S, H]``, probability of a surge.
        surge_low, surge_high: its 90 % interval: the level is known from eight weeks only, and
            those carry the noise that was put on the counts.
        resolvable: bool ``[S]``; False where the least surge would drown in the noise, so that
            neither its forecast nor its absence says anything.
    """

    mean: Float64
    p50: Float64
    p90: Float64
    surge: Float64
    surge_low: Float64
    surge_high: Float64
    resolvable: NDArray[np.bool_]


def forecast(
    history: DemandHistory, horizons: int = 4, *, noise: Float64 | None = None
) -> DemandForecast:
    """Forecast the weeks after the last one of ``history``.

    Args:
        history: at least 14 weeks; what it knows in advance reaches ``horizons`` weeks further.
        horizons: weeks ahead, H.
        noise: float64 ``[T, T]``, covariance of the noise in a series' counts; None for exact ones.

    Raises:
        ValueError: too few weeks, or calendar, themes or plan end too early.
    """
    origin = history.counts.shape[1]
    model = DemandModel(history)
    model.check(origin, horizons)
    level = history.counts[:, -LEVEL_WEEKS:].mean(axis=1)
    noised = None if noise is None else NoisedDemand(history, noise)
    known = np.zeros((origin, origin)) if noise is None else noise
    usual = np.zeros(origin)
    usual[-LEVEL_WEEKS:] = 1 / LEVEL_WEEKS
    level_noise = _deviation(known, usual)
    columns = []
    for horizon in range(1, horizons + 1):
        dispersion = model.dispersion(origin, horizon, np.diagonal(known))
        if noised is None:
            expected = model.steadied(origin, horizon)
            p50, p90 = quantiles(expected, dispersion)
            likely, low, high = model.surge(origin, horizon)
        else:
            expected = noised.mean(horizon)
            p50 = quantiles(expected, np.full_like(dispersion, noised.dispersion))[0]
            p90 = np.maximum(quantiles(expected, dispersion)[1], p50)
            likely, low, high = surge(expected, level, dispersion, level_noise)
        columns.append([expected, p50, p90, likely, low, high])
    mean, p50, p90, likely, low, high = np.array(columns).transpose(1, 2, 0)
    newest = np.append(-usual[1:], 1.0)  # less the eight weeks before it
    told = resolvable(level, _deviation(known, newest))
    return DemandForecast(mean, p50, p90, likely, low, high, told)


def last_week(counts: Float64) -> Float64:
    """float64 ``[S]``: the last week again."""
    return counts[:, -1]


def mean_of_weeks(counts: Float64, weeks: int) -> Float64:
    """float64 ``[S]``: the mean of the last weeks."""
    result: Float64 = counts[:, -weeks:].mean(axis=1)
    return result


def exponential_smoothing(counts: Float64, weight: float = SES_WEIGHT) -> Float64:
    """float64 ``[S]``: simple exponential smoothing, started at the first week."""
    share = weight * (1 - weight) ** np.arange(counts.shape[1])[::-1]
    share[0] /= weight
    result: Float64 = counts @ share
    return result


def damped_holt(
    counts: Float64, horizon: int = 1, parameters: tuple[float, float, float] = HOLT
) -> Float64:
    """float64 ``[S]``: Holt's linear method with a damped trend (Gardner and McKenzie 1985)."""
    alpha, beta, damping = parameters
    start = min(4, counts.shape[1])
    level = counts[:, :start].mean(axis=1)
    trend = np.zeros_like(level)
    for week in range(start, counts.shape[1]):
        expected = level + damping * trend
        new = alpha * counts[:, week] + (1 - alpha) * expected
        trend = beta * (new - level) + (1 - beta) * damping * trend
        level = new
    ahead = sum(damping**k for k in range(1, horizon + 1))
    result: Float64 = np.maximum(level + ahead * trend, 0.0)
    return result


class DemandModel:
    """Regressions over all that :class:`Features` looks at, refitted at every origin.

    One, a ridge, has the deviation from the mean of the last eight weeks as its target, over the
    root of that mean: counts vary like their root. The other is a logistic one of whether a surge
    came. Weights are shared by all series, so rare labels stay calm.
    """

    def __init__(self, history: DemandHistory, penalty: float = PENALTY) -> None:
        self._history = history
        self._penalty = penalty
        self._features = Features(history)
        self._designs: dict[tuple[int, int], Design] = {}

    def check(self, origin: int, horizon: int) -> None:
        """Raises ValueError where fewer than two origins are there to learn from."""
        if len(self._origins(origin, horizon)) < 2:
            raise ValueError(f"{origin} weeks are too few to forecast {horizon} ahead")

    def mean(self, origin: int, horizon: int = 1) -> Float64:
        """float64 ``[S]``: expected counts of week ``origin + horizon - 1``, from those before
        ``origin``; raises ValueError where too few weeks are there to learn from."""
        self.check(origin, horizon)
        earlier = [(self._design(t, horizon), t) for t in self._origins(origin, horizon)]
        counts = self._history.counts
        fitted = ridge(
            np.concatenate([design.x for design, _ in earlier]),
            np.concatenate([d.target(counts[:, t + horizon - 1]) for d, t in earlier]),
            self._penalty,
        )
        design = self._design(origin, horizon)
        return design.counts(fitted.at(design.x))

    def steadied(self, origin: int, horizon: int = 1) -> Float64:
        """float64 ``[S]``: expected counts, mostly the regression's, steadied by damped Holt.

        Surges are forecast from the regression alone: a slow average hides them.
        """
        smoothed = damped_holt(self._history.counts[:, :origin], horizon)
        expected = self.mean(origin, horizon)
        result: Float64 = (1 - SMOOTHED_SHARE) * expected + SMOOTHED_SHARE * smoothed
        return result

    def surge(self, origin: int, horizon: int = 1) -> tuple[Float64, Float64, Float64]:
        """Probability of a surge, and its 90 % interval; each float64 ``[S]``.

        The log odds are the middle between the tail of the forecast count and the second
        regression: the tail knows how many are expected, the other how labels like this surge.
        """
        tail = surge(
            self.mean(origin, horizon),
            self._design(origin, horizon).base,
            self.dispersion(origin, horizon),
        )
        learned = self._learned_odds(origin, horizon)
        likely, low, high = (sigmoid((log_odds(part) + learned) / 2) for part in tail)
        return likely, low, high

    def _learned_odds(self, origin: int, horizon: int) -> Float64:
        """float64 ``[S]``: log odds of a surge by the regression on past surges."""
        counts = self._history.counts
        columns, came = [], []
        for t in self._origins(origin, horizon):
            design = self._design(t, horizon)
            large = design.base >= _SURGING_LEVEL
            columns.append(design.x[large])
            came.append(surged(counts[large, t + horizon - 1], design.base[large]))
        x, outcome = np.concatenate(columns), np.concatenate(came)
        design = self._design(origin, horizon)
        if not len(x):
            return np.full(len(design.x), log_odds(np.zeros(1))[0])
        found = logistic(x, outcome, SURGE_PENALTY).at(design.x)
        # Below the level that was learned from, no line is to be trusted: at most the least odds.
        small = design.base < _SURGING_LEVEL
        found[small] = np.minimum(found[small], log_odds(np.array([outcome.mean()]))[0]) - 9
        result: Float64 = found
        return result

    def dispersion(self, origin: int, horizon: int = 1, noise: Float64 | None = None) -> Float64:
        """float64 ``[S]``: variance over mean of past weeks about their smoothed level.

        What noise adds to the squared residuals is taken off; a series is shrunk to the average.

        Args:
            noise: float64 ``[T]``, variance of the noise in each week; None for none.
        """
        counts = self._history.counts
        squares = np.zeros(len(counts))
        level = np.zeros(len(counts))
        for t in self._origins(origin, horizon):
            expected = damped_holt(counts[:, :t], horizon)
            squares += (counts[:, t + horizon - 1] - expected) ** 2
            squares -= 0.0 if noise is None else noise[t + horizon - 1]
            level += np.maximum(expected, _LEAST_MEAN)
        average = max(float(squares.sum()), 0.0) / max(float(level.sum()), 1e-9)
        found = (squares + _DISPERSION_PRIOR * average) / (level + _DISPERSION_PRIOR)
        result: Float64 = np.maximum(found, _LEAST_DISPERSION)
        return result

    def _design(self, origin: int, horizon: int) -> Design:
        key = (origin, horizon)
        if key not in self._designs:
            self._designs[key] = self._features.at(origin, horizon)
        return self._designs[key]

    def _origins(self, origin: int, horizon: int) -> range:
        """Earlier origins whose target week is over."""
        return range(FIRST_ORIGIN, origin - horizon + 1)


def quantiles(mean: Float64, dispersion: Float64) -> tuple[Float64, Float64]:
    """P50 and P90 of a negative binomial count with this mean and variance over mean."""
    count = _counts(mean, dispersion)
    return count.ppf(0.5).astype(np.float64), count.ppf(0.9).astype(np.float64)


def surge(
    mean: Float64, level: Float64, dispersion: Float64, level_noise: float = 0.0
) -> tuple[Float64, Float64, Float64]:
    """Probability of a surge, and the ends of its 90 % interval; each float64 ``[S]``.

    Args:
        mean: expected count of the week.
        level: mean of the last eight weeks, with its noise.
        dispersion: variance over mean of the true count.
        level_noise: deviation of that noise.
    """
    known = np.maximum(mean, _LEAST_MEAN)
    spread = np.sqrt(dispersion * known / LEVEL_WEEKS + level_noise**2)
    slack = level_noise
    low = _exceeds(known - _INTERVAL * spread, level + _INTERVAL * slack, dispersion)
    high = _exceeds(known + _INTERVAL * spread, level - _INTERVAL * slack, dispersion)
    return _exceeds(known, level, dispersion), low, high


def resolvable(level: Float64, deviation: float) -> NDArray[np.bool_]:
    """bool ``[S]``: the least surge is at least two deviations of the noise in its own estimate.

    Args:
        deviation: of the noise in that estimate, a week less the mean of the eight before it.
    """
    known = np.maximum(level, 0.0)  # noise may take it below; that resolves nothing
    least = np.maximum(SURGE_RATIO * known, SURGE_COUNT) - known
    result: NDArray[np.bool_] = 2 * deviation <= least
    return result


def wmape(predicted: Float64, actual: Float64) -> float:
    """Sum of absolute errors over the sum of what came."""
    return float(np.abs(predicted - actual).sum() / actual.sum())


def precision_at(
    scores: Float64, positives: NDArray[np.bool_], groups: Sequence[int] | Int64, k: int = 10
) -> float:
    """Mean over groups (sites) of the share of positives among each one's k highest scores.

    Ties count against the forecast: among equal scores the negatives come first.
    """
    group = np.asarray(groups)
    found = []
    for name in np.unique(group):
        inside = np.flatnonzero(group == name)
        order = inside[np.lexsort((positives[inside], -scores[inside]))][:k]
        found.append(float(positives[order].mean()))
    return float(np.mean(found))


def _deviation(noise: Float64, weights: Float64) -> float:
    """Of the noise in a weighted sum of a series' weeks."""
    return float(np.sqrt(weights @ noise @ weights))


def _exceeds(mean: Float64, level: Float64, dispersion: Float64) -> Float64:
    found: Float64 = _counts(mean, dispersion).sf(least_surge(level) - 1)
    return found


def _counts(mean: Float64, dispersion: Float64) -> stats.rv_frozen:
    share = 1 / dispersion
    return stats.nbinom(np.maximum(mean, _LEAST_MEAN) * share / (1 - share), share)
