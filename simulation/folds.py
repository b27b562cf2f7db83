"""Rolling-origin cross-validation: train on all before a block of windows, measure on the block.

Folds cost no privacy where the data is generated or set apart; on data that a model is released
from, every fold is a look that the epsilon excludes, and the report says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groundswell.shared.errors import InputError
from groundswell.shared.histories import Int64
from groundswell.shared.task import EvaluationTimes, Task

MIN_TRAIN = 2  # statistics see the first of them, examples come from the others


@dataclass(frozen=True)
class Fold:
    """One origin.

    Attributes:
        number: from 1, the earliest origin first.
        times: train and validation windows end before the first test window begins.
    """

    number: int
    times: EvaluationTimes


def rolling_origin(
    times: Int64, task: Task, folds: int, *, windows: int = 1, validation: int = 0
) -> list[Fold]:
    """Folds whose test blocks follow each other to the end of ``times``.

    Args:
        times: int64 ``[T]``, ascending prediction times that may be looked at; leave those out that
            are kept for a last test.
        folds: number K of origins.
        windows: prediction times in each test block.
        validation: prediction times before each block that choose instead of train.

    Raises:
        InputError: a number is below 1, or the earliest fold has too little to train on.
    """
    _at_least("--folds", folds, 1)
    _at_least("windows", windows, 1)
    _at_least("[evaluation].validation", validation, 0)
    found = []
    for number in range(1, folds + 1):
        start = len(times) - (folds - number + 1) * windows
        held = start - validation
        train = times[: max(held, 0)]
        if start >= 0 and held >= 0:
            # A window that reaches into what comes next would train on what it is judged by.
            train = train[train + task.window_us <= times[held]]
        if held < 0 or len(train) < MIN_TRAIN:
            raise InputError(
                "--folds",
                folds,
                f"{len(times)} prediction times leave {len(train)} to train on in fold {number}, "
                f"and {MIN_TRAIN} are needed",
                "ask for fewer folds, or give a longer stretch of data",
            )
        chosen = times[held:start]
        chosen = chosen[chosen + task.window_us <= times[start]]
        block = times[start : start + windows]
        found.append(Fold(number, EvaluationTimes(train, chosen, block)))
    return found


def average(values: Sequence[float]) -> tuple[float, float]:
    """Mean over folds and its standard error (NaN for one fold); folds are not independent."""
    each = np.asarray(values, dtype=np.float64)
    spread = float(each.std(ddof=1)) / len(each) ** 0.5 if len(each) > 1 else float("nan")
    return float(each.mean()), spread


def _at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(key, value, f"must be at least {least}", f"give {least} or more")
