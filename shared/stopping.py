"""When a noised look at a model may stop a run: only on a fall that noise does not explain.

A private evaluation costs budget and carries noise larger than most gains, so its ups and downs say
nothing; a rule that follows them would choose by chance (docs/privacy.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CLEAR_FALL = 3.0  # standard errors


@dataclass(frozen=True)
class Look:
    """One paid evaluation.

    Attributes:
        round: after which round.
        value: the metric, larger is better.
        se: its standard error, noise included.
    """

    round: int
    value: float
    se: float


def fell(before: Look, after: Look) -> bool:
    """Whether ``after`` lies more than 3 standard errors of the difference below ``before``.

    Both looks are noised independently, so their variances add. A look that is not finite, or whose
    error is not, never counts as a fall.
    """
    error = math.hypot(before.se, after.se)
    if not all(math.isfinite(value) for value in (before.value, after.value, error)):
        return False
    return before.value - after.value > CLEAR_FALL * error


def should_stop(looks: Sequence[Look]) -> bool:
    """Whether the last look fell from any look before it: then training does harm."""
    return bool(looks) and any(fell(before, looks[-1]) for before in looks[:-1])


def round_to_keep(looks: Sequence[Look]) -> int | None:
    """The round whose model to keep: the last one that did not fall; None without a look.

    A later model that is level within the noise is preferred, since it has learned longer.
    """
    for number in range(len(looks), 0, -1):
        if not should_stop(looks[:number]):
            return looks[number - 1].round
    return None
