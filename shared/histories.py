"""Users' event histories as flat arrays: the one in-memory form that every part computes on.

The table form (Polars, strings, time zones) ends where ``annotate`` hands over to this form; from
here on labels, actions and texts are integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Float32 = NDArray[np.float32]

MICROSECONDS_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class Histories:
    """Events of ``U`` users (or user-and-time pairs), ``E`` events in all, in CSR form.

    Row ``u`` owns the events ``offsets[u]:offsets[u + 1]``, sorted by time (ties in stored order).

    Attributes:
        users: ``U`` user keys (pseudonyms at a site); the same key may own several rows.
        offsets: int64 ``[U + 1]``.
        time: int64 ``[E]``, microseconds since 1970-01-01 UTC.
        label: int32 ``[E]``, index into the catalogue's labels, -1 for none.
        weight: float32 ``[E]``, the weight of the event's action in the target (0: habit and text
            only).
        action: int16 ``[E]``, index into the task's action names; the number of names for an
            action that the task does not know.
        token: int32 ``[E]``, row of the text-embedding table, -1 for none.
        basket: int32 ``[E]``, number of the basket within the row, from 0; the events of one basket
            follow each other.
    """

    users: tuple[str, ...]
    offsets: Int64
    time: Int64
    label: Int32
    weight: Float32
    action: NDArray[np.int16]
    token: Int32
    basket: Int32

    def __len__(self) -> int:
        return len(self.users)

    @property
    def events(self) -> int:
        return len(self.time)

    def row(self) -> Int64:
        """int64 ``[E]``: the row that owns each event."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))

    def take(self, rows: Sequence[int] | Int64) -> Histories:
        """The given rows, in the given order; a row may be taken more than once."""
        index = np.asarray(rows, dtype=np.int64)
        starts, ends = self.offsets[index], self.offsets[index + 1]
        return self._gather(tuple(self.users[i] for i in index), starts, ends)

    def before(self, at: Int64) -> Histories:
        """Each row's events with ``time < at[row]`` (microseconds); what is later is not seen."""
        starts, ends = self._bounds(at)
        return self._gather(self.users, starts, ends)

    def between(self, start: Int64, end: Int64) -> Histories:
        """Each row's events with ``start[row] <= time < end[row]`` (microseconds)."""
        _, low = self._bounds(start)
        _, high = self._bounds(end)
        return self._gather(self.users, low, np.maximum(low, high))

    def last_events(self, count: int) -> Histories:
        """Each row's last ``count`` events."""
        ends = self.offsets[1:]
        return self._gather(self.users, np.maximum(self.offsets[:-1], ends - count), ends)

    def last_baskets(self, count: int) -> Histories:
        """Each row's last ``count`` baskets."""
        starts = self.offsets[:-1].copy()
        ends = self.offsets[1:]
        row = self.row()
        last = np.zeros(len(self), dtype=np.int64)
        filled = ends > starts
        last[filled] = self.basket[ends[filled] - 1]
        early = self.basket <= (last - count)[row]
        starts = starts + np.bincount(row[early], minlength=len(self))
        return self._gather(self.users, starts, ends)

    def _bounds(self, at: Int64) -> tuple[Int64, Int64]:
        """Start of each row and the position of its first event with ``time >= at[row]``."""
        row = self.row()
        earlier = self.time < np.asarray(at, dtype=np.int64)[row]
        starts = self.offsets[:-1]
        return starts, starts + np.bincount(row[earlier], minlength=len(self)).astype(np.int64)

    def _gather(self, users: tuple[str, ...], starts: Int64, ends: Int64) -> Histories:
        lengths = ends - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        index = np.arange(offsets[-1], dtype=np.int64) + np.repeat(starts - offsets[:-1], lengths)
        return Histories(
            users,
            offsets,
            self.time[index],
            self.label[index],
            self.weight[index],
            self.action[index],
            self.token[index],
            self.basket[index],
        )
