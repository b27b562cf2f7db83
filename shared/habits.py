"""What one user's own events say about each label, as dense arrays; rows never mix.

An *occasion* is a label in a basket, however many events it has there. Everything here depends on a
row's own events before its prediction time and on constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.histories import MICROSECONDS_PER_DAY, Float32, Histories, Int64

HALF_LIVES = (7.0, 21.0, 60.0, 150.0)  # days
LEVELS = 6  # times bought in the last RECENT_BASKETS baskets: 0..5
RECENT_BASKETS = 5
NEVER = np.float32(1e4)  # days since an occasion that never was
WEEK = timedelta(days=7) // timedelta(microseconds=1)
HAZARD_PRIOR = 3.0  # own gaps that the user's average rate counts for in a label's hazard


@dataclass(frozen=True)
class Habits:
    """``B`` rows, ``L`` labels.

    Attributes:
        decayed: float32 ``[len(HALF_LIVES), B, L]``, occasions weighted by 2^(-age / half-life).
        count: float32 ``[B, L]``, occasions, weighted by action.
        since: float32 ``[B, L]``, days since the last occasion, ``NEVER`` where there is none.
        span: float32 ``[B, L]``, days between the first and the last occasion.
        gap: float32 ``[B, L]``, mean days from one day with an occasion to the next, 0 with less
            than two such days.
        hazard: float32 ``[B, L]`` in [0, 1], chance of an occasion in the coming window by the
            user's own gaps: of those that lasted until now, how many ended within it.
        level: int8 ``[B, L]``, of the last five baskets, how many held the label.
        baskets: float32 ``[B]``, baskets with a counted event.
        idle: float32 ``[B]``, days since the last event, 0 without one.
        tenure: float32 ``[B]``, days since the first event, 0 without one.
    """

    decayed: Float32
    count: Float32
    since: Float32
    span: Float32
    gap: Float32
    hazard: Float32
    level: NDArray[np.int8]
    baskets: Float32
    idle: Float32
    tenure: Float32

    def recent(self, days: float) -> NDArray[np.bool_]:
        """bool ``[B, L]``: had an occasion in the last ``days`` days."""
        recent: NDArray[np.bool_] = self.since <= np.float32(days)
        return recent


def habits(h: Histories, at: Int64, labels: int, window_us: int = WEEK) -> Habits:
    """Habits of each row as of ``at`` (int64 ``[B]``, microseconds), which cuts ``h`` here.

    Args:
        window_us: the window that ``hazard`` looks ahead, microseconds.
    """
    h = h.before(at)
    at = np.asarray(at, dtype=np.int64)
    shape = (len(h), labels)
    cells = len(h) * labels
    row = h.row()
    counted = (h.label >= 0) & (h.weight > 0)
    row, label, basket = row[counted], h.label[counted], h.basket[counted]
    age = ((at[row] - h.time[counted]) / MICROSECONDS_PER_DAY).astype(np.float32)
    weight = h.weight[counted]
    cell = row * labels + label
    order = np.argsort(cell, kind="stable")
    cell, basket, age, weight = cell[order], basket[order], age[order], weight[order]
    cell, basket, age, weight = _occasions(cell, basket, age, weight)

    def dense(values: NDArray[np.float32]) -> Float32:
        filled = np.bincount(cell, weights=values, minlength=cells)
        return filled.astype(np.float32).reshape(shape)

    first = np.ones(len(cell), dtype=bool)
    first[1:] = cell[1:] != cell[:-1]
    last = np.ones(len(cell), dtype=bool)
    last[:-1] = first[1:]
    since = np.full(cells, NEVER, dtype=np.float32)
    since[cell[last]] = age[last]
    span = np.zeros(cells, dtype=np.float32)
    span[cell[last]] = age[first] - age[last]
    last_basket = _last_basket(h)
    in_recent = basket > (last_basket - RECENT_BASKETS)[cell // labels]
    level = np.bincount(cell[in_recent], minlength=cells).clip(0, LEVELS - 1)
    decayed = np.stack([dense(weight * np.exp2(-age / np.float32(hl))) for hl in HALF_LIVES])
    tenure = _edge_age(h, at, last=False)
    gap, hazard = _rhythm(cell, age, tenure, labels, window_us / MICROSECONDS_PER_DAY)
    return Habits(
        decayed=decayed,
        count=dense(weight),
        since=since.reshape(shape),
        span=span.reshape(shape),
        gap=gap.reshape(shape),
        hazard=hazard.reshape(shape),
        level=level.astype(np.int8).reshape(shape),
        baskets=_counted_baskets(h),
        idle=_edge_age(h, at, last=True),
        tenure=tenure,
    )


def _occasions(
    cell: Int64, basket: NDArray[np.int32], age: Float32, weight: Float32
) -> tuple[Int64, NDArray[np.int32], Float32, Float32]:
    """One entry per (cell, basket), sorted so; its weight is the strongest action's."""
    if not len(cell):
        return cell, basket, age, weight
    start = np.ones(len(cell), dtype=bool)
    start[1:] = (cell[1:] != cell[:-1]) | (basket[1:] != basket[:-1])
    at = np.flatnonzero(start)
    return cell[at], basket[at], age[at], np.maximum.reduceat(weight, at)


