"""Counts by user and day: a label counts once a day, by the day's strongest action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.histories import MICROSECONDS_PER_DAY, Histories, Int64
from groundswell.shared.task import Task

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class UserDays:
    """Distinct (row, label, day), sorted by row, label and day.

    Attributes:
        row, label, day: int64 ``[N]``; days count from 1970 in the task's calendar.
        weight: float64 ``[N]``, of the strongest action.
    """

    row: Int64
    label: Int64
    day: Int64
    weight: Float64

    @classmethod
    def of(cls, h: Histories, task: Task, labels: int) -> UserDays:
        counted = (h.label >= 0) & (h.weight > 0)
        day = day_of(h.time[counted], task)
        first = int(day.min(initial=0))
        span = int(day.max(initial=0)) - first + 1
        key = (h.row()[counted] * labels + h.label[counted]) * span + (day - first)
        order = np.argsort(key, kind="stable")
        key, weight = key[order], h.weight[counted][order].astype(np.float64)
        new = np.ones(len(key), dtype=bool)
        new[1:] = key[1:] != key[:-1]
        start = np.flatnonzero(new)
        weight = np.maximum.reduceat(weight, start) if len(start) else weight
        cell, key = key[start] // span, key[start]
        return cls(cell // labels, cell % labels, key % span + first, weight)

    def age(self, at: Int64, task: Task) -> Float64:
        """Whole days between each entry's day and the last day before ``at[row]``."""
        age: Int64 = np.maximum(day_of(at - 1, task)[self.row] - self.day, 0)
        return age.astype(np.float64)

    def dense(self, values: Float64, rows: int, labels: int) -> Float64:
        """Sums of values by row and label, float64 ``[rows, labels]``."""
        cell = self.row * labels + self.label
        sums = np.bincount(cell, weights=values, minlength=rows * labels)
        return sums.astype(np.float64).reshape(rows, labels)


@dataclass(frozen=True)
class Popularity:
    """Shares of user-days on which a label was acted on, before any given time.

    Attributes:
        label, weight: ``[N]``, distinct user-day-labels in order of days.
        label_day: int64 ``[N]``, ascending.
        user_day: int64 ``[M]``, the days of distinct user-days, ascending.
    """

    label: Int64
    weight: Float64
    label_day: Int64
    user_day: Int64
    labels: int
    task: Task

    @classmethod
    def of(cls, h: Histories, task: Task, labels: int) -> Popularity:
        days = UserDays.of(h, task, labels)
        order = np.argsort(days.day, kind="stable")
        users = np.unique(np.stack([days.day, days.row]), axis=1)[0]
        return cls(days.label[order], days.weight[order], days.day[order], users, labels, task)

    def share(self, at: int, last_days: int | None = None) -> Float64:
        """float64 ``[L]``: of the user-days before ``at``, how many hold the label (weighted)."""
        end = int(day_of(np.array([at]), self.task)[0])
        start = int(np.iinfo(np.int64).min) if last_days is None else end - last_days
        low, high = np.searchsorted(self.label_day, [start, end])
        sums = np.bincount(
            self.label[low:high], weights=self.weight[low:high], minlength=self.labels
        )
        first, last = np.searchsorted(self.user_day, [start, end])
        result: Float64 = sums / max(1, int(last - first))
        return result


def day_of(time: Int64, task: Task) -> Int64:
    """Days since 1970 of times in microseconds, in the task's calendar."""
    result: Int64 = (time - task.day_offset_us) // MICROSECONDS_PER_DAY
    return result
