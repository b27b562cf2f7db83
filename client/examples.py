"""Which of a user's prediction times become training examples in one attempt.

Every choice depends on the user's own events, on constants of the plan and on the user's own key
for the attempt, so that no user moves another one's examples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from groundswell.client.mechanism import keystream
from groundswell.shared.histories import Histories, Int64


def eligible_times(h: Histories, times: Int64, window_us: int) -> NDArray[np.bool_]:
    """bool ``[U, T]``: a weighted, labelled event lies before the time and one in its window."""
    counted = (h.label >= 0) & (h.weight > 0)
    row, time = h.row()[counted], h.time[counted]
    eligible = np.zeros((len(h), len(times)), dtype=np.bool_)
    for column, at in enumerate(times):
        before = np.bincount(row[time < at], minlength=len(h)) > 0
        inside = np.bincount(row[(time >= at) & (time < at + window_us)], minlength=len(h)) > 0
        eligible[:, column] = before & inside
    return eligible


def choose(eligible: NDArray[np.bool_], count: int, keys: Sequence[bytes]) -> tuple[Int64, Int64]:
    """Up to ``count`` different times for each row, uniformly, by the row's own key.

    Args:
        eligible: bool ``[U, T]``.
        keys: ``U`` keys of 32 bytes, one per (attempt, user).

    Returns:
        Row and column of each example, int64 ``[examples]`` each, rows ascending.
    """
    rows: list[int] = []
    columns: list[int] = []
    for row, key in enumerate(keys):
        open_columns = np.flatnonzero(eligible[row])
        order = np.argsort(keystream(key, len(open_columns)), kind="stable")
        chosen = np.sort(open_columns[order[:count]])
        rows += [row] * len(chosen)
        columns += chosen.tolist()
    return np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64)
