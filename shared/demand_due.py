"""Who is due to buy again: the demand that the users' own rhythms let expect.

A count by label tells how many bought; it does not tell whether they were those who buy every week
or those whose last time is long ago. Here every user and label that met before gets the share that
came back in the window after, among the pairs of the same standing so far: how often they met, how
long ago, and how that compares with the gap between them until now. The sum over users is what is
due. It reads the site's own events alone, and never one of the window that it is for or later.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

_TIMES = np.array([2, 3, 5, 9])  # where a next class of windows with a meeting so far begins
_AGES = np.array([2, 3, 4, 5, 7, 9, 13, 21])  # ... of windows since the last one
_OVERDUE = np.array([0.5, 0.9, 1.5])  # ... of that age over the mean gap
_CLASSES = (len(_TIMES) + 1, len(_AGES) + 1, len(_OVERDUE) + 1)
_PRIOR = 20.0  # pairs that the share of a coarser class is worth
_FEW = 0.5  # returns that are taken to have come where none was seen
_FIRST_TIMES = 8  # windows over which users new to a label are averaged


def due(user: Int64, label: Int64, window: Int64, labels: int, windows: int) -> Float64:
    """Users expected to act on each label in each window, from the windows before it.

    Args:
        user, label, window: int64 ``[E]`` each, from 0: the distinct cells that were seen.
        labels: number ``L``.
        windows: number ``T`` of windows that are over.

    Returns:
        float64 ``[L, T + 1]``, the last column for the window to come; the first is 0.
    """
    pairs, place = np.unique(user * labels + label, return_inverse=True)
    of_label = pairs % labels
    order = np.argsort(window, kind="stable")
    bounds = np.searchsorted(window[order], np.arange(windows + 1))
    times = np.zeros(len(pairs), dtype=np.int64)
    first, last = np.zeros_like(times), np.zeros_like(times)
    came, could = np.zeros(_CLASSES), np.zeros(_CLASSES)
    new = np.zeros((labels, windows))
    found = np.zeros((labels, windows + 1))
    for now in range(windows + 1):
        known = np.flatnonzero(times)
        standing = _standing(now, times[known], first[known], last[known])
        if now:
            back = _shares(came, could)[standing]
            found[:, now] = np.bincount(of_label[known], weights=back, minlength=labels)
            found[:, now] += new[:, max(0, now - _FIRST_TIMES) : now].mean(axis=1)
        if now == windows:
            break
        met = place[order[bounds[now] : bounds[now + 1]]]
        here = np.zeros(len(pairs), dtype=np.bool_)
        here[met] = True
        could += _sums(standing, np.ones(len(known)))
        came += _sums(standing, here[known].astype(np.float64))
        fresh = met[times[met] == 0]
        new[:, now] = np.bincount(of_label[fresh], minlength=labels)
        first[fresh] = now
        last[met] = now
        times[met] += 1
    return found


def _standing(now: int, times: Int64, first: Int64, last: Int64) -> tuple[Int64, Int64, Int64]:
    """The class of each pair by how often, how long ago, and how long for its rhythm."""
    age = now - last
    gap = (last - first) / np.maximum(times - 1, 1)
    overdue = np.where(times > 1, age / np.maximum(gap, 1.0), 0.0)
    return (
        np.searchsorted(_TIMES, times, side="right"),
        np.searchsorted(_AGES, age, side="right"),
        np.searchsorted(_OVERDUE, overdue, side="right"),
    )


def _sums(standing: tuple[Int64, Int64, Int64], values: Float64) -> Float64:
    cell = np.ravel_multi_index(standing, _CLASSES)
    sums = np.bincount(cell, weights=values, minlength=math.prod(_CLASSES))
    return sums.astype(np.float64).reshape(_CLASSES)


def _shares(came: Float64, could: Float64) -> Float64:
    """Share that came back, by class; where few pairs were seen, nearly what coarser ones did."""
    overall = (came.sum() + _FEW) / (could.sum() + _PRIOR)
    of_age = (came.sum(axis=(0, 2)) + _PRIOR * overall) / (could.sum(axis=(0, 2)) + _PRIOR)
    without_gap = (came.sum(axis=2) + _PRIOR * of_age) / (could.sum(axis=2) + _PRIOR)
    result: Float64 = (came + _PRIOR * without_gap[:, :, None]) / (could + _PRIOR)
    return result
