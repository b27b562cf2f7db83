"""What a ledger has spent: computed from its rows whenever it is asked for, never stored.

Two readings of the central tier: *reserved*, every event at the n_min - c noises it was reserved
with, and *closed*, where an event whose survivors are confirmed rests on their noise instead. The
local tier is the same in both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from groundswell.client.ledger_rows import Closed, Reserved, Restored, Row, Window
from groundswell.shared.accounting import (
    central_multiplier,
    overflow_delta,
    reported_epsilon,
    tpr_bound,
)

Event = tuple[float, float, int]


@dataclass(frozen=True)
class Charge:
    """Events of one menu entry and kind that cost the same.

    Attributes:
        kind: of the release; a charge for lost rows has the kind of its menu entry.
        sigma_l, sigma_c, reserved_sigma_c: noise multipliers of the local tier, and of the central
            one by the closed and by the reserved reading.
        q: sampling rate.
        count: events.
        lost: charged for rows that may be lost, not for events that are known.
    """

    kind: str
    sigma_l: float
    sigma_c: float
    reserved_sigma_c: float
    q: float
    count: int
    lost: bool = False


@dataclass(frozen=True)
class Tier:
    """One tier's epsilon at ``delta`` and what it means for a membership test.

    ``delta`` is the window's and, for a site that computes in slots, what their overflow adds.
    """

    epsilon: float
    delta: float
    tpr_at_1pct_fpr: float


@dataclass(frozen=True)
class Spend:
    """The events of a window, or of all windows, and their price."""

    charges: tuple[Charge, ...]
    delta: float

    @property
    def local(self) -> Tier:
        """Against the coordinator and all other sites together."""
        return self._tier([(each.sigma_l, each.q, each.count) for each in self.charges])

    @property
    def central(self) -> Tier:
        """Against whoever sees sums and model, by confirmed survivors."""
        return self._tier([(each.sigma_c, each.q, each.count) for each in self.charges])

    @property
    def reserved(self) -> Tier:
        """The central tier as it was charged before the survivors were known."""
        return self._tier([(each.reserved_sigma_c, each.q, each.count) for each in self.charges])

    @property
    def events(self) -> int:
        """Events that are charged."""
        return sum(each.count for each in self.charges)

    def of_kind(self, kind: str) -> Spend:
        """The same, for one kind alone."""
        return Spend(tuple(each for each in self.charges if each.kind == kind), self.delta)

    def _tier(self, events: list[Event]) -> Tier:
        epsilon = reported_epsilon(events, self.delta)
        slotted = sum(count for _, q, count in events if q < 1)
        delta = min(1.0, self.delta + overflow_delta(epsilon, slotted))
        return Tier(epsilon, delta, tpr_bound(epsilon, delta))


def spend(rows: Iterable[tuple[int, Row]], window: int | None = None) -> Spend:
    """Everything charged in a window, or in all of them (``window`` None).

    The delta of all windows together is the largest of theirs.
    """
    windows: dict[int, Window] = {}
    reserved: dict[int, Reserved] = {}
    honest: dict[int, int] = {}
    lost: Counter[tuple[int, int]] = Counter()
    used: Counter[tuple[int, int]] = Counter()
    current: Window | None = None
    for _, row in rows:
        if isinstance(row, Window):
            current = windows[row.number] = row
        elif isinstance(row, Reserved):
            reserved[row.seq] = row
            used[row.window, row.entry] += 1
        elif isinstance(row, Closed):
            honest[row.seq] = row.honest
        elif isinstance(row, Restored) and current is not None:
            for position, entry in enumerate(current.menu):
                key = (current.number, position)
                lost[key] = entry.count - used[key] + row.windows * entry.count
    charges: Counter[Charge] = Counter()
    for seq, row in reserved.items():
        if window in (None, row.window):
            charges[_charge(row, honest.get(seq, row.honest))] += 1
    for (number, position), count in lost.items():
        if window in (None, number) and count:
            charges[_lost(windows[number], position)] += count
    found = tuple(
        Charge(one.kind, one.sigma_l, one.sigma_c, one.reserved_sigma_c, one.q, count, one.lost)
        for one, count in charges.items()
    )
    deltas = [each.delta for each in windows.values() if window in (None, each.number)]
    return Spend(found, max(deltas, default=1e-6))


def _charge(row: Reserved, honest: int) -> Charge:
    sigma = row.noise_multiplier
    return Charge(
        row.kind,
        sigma,
        central_multiplier(sigma, honest, row.scale),
        central_multiplier(sigma, row.honest, row.scale),
        row.sampling_rate,
        1,
    )


def _lost(window: Window, position: int) -> Charge:
    entry = window.menu[position]
    sigma_c = central_multiplier(entry.sigma_min, window.honest_of(entry))
    return Charge(entry.kind, entry.sigma_min, sigma_c, sigma_c, entry.q_max, 1, lost=True)
