"""From interest in labels to items of the catalogue.

An item's score is its label's probability times how the shopper's own recent use of the item stands
to that of the label's item used most: (use + 1) / (most used + 1). So the strongest interest comes
first, with the items of it that the shopper likes, and new items of it after those.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError
from groundswell.shared.histories import MICROSECONDS_PER_DAY, Float32
from groundswell.shared.questions import Event, Filters, Recommendation, Trend, microseconds

USE_HALF_LIFE = 60.0  # days after which an own use of an item counts half
PRIOR_USES = 1.0  # what an item that was never used counts


@dataclass(frozen=True)
class ItemIndex:
    """The items of a catalogue by label, sorted by key; made once for a model."""

    catalogue: Catalogue
    items: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, catalogue: Catalogue) -> ItemIndex:
        """The index; a catalogue without items has each label stand for itself."""
        found: dict[str, list[str]] = defaultdict(list)
        for item, label in catalogue.item_to_label.items():
            found[label].append(item)
        if not found:
            found = {label: [label] for label in catalogue.labels}
        return cls(catalogue, {label: tuple(sorted(items)) for label, items in found.items()})

    def label_of(self, item: str) -> str | None:
        """The label of an item, None where the catalogue does not hold it."""
        if self.catalogue.item_to_label:
            return self.catalogue.item_to_label.get(item)
        return item if item in self.catalogue.index else None


@dataclass(frozen=True)
class _Use:
    weight: float
    times: int


def recommend_items(
    index: ItemIndex,
    probability: Float32,
    lift: Float32,
    events: Sequence[Event],
    filters: Filters,
    at: int,
    top: int,
) -> tuple[Recommendation, ...]:
    """The ``top`` best items that pass the filters, best first.

    Args:
        probability, lift: float32 ``[L]``.
        events: of the shopper, before ``at`` (microseconds).

    Raises:
        InputError: a filter names a label or group that the catalogue does not hold.
    """
    catalogue = index.catalogue
    allowed = _allowed(catalogue, filters)
    used = _uses(events, at)
    own: dict[str, list[str]] = defaultdict(list)
    for item in sorted(used):
        label = index.label_of(item)
        if label is not None:
            own[label].append(item)
    best: list[tuple[float, str, str]] = []  # heap of (score, item, label), worst first
    for position in np.argsort(-probability, kind="stable"):
        share = float(probability[position])
        if len(best) == top and share <= best[0][0]:
            break  # no item of a less probable label can come in
        label = catalogue.labels[position]
        rising = Trend.of(float(lift[position])) is Trend.RISING
        if label not in allowed or (filters.only_rising and not rising):
            continue
        items = index.items.get(label, ())
        for score, item in _best_of(items, own[label], used, share, filters):
            heapq.heappush(best, (score, item, label))
            if len(best) > top:
                heapq.heappop(best)
    ranked = sorted(best, key=lambda entry: (-entry[0], entry[1]))
    return tuple(
        Recommendation(
            item=item,
            label=label,
            score=score,
            trend=(trend := Trend.of(float(lift[catalogue.index[label]]))),
            uses=used[item].times if item in used else 0,
            reason=_reason(used.get(item), trend, label),
        )
        for score, item, label in ranked
    )


def _allowed(catalogue: Catalogue, filters: Filters) -> set[str]:
    groups = set(catalogue.groups)
    for label in filters.labels:
        if label not in catalogue.index:
            raise InputError(
                "filters.labels", label, "the catalogue holds no such label", "see the model's page"
            )
    for group in filters.groups:
        if group not in groups:
            raise InputError(
                "filters.groups", group, "the catalogue holds no such group", "see the model's page"
            )
    chosen = set(filters.labels) if filters.labels else set(catalogue.labels)
    if filters.groups:
        pairs = zip(catalogue.labels, catalogue.groups, strict=True)
        chosen &= {label for label, group in pairs if group in filters.groups}
    return chosen


def _uses(events: Sequence[Event], at: int) -> dict[str, _Use]:
    """The shopper's own uses of items, faded with age."""
    used: dict[str, _Use] = {}
    for event in events:
        item = event.item or event.label
        if item is None:
            continue
        age = (at - microseconds(event.time)) / MICROSECONDS_PER_DAY
        before = used.get(item, _Use(0.0, 0))
        used[item] = _Use(before.weight + 2.0 ** (-age / USE_HALF_LIFE), before.times + 1)
    return used


def _best_of(
    items: Sequence[str],
    own: Sequence[str],
    used: Mapping[str, _Use],
    share: float,
    filters: Filters,
) -> list[tuple[float, str]]:
    """Up to ``per_label`` items of one label that pass, and their scores; ``own`` were used."""
    most = PRIOR_USES + max((used[item].weight for item in own), default=0.0)
    excluded = set(filters.exclude_items)
    scored = [
        (share * (used[item].weight + PRIOR_USES) / most, item)
        for item in own
        if item not in excluded and not filters.only_new
    ]
    scored.sort(key=lambda entry: (-entry[0], entry[1]))
    fresh = 0
    for item in items:  # the rest all score the same
        if len(scored) >= filters.per_label or fresh >= filters.per_label:
            break
        if item not in used and item not in excluded:
            scored.append((share * PRIOR_USES / most, item))
            fresh += 1
    return scored[: filters.per_label]


def _reason(use: _Use | None, trend: Trend, label: str) -> str:
    interest = {
        Trend.RISING: f"interest in {label} is rising",
        Trend.STEADY: f"{label} is a steady interest",
        Trend.FADING: f"interest in {label} is fading",
    }[trend]
    if use is None:
        return f"new to this shopper; {interest}"
    return f"used {use.times} time{'s' if use.times > 1 else ''} before; {interest}"
