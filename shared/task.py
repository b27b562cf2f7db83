"""What is forecast: the window, the weights of the actions, and the times at which one may ask.

Every value is a constant of the plan, so nothing here depends on any user's data.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from groundswell.shared.errors import InputError

MICROSECOND = timedelta(microseconds=1)
_FIRST_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Occasion(BaseModel):
    """One day of the public calendar, known in advance: a holiday, a promotion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: date
    name: str
    category: str


class Task(BaseModel):
    """What a federation forecasts.

    Attributes:
        window: length of the window that is forecast.
        history: how far back from a prediction time a user's events are looked at.
        actions: weight of each action in the target; an unknown action weighs 0.
        horizons: number of consecutive windows that are forecast.
        step: distance between prediction times.
        session_gap: events of one user closer than this form one basket; 0: equal timestamps.
        day_offset: how long after midnight UTC a day begins.
        calendar: the public calendar.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: timedelta = timedelta(days=7)
    history: timedelta = timedelta(days=730)
    actions: dict[str, float] = Field(default_factory=lambda: {"purchase": 1.0}, min_length=1)
    horizons: int = Field(default=1, ge=1, le=52)
    step: timedelta = timedelta(days=7)
    session_gap: timedelta = timedelta(0)
    day_offset: timedelta = timedelta(0)
    calendar: tuple[Occasion, ...] = ()

    @field_validator("window", "history", "step")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("a length of time must be positive")
        return value

    @field_validator("actions")
    @classmethod
    def _weights(cls, value: dict[str, float]) -> dict[str, float]:
        if not all(0 <= weight < float("inf") for weight in value.values()):
            raise ValueError("the weight of an action is a finite number, at least 0")
        if not any(value.values()):
            raise ValueError("one action at least needs a weight above 0")
        return value

    @property
    def action_names(self) -> tuple[str, ...]:
        """Known actions in alphabetical order; ``Histories.action`` indexes this."""
        return tuple(sorted(self.actions))

    @property
    def window_us(self) -> int:
        """Length of the window in microseconds."""
        return self.window // MICROSECOND

    @property
    def history_us(self) -> int:
        """Length of the history in microseconds."""
        return self.history // MICROSECOND

    @property
    def step_us(self) -> int:
        """Distance between prediction times in microseconds."""
        return self.step // MICROSECOND

    @property
    def session_gap_us(self) -> int:
        """Largest distance within a basket in microseconds."""
        return self.session_gap // MICROSECOND

    @property
    def day_offset_us(self) -> int:
        """Beginning of a day after midnight UTC in microseconds."""
        return self.day_offset // MICROSECOND

    def prediction_times(self, first: int, last: int) -> NDArray[np.int64]:
        """int64 ``[T]``: every prediction time t with ``first <= t <= last`` (UTC microseconds).

        The times lie ``step`` apart on a grid through Monday 5 January 1970, ``day_offset`` after
        midnight UTC: a step of 7 days gives Mondays. The grid depends on no data.
        """
        anchor = (_FIRST_MONDAY - _EPOCH) // MICROSECOND + self.day_offset_us
        start = -((anchor - first) // self.step_us)
        stop = (last - anchor) // self.step_us
        steps = np.arange(start, stop + 1, dtype=np.int64)
        return anchor + steps * self.step_us


@dataclass(frozen=True)
class EvaluationTimes:
    """Prediction times by use, each int64 ``[T]`` UTC microseconds, ascending.

    ``train`` feeds statistics and examples; ``validation`` chooses; ``test`` is looked at once.

    Attributes:
        examples: how many of the train times, the last ones, are for examples; None: half of them.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    examples: int | None = None

    @property
    def measured(self) -> NDArray[np.int64]:
        """The times that models are measured on: for testing, or for choosing without any."""
        return self.test if len(self.test) else self.validation

    def empty(self) -> InputError:
        """What to say where no user can be measured at ``measured``."""
        days = [(_EPOCH + timedelta(microseconds=at)).date() for at in self.measured.tolist()]
        return InputError(
            "[evaluation]",
            ", ".join(day.isoformat() for day in days) or "no window",
            "no user has an event before and one within these windows, the last ones of the data",
            "hold back a window; or, if a stray event lies far behind the others, set "
            "[data].latest",
        )

    @property
    def stats_until(self) -> int:
        """The first time of examples: statistics see what lies before it, and only that."""
        if not len(self.train):
            raise InputError(
                "[evaluation]",
                0,
                "no prediction time is left for training",
                "hold back fewer windows, or give a longer stretch of data",
            )
        return int(self.train[-(self.examples or len(self.train) - len(self.train) // 2)])


def held_back(task: Task, first: int, last: int, *, validation: int, test: int) -> EvaluationTimes:
    """Split the prediction times of data between ``first`` and ``last`` (UTC microseconds).

    The last ``test`` windows that are complete by the end of the day of ``last`` are for testing,
    the ``validation`` windows before them for choosing. A train window ends before the first of
    them begins.

    Raises:
        InputError: the data is too short for one train window.
    """
    day = timedelta(days=1) // MICROSECOND
    end = last + day - (last - task.day_offset_us) % day
    times = task.prediction_times(first + 1, end - task.window_us)
    kept = len(times) - validation - test
    if kept < 1:
        raise InputError(
            "[evaluation]",
            f"validation = {validation}, test = {test}",
            f"the data holds {max(len(times), 0)} complete windows, and one is needed for training",
            "hold back fewer windows, shorten [task].window, or give a longer stretch of data",
        )
    first_held = times[kept] if kept < len(times) else end
    train = times[:kept]
    return EvaluationTimes(
        train[train + task.window_us <= first_held],
        times[kept : kept + validation],
        times[kept + validation :],
    )
