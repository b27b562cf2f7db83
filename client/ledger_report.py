"""A ledger as a person reads it: its releases, what each cost alone, and what all cost together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from groundswell.client.ledger_rows import Checked, Closed, Opened, Reserved, Restored, Sent, Window
from groundswell.client.spending import Spend, Tier, spend
from groundswell.shared.accounting import central_multiplier, reported_epsilon, warnings_for


@dataclass(frozen=True)
class Alone:
    """Epsilon of one event by itself; such figures do not add up, their composition is less."""

    central: float
    local: float


@dataclass(frozen=True)
class Event:
    """One release. ``survivors`` is 0 until it is closed."""

    row: int
    time: int
    kind: str
    round: int
    seq: int
    run: str
    q: float
    clip_norm: float
    scale: int
    sigma_l: float
    sigma_c: float
    state: str
    survivors: int
    alone: Alone


@dataclass(frozen=True)
class Report:
    """A whole ledger.

    Attributes:
        window: what the window of the last row has spent; ``lifetime`` all windows together.
        last: the last window, None where there is none.
        restored: whether rows may have been lost.
    """

    site: str
    events: tuple[Event, ...]
    window: Spend
    lifetime: Spend
    last: Window | None
    restored: bool

    def lines(self) -> Iterator[str]:
        """What the releases cost, as sentences."""
        if self.last is not None:
            caps = [
                f"eps_{tier} {cap:g}"
                for tier, cap in (("C", self.last.eps_c), ("L", self.last.eps_l))
                if cap is not None
            ]
            yield f"window {self.last.number}, capped at {' and '.join(caps)}:"
        yield from _tier_lines(self.window)
        if self.last is not None and self.last.number > 1:
            yield "all windows together:"
            yield from _tier_lines(self.lifetime)
        if self.restored:
            yield "rows were lost: what they may have spent is charged in full"
        if self.last is not None:
            least = min(self.last.honest_of(entry) for entry in self.last.menu)
            yield from warnings_for(self.window.local.epsilon, least)

    def as_json(self) -> dict[str, Any]:
        """The same for a script; an epsilon that is infinite is null."""
        return {
            "site": self.site,
            "events": [
                {**asdict(event), "alone": {"central": _finite(event.alone.central),
                                            "local": _finite(event.alone.local)}}
                for event in self.events
            ],
            "window": _spend_json(self.window),
            "lifetime": _spend_json(self.lifetime),
            "caps": {"eps_c": self.last.eps_c, "eps_l": self.last.eps_l} if self.last else None,
            "restored": self.restored,
        }  # fmt: skip


def report(checked: Checked) -> Report:
    """Read a checked ledger."""
    site, last, restored = "", None, False
    closed: dict[int, Closed] = {}
    sent: set[int] = set()
    for _, row in checked.rows:
        if isinstance(row, Opened):
            site = row.site
        elif isinstance(row, Window):
            last = row
        elif isinstance(row, Sent):
            sent.add(row.seq)
        elif isinstance(row, Closed):
            closed[row.seq] = row
        elif isinstance(row, Restored):
            restored = True
    deltas = {row.number: row.delta for _, row in checked.rows if isinstance(row, Window)}
    events = tuple(
        _event(number, row, closed.get(row.seq), row.seq in sent, deltas[row.window])
        for number, row in checked.rows
        if isinstance(row, Reserved)
    )
    window = spend(checked.rows, last.number if last else 0)
    return Report(site, events, window, spend(checked.rows), last, restored)


def _event(number: int, row: Reserved, closed: Closed | None, sent: bool, delta: float) -> Event:
    honest = closed.honest if closed else row.honest
    sigma_c = central_multiplier(row.noise_multiplier, honest, row.scale)
    alone = Alone(
        reported_epsilon([(sigma_c, row.sampling_rate, 1)], delta),
        reported_epsilon([(row.noise_multiplier, row.sampling_rate, 1)], delta),
    )
    return Event(
        row=number,
        time=row.time,
        kind=row.kind,
        round=row.round,
        seq=row.seq,
        run=row.run,
        q=row.sampling_rate,
        clip_norm=row.clip_norm,
        scale=row.scale,
        sigma_l=row.noise_multiplier,
        sigma_c=sigma_c,
        state="closed" if closed else "sent" if sent else "reserved",
        survivors=len(closed.survivors) if closed else 0,
        alone=alone,
    )


def _tier_lines(spent: Spend) -> Iterator[str]:
    for name, tier in (
        ("central", spent.central),
        ("central, as reserved", spent.reserved),
        ("local", spent.local),
    ):
        yield (
            f"  {name}: epsilon {tier.epsilon:.4f} at delta {tier.delta:.3g}; a membership test "
            f"finds at most {100 * tier.tpr_at_1pct_fpr:.1f} % at 1 % false positives"
        )


def _spend_json(spent: Spend) -> dict[str, Any]:
    return {
        "events": spent.events,
        "central": _tier_json(spent.central),
        "reserved": _tier_json(spent.reserved),
        "local": _tier_json(spent.local),
    }


def _tier_json(tier: Tier) -> dict[str, float | None]:
    return {**asdict(tier), "epsilon": _finite(tier.epsilon)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
