"""How one stream of events becomes the events of several sites."""

from __future__ import annotations

from collections.abc import Sequence


def lightest_groups(weights: Sequence[int], groups: int) -> list[int]:
    """Group of each weight: taken in the given order, each goes to the lightest group so far.

    Of groups equally light the first is taken. Heaviest first gives the evenest groups.
    """
    totals = [0] * groups
    chosen = []
    for weight in weights:
        lightest = totals.index(min(totals))
        totals[lightest] += weight
        chosen.append(lightest)
    return chosen
