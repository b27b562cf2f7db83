"""A public promotion plan: which labels are promoted when, and how strongly.

The shop's caller gives it with a question about demand; it is public, like a mailer, and holds
nothing of any user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.demand_windows import Windows
from groundswell.shared.errors import InputError

Float64 = NDArray[np.float64]

MAX_PROMOTIONS = 50_000
MAX_KINDS = 4
DEFAULT_KIND = "promotion"
FIRST_YEAR, LAST_YEAR = 1970, 2200


@dataclass(frozen=True)
class Promotion:
    """One line of a plan.

    Attributes:
        label: as in the catalogue.
        first, last: the days on which it begins and ends; both belong to it.
        share: 0..1, how much of the label's usual sales is promoted.
        kind: kinds are learned from apart: a mailer's inner pages, say, and its front.
    """

    label: str
    first: date
    last: date
    share: float
    kind: str = DEFAULT_KIND

    def check(self, key: str) -> None:
        """Raises InputError under ``key`` where the dates or the share make no sense."""
        if self.last < self.first:
            raise InputError(
                f"{key}: to",
                self.last.isoformat(),
                f"lies before its beginning, {self.first.isoformat()}",
                "name the last day of the promotion",
            )
        if not 0 <= self.share <= 1:
            raise InputError(
                f"{key}: share",
                self.share,
                "must lie in 0..1",
                "give the share of the label's usual sales that is promoted",
            )


def parse_day(text: str, key: str) -> date:
    """A day of a plan, ``YYYY-MM-DD``; raises InputError under ``key``."""
    try:
        found = date.fromisoformat(text)
    except ValueError as error:
        raise InputError(key, text, "is no day", "write it like 2026-01-31") from error
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        rule = f"must lie in the years {FIRST_YEAR}..{LAST_YEAR}"
        raise InputError(key, text, rule, "name a day that a promotion can have")
    return found


def planned(
    plan: Sequence[Promotion], places: Mapping[str, int], windows: Windows
) -> Float64 | None:
    """float64 ``[K, L, W]`` by kind in alphabetical order; None for an empty plan.

    A window has the mean of its days' shares. Promotions of one label and kind that overlap
    add up to at most 1.

    Args:
        places: position of each of ``L`` labels.

    Raises:
        InputError: an unknown label, a wrong date or share, or too many lines or kinds.
    """
    kinds = sorted({each.kind for each in plan})
    for what, found, most in (
        ("lines", len(plan), MAX_PROMOTIONS),
        ("kinds", len(kinds), MAX_KINDS),
    ):
        if found > most:
            rule = f"at most {most} are read"
            raise InputError(f"plan: {what}", found, rule, "give a shorter plan")
    days: dict[tuple[int, int], Float64] = {}
    for number, each in enumerate(plan, start=1):
        key = f"plan, line {number}"
        each.check(key)
        if each.label not in places:
            raise InputError(
                f"{key}: label", each.label, "the catalogue holds no such label", "see its labels"
            )
        place = (kinds.index(each.kind), places[each.label])
        own = days.setdefault(place, np.zeros(windows.days))
        own[windows.between(each.first, each.last)] += each.share
    if not plan:
        return None
    shares = np.zeros((len(kinds), len(places), windows.number))
    for place, own in days.items():
        shares[place] = windows.means(np.minimum(own, 1))
    return shares
