"""Baselines that count: what all users act on, what this user acts on, and both together."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Self

import numpy as np

from groundswell.shared.histories import Histories, Int64
from groundswell.shared.metrics import share
from groundswell.shared.task import Task
from groundswell.simulation.baselines.baseline import Scores, TrainingData, by_time, choose
from groundswell.simulation.baselines.counts import Float64, Popularity, UserDays
from groundswell.simulation.evaluate import ALL, SLICES, Forecast

RECENT_DAYS = 28
HALF_LIVES = (60.0, 90.0, 120.0)  # days
# Worth of the whole popularity distribution, in user-days of the user's own.
PRIOR_DAYS = (4.0, 5.0, 6.0, 7.0, 8.0)


class PopularityBaseline:
    """All users' user-days before the prediction time, or the last days of them alone."""

    def __init__(self, last_days: int | None = None) -> None:
        self._last_days = last_days

    def fit(self, data: TrainingData) -> Self:
        counts = Popularity.of(data.histories, data.task, data.labels)
        self._share = lru_cache(maxsize=64)(lambda at: counts.share(at, self._last_days))
        return self

    def scores(self, h: Histories, at: Int64) -> Forecast:
        scores = by_time(at, self._share)
        return Forecast(scores, share(scores))


def popularity() -> PopularityBaseline:
    return PopularityBaseline()


def recent_popularity() -> PopularityBaseline:
    return PopularityBaseline(RECENT_DAYS)


class PersonalFrequency:
    """The user's own days with the label, each worth half after a half-life that is tuned.

    It has no probabilities: what a user never bought would be impossible.
    """

    half_life = 90.0

    def fit(self, data: TrainingData) -> Self:
        self._task, self._labels = data.task, data.labels
        rows = data.rows(data.times.validation)
        if len(rows):
            self.half_life = choose(rows, HALF_LIVES, self._family, (ALL,))
        return self

    def scores(self, h: Histories, at: Int64) -> Forecast:
        return Forecast(self._family(h, at)(self.half_life))

    def _family(self, h: Histories, at: Int64) -> DecayedDays:
        return DecayedDays(h, at, self._task, self._labels)


class Backoff:
    """Decayed own days plus the population's share of the last 28 days: the honest baseline.

    The score (n + m p) / (N + m) is the posterior mean of the share of a user's days that hold the
    label, with a Dirichlet prior worth m days; the denominator changes no user's order. Both the
    half-life of n and m are tuned on the validation windows, over all slices.
    """

    half_life = 90.0
    prior_days = 6.0

    def fit(self, data: TrainingData) -> Self:
        self._task, self._labels = data.task, data.labels
        counts = Popularity.of(data.histories, data.task, data.labels)
        self._share = lru_cache(maxsize=64)(lambda at: counts.share(at, RECENT_DAYS))
        rows = data.rows(data.times.validation)
        if len(rows):
            grid = list(product(HALF_LIVES, PRIOR_DAYS))
            self.half_life, self.prior_days = choose(rows, grid, self._family, SLICES)
        return self

    def scores(self, h: Histories, at: Int64) -> Forecast:
        scores = self._family(h, at)((self.half_life, self.prior_days))
        return Forecast(scores, share(scores))

    def _family(self, h: Histories, at: Int64) -> _BackoffScores:
        return _BackoffScores(
            DecayedDays(h, at, self._task, self._labels), by_time(at, self._share)
        )


class DecayedDays:
    """Own days of a view by label, for any half-life: float64 ``[B, L]``."""

    def __init__(self, h: Histories, at: Int64, task: Task, labels: int) -> None:
        self._days = UserDays.of(h, task, labels)
        self._age = self._days.age(at, task)
        self._shape = (len(h), labels)
        self._at_half_life = lru_cache(maxsize=1)(self._decayed)

    def __call__(self, half_life: float) -> Float64:
        return self._at_half_life(half_life)

    def _decayed(self, half_life: float) -> Float64:
        worth = self._days.weight * np.exp2(-self._age / half_life)
        return self._days.dense(worth, *self._shape)


class _BackoffScores:
    def __init__(self, personal: DecayedDays, popularity: Float64) -> None:
        self._personal, self._popularity = personal, popularity

    def __call__(self, parameters: tuple[float, float]) -> Scores:
        half_life, prior_days = parameters
        return self._personal(half_life) + prior_days * self._popularity
