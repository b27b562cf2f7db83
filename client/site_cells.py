"""Who acted on what in which window: the cells that a site's own demand is counted from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.demand_due import due
from groundswell.shared.histories import Histories, Int64
from groundswell.shared.task import Task

Float64 = NDArray[np.float64]

MAX_WINDOWS = 520


@dataclass(frozen=True)
class Cells:
    """Distinct (user, label, window) of a site.

    Attributes:
        user, label, window: int64 ``[C]`` each, from 0; the oldest window is 0.
        labels, windows: numbers of labels and of windows.
    """

    user: Int64
    label: Int64
    window: Int64
    labels: int
    windows: int

    def counts(self) -> Int64:
        """int64 ``[L, W]``: distinct users by label and window."""
        place = self.label * self.windows + self.window
        found = np.bincount(place, minlength=self.labels * self.windows)
        return found.astype(np.int64).reshape(self.labels, self.windows)

    def due(self) -> Float64:
        """float64 ``[L, W + 1]``, see ``demand_due``."""
        return due(self.user, self.label, self.window, self.labels, self.windows)


def cells(
    h: Histories, end: int, windows: int | None, task: Task, labels: int, action: str | None = None
) -> Cells:
    """The cells of the last windows.

    Args:
        end: where the last window ends (microseconds).
        windows: how many; None: all whole ones since the first event that counts, at least
            one, and no more than the newest ``MAX_WINDOWS``.
        action: of the task's, whatever it weighs in the target; None: all that weigh something.
    """
    counted = (h.label >= 0) & (h.time < end)
    if action is None:
        counted &= h.weight > 0
    else:
        counted &= (h.weight >= 0) & (h.action == task.action_names.index(action))
    time = h.time[counted]
    if windows is None:
        oldest = int(time.min()) if len(time) else end
        windows = min(max((end - oldest) // task.window_us, 1), MAX_WINDOWS)
    window = (time - (end - windows * task.window_us)) // task.window_us
    inside = window >= 0
    cell = h.row()[counted][inside] * labels + h.label[counted][inside]
    cell = np.unique(cell * windows + window[inside])
    pair = cell // windows
    return Cells(pair // labels, pair % labels, cell % windows, labels, int(windows))
