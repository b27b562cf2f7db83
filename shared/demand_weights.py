"""How the demand release weighs a user's windows before the clip, and how that is undone after.

Every coordinate of a release gets the same noise, so it pays to sum what will be read rather than
single windows (the matrix mechanism: Li, Hay, Rastogi, Miklau and McGregor 2010). What is read are
forecasts of the next windows, above all. So a user's windows are turned, label by label, by one
matrix: it keeps a part of every window, and stretches the directions along which a forecast looks,
that of a label with a yearly wave and slow drift, and that of one that moves fast. Undone after the
sum, the newest window and the forecasts have less noise than plain sums would have, and older
windows have more.

A weighed vector is longer for what happened lately. A clip of it alone would count users less who
were active lately, and the newest window with them, wherever many users are above the clip. So a
user's plain cells are cut first, by their length, which all windows have the same part in.

The matrix is a constant of the code, computed from nothing but the numbers here, and it is
invertible: without noise the release is the clipped counts. Privacy does not rest on it, because
the clip comes after all of this and holds for any vector.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

WINDOWS = 26
WEEKS_A_YEAR = 365.2425 / 7

_FORECASTS = 4  # windows ahead
_LEVEL, _WAVE = 0.2, 0.03  # variances of a label's relative level and of its yearly wave
# Weekly variance of the drift, and variance of all else in a window: of most labels, of fast ones.
_COURSES = ((1e-4, 0.005), (1e-2, 0.01))
_SINGLE = 0.08  # what a window keeps for itself, beside directions of length 1
LONGEST = 6.0  # length that a user's plain cells are cut to, before they are weighed
# Mean squared length of a user's single cell. With it a clip at 6 would take a hundredth of the
# demand of a generated market by itself, a little less than the cut of plain cells takes.
_MEAN_SQUARE = (6 / 7) ** 2
# Entries are whole multiples of this, so that sums of them are exact, in whatever order they are
# added: nobody's vector depends in its last bits on how many others are computed with it.
_GRAIN = 2.0**-20


def course(weeks: int, level: float, drift: float, wave: float) -> Float64:
    """float64 ``[weeks, weeks]``: covariance of a relative count that drifts and has one wave."""
    week = np.arange(weeks)
    turn = 2 * np.pi * (week[:, None] - week[None]) / WEEKS_A_YEAR
    found: Float64 = level + drift * np.minimum.outer(week, week) + wave * np.cos(turn)
    return found


@cache
def matrix() -> Float64:
    """float64 ``[WINDOWS, WINDOWS]``, upper triangular, read-only: what windows are turned by."""
    gram = _SINGLE * np.eye(WINDOWS)
    for drift, rest in _COURSES:
        shared = course(WINDOWS + _FORECASTS, _LEVEL, drift, _WAVE)
        known = shared[:WINDOWS, :WINDOWS] + rest * np.eye(WINDOWS)
        looks = np.linalg.solve(known, shared[:WINDOWS, WINDOWS:])
        looks /= np.linalg.norm(looks, axis=0)
        gram += looks @ looks.T / (_FORECASTS * len(_COURSES))
    gram *= WINDOWS * _MEAN_SQUARE / np.trace(gram)
    root: Float64 = np.linalg.cholesky(gram).T.astype(np.float64)
    found = np.rint(root / _GRAIN) * _GRAIN
    found.setflags(write=False)
    return found


def weighed(windows: Float64) -> Float64:
    """float64 ``[..., WINDOWS, L]``: whole counts of windows, turned for the release."""
    result: Float64 = matrix() @ windows
    return result


def shares(cells: Float64) -> Float64:
    """float64 ``[U]``: part that a user's cells count with.

    Args:
        cells: how many a user has, all windows, labels and blocks together.
    """
    result: Float64 = LONGEST / np.sqrt(np.maximum(cells, LONGEST**2))
    return result


def unweighed(sums: Float64) -> Float64:
    """float64 ``[..., WINDOWS, L]``: counts of windows again, the inverse of :func:`weighed`."""
    result: Float64 = np.linalg.solve(matrix(), sums).astype(np.float64, copy=False)
    return result


def covariance(noise_std: float) -> Float64:
    """float64 ``[WINDOWS, WINDOWS]``: of a label's noise in ``unweighed`` sums.

    Args:
        noise_std: standard deviation of the noise on each value of the ``weighed`` sums.
    """
    inverse = np.linalg.inv(matrix())
    result: Float64 = noise_std**2 * inverse @ inverse.T
    return result
