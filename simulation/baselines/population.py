"""What the population's past says, as tables refreshed at every prediction time.

The table of a time counts nothing at or after it. Tables are dense, up to ``[L, L]`` for each time:
fit for some hundred labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from groundswell.shared.habits import LEVELS, Habits, habits
from groundswell.shared.histories import Int64
from groundswell.simulation.baselines.baseline import TrainingData
from groundswell.simulation.baselines.counts import Float64, Popularity, UserDays, day_of

RECENT_DAYS = 28
# Upper ends of the buckets of days since the last occasion; one more for older, one for never.
SINCE_DAYS = np.array([3, 7, 10, 14, 21, 28, 42, 60, 90, 180], dtype=np.float32)
BUCKETS = len(SINCE_DAYS) + 2
_NEVER = 1e4
_PRIOR_ROWS = 30.0  # rows of the label's average rate that a cell of a rate table starts with
_PRIOR_DAYS = 5.0
_RIDGE = 5.0


@dataclass(frozen=True)
class Snapshot:
    """Tables of one time.

    Attributes:
        popularity, recent: float64 ``[L]``, share of user-days, ever and in the last 28 days.
        hazard: float64 ``[L, BUCKETS]``, share of rows acting on the label in their window, by
            days since they last did.
        repeat: float64 ``[L, LEVELS]``, the same by times acted on in the last five baskets.
        association: float64 ``[L, L]``, weights of EASE (Steck 2019) on users' label counts.
        transition: float64 ``[L, L]``, share of user-days with a label after one with another.
    """

    popularity: Float64
    recent: Float64
    hazard: Float64
    repeat: Float64
    association: Float64
    transition: Float64


class Population:
    """Snapshots at the train, validation and test times of a data set."""

    def __init__(self, data: TrainingData) -> None:
        times = data.times
        self._grid = np.unique(np.concatenate([times.train, times.validation, times.test]))
        self._labels = data.labels
        counts = Popularity.of(data.histories, data.task, data.labels)
        rates = _Rates(data, self._grid)
        pairs = _Pairs(data)
        self._snapshots = [
            Snapshot(
                counts.share(at),
                counts.share(at, RECENT_DAYS),
                *rates.before(at),
                pairs.association(at),
                pairs.transition(at, counts.share(at)),
            )
            for at in self._grid.tolist()
        ]

    def at(self, time: int) -> Snapshot:
        """The latest snapshot of a time not after ``time``; raises LookupError before the first."""
        index = int(np.searchsorted(self._grid, time, side="right")) - 1
        if index < 0:
            raise LookupError(f"no snapshot at or before {time}")
        return self._snapshots[index]


def buckets(found: Habits) -> Int64:
    """int64 ``[B, L]``: bucket of days since the last occasion, the last one for never."""
    since = np.searchsorted(SINCE_DAYS, found.since)
    result: Int64 = np.where(found.since >= _NEVER, BUCKETS - 1, since)
    return result


class _Rates:
    """Rates by recency and by level, summed over the windows that are over at a time."""

    def __init__(self, data: TrainingData, times: Int64) -> None:
        labels = data.labels
        self._end = times + data.task.window_us
        self._hazard = np.zeros((len(times), 2, labels, BUCKETS))
        self._repeat = np.zeros((len(times), 2, labels, LEVELS))
        for i, at in enumerate(times):
            for chunk in data.rows(np.array([at])).chunks():
                found = habits(chunk.known, chunk.at, labels)
                acted = chunk.weights > 0
                self._hazard[i] += _tally(buckets(found), acted, BUCKETS)
                self._repeat[i] += _tally(found.level.astype(np.int64), acted, LEVELS)

    def before(self, at: int) -> tuple[Float64, Float64]:
        over = self._end <= at
        return _rate(self._hazard[over].sum(axis=0)), _rate(self._repeat[over].sum(axis=0))


def _tally(level: Int64, acted: NDArray[np.bool_], levels: int) -> Float64:
    """float64 ``[2, L, levels]``: rows at each level, and those of them that acted."""
    labels = level.shape[1]
    cell = np.arange(labels) * levels + level
    counts = [np.bincount(cell.ravel(), minlength=labels * levels)]
    counts.append(np.bincount(cell[acted], minlength=labels * levels))
    return np.stack(counts).astype(np.float64).reshape(2, labels, levels)


def _rate(tally: Float64) -> Float64:
    """Shares shrunk to the rate of the level over all labels, that to the rate over all."""
    rows, acted = tally
    level = (acted.sum(axis=0) + 1e-3) / (rows.sum(axis=0) + 1)
    result: Float64 = (acted + _PRIOR_ROWS * level) / (rows + _PRIOR_ROWS)
    return result


class _Pairs:
    """Which labels go with which: over a user's whole past, and from one user-day to the next."""

    def __init__(self, data: TrainingData) -> None:
        self._task, self._labels = data.task, data.labels
        self._users = len(data.histories)
        self._days = UserDays.of(data.histories, data.task, data.labels)
        days = self._days
        visit, index = np.unique(np.stack([days.row, days.day]), axis=1, return_inverse=True)
        ones = np.ones(len(index))
        self._visits = sparse.csr_matrix(
            (ones, (index.ravel(), days.label)), shape=(visit.shape[1], data.labels)
        )
        self._next = np.flatnonzero(visit[0, 1:] == visit[0, :-1]) + 1
        self._next_day = visit[1, self._next]
        order = np.argsort(self._next_day, kind="stable")
        self._next, self._next_day = self._next[order], self._next_day[order]
        self._done = 0
        self._followed = np.zeros((data.labels, data.labels))
        self._led = np.zeros(data.labels)

    def association(self, at: int) -> Float64:
        days = self._days
        early = days.day < day_of(np.array([at]), self._task)[0]
        cell = days.row[early] * self._labels + days.label[early]
        size = self._users * self._labels
        x = own_counts(np.bincount(cell, minlength=size).reshape(self._users, self._labels))
        inverse = np.linalg.inv(x.T @ x + _RIDGE * np.eye(self._labels))
        weights: Float64 = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        return weights

    def transition(self, at: int, popularity: Float64) -> Float64:
        """Times must be asked for in ascending order: the counts are added up as they go."""
        end = int(np.searchsorted(self._next_day, day_of(np.array([at]), self._task)[0]))
        if end > self._done:
            after = self._visits[self._next[self._done : end]]
            before = self._visits[self._next[self._done : end] - 1]
            self._followed += (before.T @ after).toarray()
            self._led += np.asarray(before.sum(axis=0)).ravel()
            self._done = end
        result: Float64 = (self._followed + _PRIOR_DAYS * popularity) / (
            self._led[:, None] + _PRIOR_DAYS
        )
        return result


def own_counts(days: NDArray[np.number]) -> Float64:
    """Users' label counts ``[U, L]`` as unit rows of logarithms: what the association works on."""
    x = np.log1p(days.astype(np.float64))
    norm = np.sqrt((x**2).sum(axis=1, keepdims=True))
    result: Float64 = x / np.where(norm > 0, norm, 1.0)
    return result
