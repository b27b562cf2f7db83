"""Events that a caller hands over become histories, by the rules by which a site's own events do.

The site's way (``annotate``) works on tables of millions of rows; this one on a few events in a
request, where a table's overhead would be most of the answer's time. A contract test holds both to
the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError
from groundswell.shared.histories import Histories
from groundswell.shared.questions import Event, microseconds, moment
from groundswell.shared.task import Task

# Clocks of shops differ; what lies further ahead is a mistake of zone or unit.
CLOCK_SKEW_US = timedelta(days=1) // timedelta(microseconds=1)
FURTHEST_AT_US = timedelta(days=366) // timedelta(microseconds=1)


def histories_of(
    batch: Sequence[Sequence[Event]], catalogue: Catalogue, task: Task
) -> tuple[Histories, tuple[str, ...]]:
    """Histories of ``B`` event lists, and the texts that lie outside the catalogue.

    Rows keep the batch's order, events are sorted by time and then by content; ``users`` are the
    rows' numbers. ``token`` counts through the labels, then through the texts.
    """
    index, items = catalogue.index, catalogue.item_to_label
    names = {name: i for i, name in enumerate(task.action_names)}
    weights = task.actions
    texts: dict[str, int] = {}
    time, label, weight, action, token, basket = [], [], [], [], [], []
    offsets = [0]
    for events in batch:
        number, previous = 0, None
        for at, event in sorted(((microseconds(e.time), e) for e in events), key=_order):
            if previous is not None and at - previous > task.session_gap_us:
                number += 1
            previous = at
            known = _label(event, index, items)
            words = event.text or event.label
            time.append(at)
            label.append(known)
            weight.append(weights.get(event.action, 0.0) if known >= 0 else 0.0)
            action.append(names.get(event.action, len(names)))
            basket.append(number)
            if known >= 0:
                token.append(known)
            elif words:
                token.append(len(index) + texts.setdefault(words, len(texts)))
            else:
                token.append(-1)
        offsets.append(len(time))
    histories = Histories(
        users=tuple(str(row) for row in range(len(batch))),
        offsets=np.array(offsets, dtype=np.int64),
        time=np.array(time, dtype=np.int64),
        label=np.array(label, dtype=np.int32),
        weight=np.array(weight, dtype=np.float32),
        action=np.array(action, dtype=np.int16),
        token=np.array(token, dtype=np.int32),
        basket=np.array(basket, dtype=np.int32),
    )
    return histories, tuple(texts)


def forecast_time(events: Sequence[Event], at: int | None, now: int) -> int:
    """When a forecast begins: ``at``, just after the last event, or now (microseconds).

    Raises:
        InputError: an event lies ahead of now or before 1970, or ``at`` more than a year ahead.
    """
    if at is not None and not 0 <= at <= now + FURTHEST_AT_US:
        raise InputError(
            "at",
            moment(at).isoformat(),
            "a forecast begins between 1970 and a year from now",
            "check year and unit",
        )
    last = None
    for number, event in enumerate(events):
        time = microseconds(event.time)
        if not 0 <= time <= now + CLOCK_SKEW_US:
            raise InputError(
                f"events.{number}.time",
                event.time.isoformat(),
                "an event lies between 1970 and now",
                "check year, zone and unit",
            )
        last = time if last is None else max(last, time)
    if at is not None:
        return at
    return now if last is None else last + 1


def ordered(events: Sequence[Event], at: int) -> list[Event]:
    """The events before ``at`` (microseconds), in the order in which histories hold them."""
    timed = sorted(((microseconds(event.time), event) for event in events), key=_order)
    return [event for time, event in timed if time < at]


def _label(event: Event, index: Mapping[str, int], items: Mapping[str, str]) -> int:
    """Position of an event's label: by its item, else as named, -1 outside the catalogue."""
    for name in (items.get(event.item or ""), event.label, event.item):
        if name is not None and name in index:
            return index[name]
    return -1


def _order(entry: tuple[int, Event]) -> tuple[object, ...]:
    """Time, then content as in ``events.ORDER``, an absent value before any other."""
    at, event = entry
    return (
        at,
        event.action,
        event.item is not None,
        event.item or "",
        event.label is not None,
        event.label or "",
        event.text is not None,
        event.text or "",
    )
