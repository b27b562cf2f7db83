"""Where the days of public calendars and plans lie among the windows that demand is counted in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.task import MICROSECOND, Task

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Windows:
    """Windows without gaps between them.

    Attributes:
        begin: of the first one, in time without a zone whose days begin at midnight.
        length: of each.
        number: how many, ``W``.
    """

    begin: datetime
    length: timedelta
    number: int

    @classmethod
    def weeks(cls, first: date, number: int) -> Windows:
        """Weeks from a first day."""
        return cls(datetime.combine(first, time()), timedelta(weeks=1), number)

    @classmethod
    def ending(cls, moment: datetime, task: Task, past: int, coming: int) -> Windows:
        """A task's windows before a moment and after it.

        Windows of whole days that begin within a day, say just after the last event of an evening,
        take each day as the window has it that most of it lies in: public days are not split.
        """
        begin = moment.replace(tzinfo=None) - task.day_offset - past * task.window
        if task.window % _DAY == timedelta(0):
            begin = datetime.combine((begin + _DAY / 2).date(), time())
        return cls(begin, task.window, past + coming)

    @property
    def first_day(self) -> date:
        """The day that the first window begins in."""
        return self.begin.date()

    @property
    def days(self) -> int:
        """Number ``D`` of days from ``first_day`` that lie in the windows, in part at least."""
        return int(self._day[-1]) + 1

    def middles(self) -> list[date]:
        """The day that the middle of each window lies in."""
        return [
            (self.begin + self.length * window + self.length / 2).date()
            for window in range(self.number)
        ]

    def means(self, values: Float64) -> Float64:
        """float64 ``[..., W]`` from ``[..., D]``: each window's mean of its days, by the part of
        the window that each takes."""
        parts = values[..., self._day] * self._share
        result: Float64 = np.add.reduceat(parts, self._starts, axis=-1)
        return result

    def between(self, first: date, last: date) -> slice:
        """Places among the ``D`` days of those from one day to another; both belong to them."""
        start = max((first - self.first_day).days, 0)
        return slice(start, max((last - self.first_day).days + 1, 0))

    @cached_property
    def _edges(self) -> Int64:
        """int64 ``[E + 1]``: where a day or a window begins or ends (microseconds of first_day)."""
        length, day = self.length // MICROSECOND, _DAY // MICROSECOND
        begin = (self.begin - datetime.combine(self.first_day, time())) // MICROSECOND
        of_windows = begin + length * np.arange(self.number + 1, dtype=np.int64)
        of_days = np.arange(0, int(of_windows[-1]), day, dtype=np.int64)
        return np.unique(np.concatenate([of_windows, of_days[of_days > begin]]))

    @cached_property
    def _day(self) -> Int64:
        """int64 ``[E]``: the day that the time between two edges belongs to."""
        result: Int64 = self._edges[:-1] // (_DAY // MICROSECOND)
        return result

    @cached_property
    def _share(self) -> Float64:
        """float64 ``[E]``: the part of its window that it is."""
        result: Float64 = np.diff(self._edges) / (self.length // MICROSECOND)
        return result

    @cached_property
    def _starts(self) -> Int64:
        """int64 ``[W]``: where each window begins among the ``E``."""
        length = self.length // MICROSECOND
        result: Int64 = np.searchsorted(
            self._edges, self._edges[0] + length * np.arange(self.number, dtype=np.int64)
        )
        return result
