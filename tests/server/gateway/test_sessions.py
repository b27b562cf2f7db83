"""A streamed session lives in memory, for its time and within its bounds, and no longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx

from groundswell.server.gateway.service import QueryService
from groundswell.server.gateway.sessions import SessionKey, Sessions
from groundswell.server.gateway.sources import FolderSource
from groundswell.shared.answering import ServedModel
from groundswell.shared.questions import Event


def event(label: str) -> Event:
    return Event.model_validate({"time": "2025-01-01T00:00:00Z", "label": label})


def key(name: str) -> SessionKey:
    return SessionKey("owner", name)


def test_a_session_ends_so_long_after_its_last_event() -> None:
    held = Sessions(seconds=10)
    held.add(key("a"), event("TEA"), 0)
    assert len(held.add(key("a"), event("TEA"), 9)) == 2
    held.forget(18)
    assert len(held) == 1
    held.forget(19.5)
    assert len(held) == 0
    assert len(held.add(key("a"), event("TEA"), 20)) == 1


def test_the_newest_events_and_the_latest_used_sessions_are_kept() -> None:
    held = Sessions(sessions=2, events=3)
    for label in "abcde":
        kept = held.add(key("long"), event(label), 0)
    assert [each.label for each in kept] == ["c", "d", "e"]
    held.add(key("second"), event("x"), 1)
    held.add(key("long"), event("f"), 2)
    held.add(key("third"), event("y"), 3)
    assert len(held) == 2
    assert len(held.add(key("long"), event("g"), 4)) == 3
    assert len(held.add(key("second"), event("z"), 5)) == 1


def test_a_gateway_forgets_by_the_clock_though_nobody_streams_on(
    served: ServedModel, start: Callable[[QueryService], AbstractContextManager[Any]]
) -> None:
    source = FolderSource(Path(), load=lambda folder: served)
    service = QueryService(source, session_seconds=1.0)
    body = {"session": "s", "event": {"time": "2025-01-01T00:00:00Z", "label": "TEA"}}
    with start(service) as running:
        assert httpx.post(running.url + "/v1/stream", json=body, timeout=30).status_code == 200
        assert b"groundswell_sessions 1.0" in service.metrics.text()
        until = time.monotonic() + 10
        while b"groundswell_sessions 0.0" not in service.metrics.text():
            assert time.monotonic() < until
            time.sleep(0.05)