def _rhythm(
    cell: Int64, age: Float32, tenure: Float32, labels: int, window: float
) -> tuple[Float32, Float32]:
    """``gap`` and ``hazard`` of :class:`Habits`, float32 ``[B L]`` each.

    The hazard is the empirical one of the user's own gaps (Kaplan and Meier 1958), with
    ``HAZARD_PRIOR`` gaps more that end at the rate of a memoryless user with as many days.

    Args:
        cell, age: of the occasions, oldest first within a cell; age in days.
        window: days.
    """
    cells = len(tenure) * labels
    day = np.floor(age).astype(np.int64)
    new = np.ones(len(cell), dtype=bool)
    new[1:] = (cell[1:] != cell[:-1]) | (day[1:] != day[:-1])
    cell, day = cell[new], day[new]
    days = np.bincount(cell, minlength=cells)
    # The next occasion is a day ahead at least, so the gap that is open now is one longer.
    so_far = np.zeros(cells, dtype=np.int64)
    so_far[cell] = day + 1
    next_one = cell[1:] == cell[:-1]
    owner, gap = cell[1:][next_one], (day[:-1] - day[1:])[next_one]
    lasted = gap >= so_far[owner]
    ended = lasted & (gap < so_far[owner] + window)
    at_risk = np.bincount(owner[lasted], minlength=cells)
    hits = np.bincount(owner[ended], minlength=cells)
    known = np.repeat(np.maximum(tenure, 2 * window) + window, labels)
    rate = -np.expm1(-window * days / known)
    hazard = (hits + HAZARD_PRIOR * rate) / (at_risk + HAZARD_PRIOR)
    total = np.bincount(owner, weights=gap, minlength=cells)
    mean = total / np.maximum(days - 1, 1)
    return mean.astype(np.float32), hazard.astype(np.float32)


def _last_basket(h: Histories) -> NDArray[np.int64]:
    last = np.full(len(h), -1, dtype=np.int64)
    filled = h.offsets[1:] > h.offsets[:-1]
    last[filled] = h.basket[h.offsets[1:][filled] - 1]
    return last


def _counted_baskets(h: Histories) -> Float32:
    """float32 ``[B]``: baskets of each row that hold an event with a label and a weight."""
    row = h.row()
    counted = (h.label >= 0) & (h.weight > 0)
    row, basket = row[counted], h.basket[counted]
    new = np.ones(len(row), dtype=bool)
    new[1:] = (row[1:] != row[:-1]) | (basket[1:] != basket[:-1])
    return np.bincount(row[new], minlength=len(h)).astype(np.float32)


def _edge_age(h: Histories, at: Int64, *, last: bool) -> Float32:
    """float32 ``[B]``: age in days of each row's first or last event, 0 for an empty row."""
    age = np.zeros(len(h), dtype=np.float32)
    filled = h.offsets[1:] > h.offsets[:-1]
    position = h.offsets[1:][filled] - 1 if last else h.offsets[:-1][filled]
    age[filled] = (at[filled] - h.time[position]) / MICROSECONDS_PER_DAY
    return age
