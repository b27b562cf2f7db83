"""Sessions of StreamInterest: the last events of one visit, in memory, until the TTL ends them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from groundswell.shared.questions import Event

SESSION_SECONDS = 1800.0


@dataclass(frozen=True)
class SessionKey:
    """A session belongs to the token that opened it: no caller sees another's."""

    owner: str
    name: str


class Sessions:
    """Events by session; the least recently used session goes first when there are too many.

    Args:
        seconds: a session without an event for this long is forgotten.
        sessions: most sessions held.
        events: newest events kept of a session.
    """

    def __init__(
        self, *, seconds: float = SESSION_SECONDS, sessions: int = 10_000, events: int = 500
    ) -> None:
        self._seconds = seconds
        self._sessions = sessions
        self._events = events
        self._held: OrderedDict[SessionKey, tuple[float, tuple[Event, ...]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def seconds(self) -> float:
        """A session without an event for this long is forgotten."""
        return self._seconds

    def add(self, key: SessionKey, event: Event, now: float) -> tuple[Event, ...]:
        """Add an event and return the session's events; ``now`` in seconds, never falling."""
        self.forget(now)
        _, events = self._held.pop(key, (now, ()))
        kept = (*events, event)[-self._events :]
        self._held[key] = (now, kept)
        while len(self._held) > self._sessions:
            self._held.popitem(last=False)
        return kept

    def forget(self, now: float) -> None:
        """Let go of the sessions whose time is over."""
        while self._held:
            key, (used, _) = next(iter(self._held.items()))
            if now - used <= self._seconds:
                return
            del self._held[key]
