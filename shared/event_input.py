"""Events that a caller hands over become histories, by the rules by which a site's own events do.

The site's way (``annotate``) works on tables of millions of rows; this one on a few events in a
request, where a table's overhead would be most of the answer's time. A contract test holds both to
the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache

import numpy as np

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError
from groundswell.shared.histories import Histories
from groundswell.shared.questions import Event, microseconds, moment
from groundswell.shared.task import Task

# Clocks of shops differ; what lies further ahead is a mistake of zone or unit.
CLOCK_SKEW_US = timedelta(days=1) // timedelta(microseconds=1)
_Row = tuple[int, str, str, str, str]  # time, action, item, label, text; "" for none
FURTHEST_AT_US = timedelta(days=366) // timedelta(microseconds=1)


def histories_of(
    batch: Sequence[Sequence[Event]], catalogue: Catalogue, task: Task
) -> tuple[Histories, tuple[str, ...]]:
    """Histories of ``B`` event lists, and the texts that lie outside the catalogue.

    Rows keep the batch's order, events are sorted by time and then by content; ``users`` are the
    rows' numbers. ``token`` counts through the labels, then through the texts.
    """
    places = _places(catalogue)
    names = {name: i for i, name in enumerate(task.action_names)}
    weights = np.array([*(task.actions[name] for name in names), 0.0], dtype=np.float32)
    rows = [row for events in batch for row in _rows(events)]
    count = len(rows)
    time = np.fromiter((row[0] for row in rows), np.int64, count)
    action = np.fromiter((names.get(row[1], len(names)) for row in rows), np.int16, count)
    label = np.fromiter((_place(row, places) for row in rows), np.int32, count)
    texts: dict[str, int] = {}
    token = label.copy()
    for i in np.flatnonzero(label < 0):
        words = rows[i][4] or rows[i][3]
        if words:
            token[i] = len(catalogue) + texts.setdefault(words, len(texts))
    offsets = np.cumsum([0, *(len(events) for events in batch)], dtype=np.int64)
    row = np.repeat(np.arange(len(batch)), np.diff(offsets))
    new = np.zeros(count, dtype=np.int64)
    new[1:] = (np.diff(time) > task.session_gap_us) & (row[1:] == row[:-1])
    number = np.cumsum(new)
    basket = number - number[offsets[row]] if count else number
    histories = Histories(
        users=tuple(str(row) for row in range(len(batch))),
        offsets=offsets,
        time=time,
        label=label,
        weight=np.where(label >= 0, weights[action], np.float32(0)),
        action=action,
        token=token,
        basket=basket.astype(np.int32),
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
    times = [microseconds(event.time) for event in events]
    last = max(times, default=now - 1)
    if min(times, default=0) < 0 or last > now + CLOCK_SKEW_US:
        number = next(i for i, t in enumerate(times) if not 0 <= t <= now + CLOCK_SKEW_US)
        raise InputError(
            f"events.{number}.time",
            events[number].time.isoformat(),
            "an event lies between 1970 and now",
            "check year, zone and unit",
        )
    return last + 1 if at is None else at


def ordered(events: Sequence[Event], at: int) -> list[Event]:
    """The events before ``at`` (microseconds), in the order in which histories hold them."""
    timed = sorted(
        (microseconds(e.time), e.action, e.item or "", e.label or "", e.text or "", i)
        for i, e in enumerate(events)
    )
    return [events[entry[-1]] for entry in timed if entry[0] < at]


def _rows(events: Sequence[Event]) -> list[_Row]:
    """The events by time, then by content as in ``events.ORDER``; an absent value comes first."""
    return sorted(
        (microseconds(e.time), e.action, e.item or "", e.label or "", e.text or "") for e in events
    )


def _place(row: _Row, places: tuple[Mapping[str, int], Mapping[str, int]]) -> int:
    """Position of an event's label: by its item, else as named, -1 outside the catalogue."""
    by_item, by_label = places
    _, _, item, label, _ = row
    place = by_item.get(item, -1) if item else -1
    if place < 0 and label:
        place = by_label.get(label, -1)
    if place < 0 and item:
        place = by_label.get(item, -1)
    return place


@lru_cache(maxsize=16)
def _places(catalogue: Catalogue) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Positions by item, and by label."""
    by_label = dict(catalogue.index)
    return {item: by_label[label] for item, label in catalogue.item_to_label.items()}, by_label
