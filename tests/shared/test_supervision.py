"""The supervisor: restarts what ends, leaves nothing behind, and never ends a stranger."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from groundswell.shared.errors import GroundswellError
from groundswell.shared.supervision import (
    ProcessName,
    Service,
    Supervisor,
    end_leftovers,
    read_state,
    stop_supervisor,
    write_atomically,
)

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")


@contextmanager
def supervised(supervisor: Supervisor) -> Iterator[None]:
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield
    finally:
        supervisor.stop()
        thread.join(20)
        assert not thread.is_alive()


def eventually(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def services(state: Path) -> dict[str, dict[str, int | str | None]]:
    found: dict[str, dict[str, int | str | None]] = json.loads(state.read_bytes())["services"]
    return found


def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    sleeper = Service("sleeper", SLEEPER, tmp_path / "log")
    with supervised(Supervisor([sleeper], state)):
        eventually(lambda: state.exists() and services(state)["sleeper"]["state"] == "ready")
        first = services(state)["sleeper"]["pid"]
        assert isinstance(first, int)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: services(state)["sleeper"]["restarts"] == 1)
        eventually(lambda: services(state)["sleeper"]["state"] == "ready")
        second = services(state)["sleeper"]
        assert second["pid"] != first
        assert second["last_exit"] == -signal.SIGKILL
    assert not state.exists()
    assert isinstance(second["pid"], int)
    assert ProcessName.of(second["pid"]) is None


def test_the_second_starts_when_the_first_is_ready(tmp_path: Path) -> None:
    state, flag = tmp_path / "state.json", tmp_path / "flag"
    first = Service("first", SLEEPER, tmp_path / "log", ready=flag.exists)
    second = Service("second", SLEEPER, tmp_path / "log")
    with supervised(Supervisor([first, second], state)):
        eventually(lambda: state.exists() and "first" in services(state))
        time.sleep(0.5)
        assert list(services(state)) == ["first"]
        flag.touch()
        eventually(lambda: list(services(state)) == ["first", "second"])


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    state, mark = tmp_path / "state.json", tmp_path / "mark"
    deaf = (
        sys.executable,
        "-c",
        "import pathlib, signal, sys, time; signal.signal(15, signal.SIG_IGN);"
        f"pathlib.Path({str(mark)!r}).touch(); time.sleep(60)",
    )
    service = Service("deaf", deaf, tmp_path / "log", ready=mark.exists, stop_seconds=0.3)
    with supervised(Supervisor([service], state)):
        eventually(mark.exists)
        pid = services(state)["deaf"]["pid"]
    assert isinstance(pid, int)
    assert ProcessName.of(pid) is None


def test_what_a_killed_supervisor_left_is_ended_and_a_stranger_is_not(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    own = ProcessName.of(os.getpid())
    assert own is not None
    stranger = {"pid": own.pid, "started": own.started - 1}
    write_atomically(
        state,
        json.dumps({**stranger, "services": {"vault": {**stranger, "state": "ready"}}}).encode(),
    )
    assert read_state(state) is None
    end_leftovers(state)
    assert not state.exists()


def test_two_supervisors_of_the_same_services_do_not_run(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with supervised(Supervisor([Service("one", SLEEPER, tmp_path / "log")], state)):
        eventually(lambda: read_state(state) is not None)
        with pytest.raises(GroundswellError, match="already up"):
            Supervisor([], state).run()


def test_stopping_what_does_not_run_says_so(tmp_path: Path) -> None:
    assert stop_supervisor(tmp_path / "state.json") is False
