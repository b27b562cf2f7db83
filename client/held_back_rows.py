"""Whether anything could be measured in the windows held back, told without keeping all events."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from groundswell.shared.task import MICROSECOND, EvaluationTimes, Task

_DAY = timedelta(days=1) // MICROSECOND


class HeldBackRows:
    """Users with an event before a window and one within it, of events that are seen in parts.

    The windows follow from the last event of anyone, which is known at the end alone. They lie in
    the last stretch of the data, so of each part only that stretch is kept, counted from the last
    event so far; and of each user the first event.

    Args:
        windows: number of windows held back.
    """

    def __init__(self, task: Task, windows: int) -> None:
        self._task = task
        self._stretch = windows * task.step_us + task.window_us + task.step_us + 2 * _DAY
        self._weighted = [action for action, weight in task.actions.items() if weight > 0]
        self._last: int | None = None
        self._kept: list[pl.DataFrame] = []

    def add(self, part: pl.DataFrame, by: tuple[str, ...] = ("user",)) -> None:
        """Look at canonical events of whole users.

        Args:
            part: with ``label_index`` where there is a catalogue; else every label is known.
            by: the columns that tell users apart.
        """
        if "label_index" in part.columns:
            known = pl.col("label_index").is_not_null()
        else:
            known = pl.any_horizontal(pl.col("label", "item").is_not_null())
        times = part.select(*by, time=pl.col("time").dt.epoch("us"), known=known, action="action")
        last = times["time"].max()
        if not isinstance(last, int):
            return
        self._last = last if self._last is None else max(self._last, last)
        counted = times.filter("known", pl.col("action").is_in(self._weighted))
        first = pl.col("time").min().over(*by).alias("first")
        late = counted.select("time", first).filter(
            (pl.col("time") > self._last - self._stretch) & (pl.col("first") < pl.col("time"))
        )
        self._kept.append(late.unique())

    def any_in(self, times: EvaluationTimes) -> bool:
        """Whether a simulation would find a row in the windows that it measures on."""
        if not self._kept:
            return False
        kept, window = pl.concat(self._kept), self._task.window_us
        return any(
            not kept.filter(
                pl.col("first") < at, pl.col("time") >= at, pl.col("time") < at + window
            ).is_empty()
            for at in times.measured.tolist()
        )
