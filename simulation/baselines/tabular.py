"""Baselines on eighteen features of a user and a label: logistic regression and boosted trees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from groundswell.shared.habits import habits
from groundswell.shared.histories import Float32, Histories, Int64
from groundswell.shared.metrics import share
from groundswell.shared.task import Task
from groundswell.simulation.baselines.baseline import TrainingData
from groundswell.simulation.baselines.counts import UserDays
from groundswell.simulation.baselines.markov import followed, last_day
from groundswell.simulation.baselines.population import Population, buckets, own_counts
from groundswell.simulation.evaluate import LITTLE_BASKETS, Forecast

FEATURES = (
    "log decayed days, half-life 7",
    "log decayed days, half-life 21",
    "log decayed days, half-life 60",
    "log decayed days, half-life 150",
    "log share of own baskets",
    "log days since the last occasion",
    "of the last five baskets",
    "never acted on",
    "log of days since over own mean gap",
    "log popularity",
    "log popularity of the last 28 days",
    "log odds by days since",
    "log odds by count in the last five baskets",
    "association with own counts",
    "log share following the last day",
    "log own baskets",
    "log days since the last event",
    "log days since the first event",
)
NEGATIVES = 0.08  # share of the pairs without an action that are learned from, weighted up
_FLOOR = 1e-4
_DECAY_FLOOR = 0.01


def features(h: Histories, at: Int64, population: Population, task: Task, labels: int) -> Float32:
    """float32 ``[B, L, 18]``, in the order of ``FEATURES``."""
    found = habits(h, at, labels)
    x = np.zeros((len(h), labels, len(FEATURES)), dtype=np.float32)
    for k, decayed in enumerate(found.decayed):
        x[:, :, k] = np.log(decayed + _DECAY_FLOOR)
    x[:, :, 4] = np.log(found.count / np.maximum(found.baskets, 1)[:, None] + 0.005)
    x[:, :, 5] = np.log1p(np.minimum(found.since, 500))
    x[:, :, 6] = found.level
    x[:, :, 7] = found.count == 0
    gap = found.span / np.maximum(found.count - 1, 1)
    x[:, :, 8] = np.where(found.count > 1, np.log((found.since + 1) / (gap + 1)), 0)
    days = UserDays.of(h, task, labels)
    own = own_counts(days.dense(np.ones(len(days.row)), len(h), labels))
    last = last_day(days, len(h), labels)
    bucket, level = buckets(found), found.level.astype(np.int64)
    label = np.arange(labels)
    for time in np.unique(at).tolist():
        rows = np.flatnonzero(at == time)
        known = population.at(time)
        x[rows, :, 9] = np.log(known.popularity + _FLOOR)
        x[rows, :, 10] = np.log(known.recent + _FLOOR)
        x[rows, :, 11] = log_odds(known.hazard[label, bucket[rows]])
        x[rows, :, 12] = log_odds(known.repeat[label, level[rows]])
        x[rows, :, 13] = own[rows] @ known.association
        x[rows, :, 14] = np.log(followed(last[rows], known.transition, known.popularity) + _FLOOR)
    x[:, :, 15] = np.log1p(found.baskets)[:, None]
    x[:, :, 16] = np.log1p(found.idle)[:, None]
    x[:, :, 17] = np.log1p(found.tenure)[:, None]
    return x


def log_odds(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logit of rates in (0, 1)."""
    result: NDArray[np.float64] = np.log(rate + _FLOOR) - np.log1p(_FLOOR - rate)
    return result


class _Tabular(ABC):
    """Learns from the train windows after ``stats_until``, whole histories and, where the model
    can tell them apart, five baskets alike."""

    little = False

    def fit(self, data: TrainingData) -> Self:
        self._data = data
        self._population = Population(data)
        self._learn(*self._examples())
        return self

    def scores(self, h: Histories, at: Int64) -> Forecast:
        x = features(h, at, self._population, self._data.task, self._data.labels)
        score = self._margin(x.reshape(-1, x.shape[2])).reshape(x.shape[:2])
        return Forecast(score, share(1 / (1 + np.exp(-score))))

    def _examples(self) -> tuple[Float32, NDArray[np.bool_], NDArray[np.float64]]:
        """Features ``[N, 18]``, whether acted on ``[N]``, and weights ``[N]``."""
        data = self._data
        train = data.times.train
        draw = np.random.default_rng(data.seed)
        parts = []
        for chunk in data.rows(train[train >= data.times.stats_until]).chunks():
            acted = chunk.weights > 0
            seen = [chunk.known]
            if self.little:
                seen.append(chunk.known.last_baskets(LITTLE_BASKETS))
            for view in seen:
                x = features(view, chunk.at, self._population, data.task, data.labels)
                kept = acted | (draw.random(acted.shape) < NEGATIVES)
                weight = np.where(acted[kept], 1.0, 1 / NEGATIVES)
                parts.append((x[kept], acted[kept], weight))
        x, y, weight = (np.concatenate(each) for each in zip(*parts, strict=True))
        return x, y, weight

    @abstractmethod
    def _learn(self, x: Float32, acted: NDArray[np.bool_], weight: NDArray[np.float64]) -> None:
        """Fit to features ``[N, 18]``, whether acted on ``[N]``, and weights ``[N]``."""

    @abstractmethod
    def _margin(self, x: Float32) -> NDArray[np.float64]:
        """Log odds float64 ``[N]`` of features ``[N, 18]``."""


class Logistic(_Tabular):
    """Logistic regression, one weight a feature."""

    def _learn(self, x: Float32, acted: NDArray[np.bool_], weight: NDArray[np.float64]) -> None:
        self._mean, self._scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
        model = LogisticRegression(max_iter=200, C=10.0)
        model.fit((x - self._mean) / self._scale, acted, sample_weight=weight)
        self._weights = model.coef_[0].astype(np.float32)
        self._bias = float(model.intercept_[0])

    def _margin(self, x: Float32) -> NDArray[np.float64]:
        margin = ((x - self._mean) / self._scale) @ self._weights + self._bias
        return np.asarray(margin, dtype=np.float64)


class BoostedTrees(_Tabular):
    """Gradient-boosted trees with a binary loss (LightGBM)."""

    little = True
    rounds = 250

    def _learn(self, x: Float32, acted: NDArray[np.bool_], weight: NDArray[np.float64]) -> None:
        parameters: dict[str, Any] = {
            "objective": "binary",
            "learning_rate": 0.05,
            "num_leaves": 31,
            "min_data_in_leaf": 200,
            "feature_fraction": 0.6,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "lambda_l2": 5.0,
            "seed": self._data.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        examples = lightgbm.Dataset(x, label=acted, weight=weight, params=parameters)
        self._model = lightgbm.train(parameters, examples, num_boost_round=self.rounds)

    def _margin(self, x: Float32) -> NDArray[np.float64]:
        return np.asarray(self._model.predict(x, raw_score=True), dtype=np.float64)
