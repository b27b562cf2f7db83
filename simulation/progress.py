"""What a simulation tells while it runs; the command line prints it, tests collect it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from groundswell.server.checkpointing import RoundRecord
from groundswell.server.schedule import Step
from groundswell.shared.errors import AttemptVoid
from groundswell.shared.plan import Plan
from groundswell.shared.sizing import SizedPlan


def _nothing(*_: object) -> None:
    return


@dataclass(frozen=True)
class Progress:
    """Callbacks; each may be replaced by whoever listens.

    Attributes:
        phase: a phase begins; text, and its number of steps (0: unknown).
        advanced: one step of the phase is done.
        prepared: the data are read and sound; what they are, and what to know of them.
        planned: the plan of the saved model is made.
        started, closed, void: the saved model's own attempts.
        stop: whether to finish the attempt in hand and save.
    """

    phase: Callable[[str, int], None] = _nothing
    advanced: Callable[[], None] = _nothing
    prepared: Callable[[Sequence[str]], None] = _nothing
    planned: Callable[[Plan, SizedPlan], None] = _nothing
    started: Callable[[Step], None] = _nothing
    closed: Callable[[RoundRecord], None] = _nothing
    void: Callable[[Step, AttemptVoid], None] = _nothing
    stop: Callable[[], bool] = lambda: False
