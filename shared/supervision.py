"""Keeps a handful of processes running: starts them in order, restarts what ends, stops them all.

Both sides use it: ``groundswell coordinator up`` and ``groundswell site up`` are each one
supervisor and its services. What runs stands in a state file, with each process's start time beside
its id, so that nobody ends a stranger that was given the same id.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from groundswell.shared.errors import GroundswellError, InputError

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_FIRST_BACKOFF = 1.0
_LONGEST_BACKOFF = 15.0
# A process that ran this long was well: its next end starts a new row of restarts.
_WELL_SECONDS = 60.0


def _always_ready() -> bool:
    return True


@dataclass(frozen=True)
class Service:
    """One process to keep running.

    Attributes:
        command: program and arguments.
        log: file that its output is appended to; None: where this process's own goes.
        environment: on top of this process's own; may hold secrets' paths, never secrets.
        ready: tells whether it serves; the next service starts when it does.
        ready_seconds: after which a service that never served is named in the state.
        stop_seconds: between SIGTERM and SIGKILL.
        awaited: whether the site or coordinator counts as up only when this one is ready.
        user: Unix user to run as, with that user's groups; empty: whoever runs the supervisor.
    """

    name: str
    command: tuple[str, ...]
    log: Path | None
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] = _always_ready
    ready_seconds: float = 60.0
    stop_seconds: float = 10.0
    user: str = ""
    awaited: bool = True


@dataclass(frozen=True)
class ProcessName:
    """A process by id and start time (clock ticks since boot), which together name it for good."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessName | None:
        """The running process of this id; None where there is none, or only its remains."""
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The program's name, in brackets, may hold anything.
        state, *rest = text.rpartition(")")[2].split()
        return None if state == "Z" else cls(pid, int(rest[18]))

    def runs(self) -> bool:
        """Whether it still runs."""
        return ProcessName.of(self.pid) == self

    def end(self, seconds: float) -> None:
        """SIGTERM, and SIGKILL after ``seconds``."""
        for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
            if not self.runs():
                return
            os.kill(self.pid, number)
            deadline = time.monotonic() + patience
            while self.runs() and time.monotonic() < deadline:
                time.sleep(0.05)


class _Credentials(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]
    cwd: str


def _as_user(name: str) -> _Credentials:
    """Credentials of a Unix user, for ``subprocess.Popen``; none for an empty name."""
    if not name:
        return {}
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        raise InputError("user", name, "there is no such user", "make it, or name another") from (
            error
        )
    groups = os.getgrouplist(name, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups, "cwd": "/"}


class _Kept:
    """One service and the process that is it at present."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.process: subprocess.Popen[bytes] | None = None
        self.name: ProcessName | None = None
        self.started = 0.0
        self.restarts = 0
        self.backoff = _FIRST_BACKOFF
        self.due = 0.0
        self.last_exit: int | None = None
        self.ready = False

    def start(self) -> None:
        with ExitStack() as stack:
            output = None
            if self.service.log is not None:
                self.service.log.parent.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context(self.service.log.open("ab"))
            self.process = subprocess.Popen(
                self.service.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                env={**os.environ, **self.service.environment},
                **_as_user(self.service.user),
            )
        self.name = ProcessName.of(self.process.pid)
        self.started = time.monotonic()
        self.ready = False

    def look(self) -> bool:
        """Take notice of what happened to the process; True where the state changed."""
        if self.process is None:
            if time.monotonic() < self.due:
                return False
            self.restarts += 1
            self.start()
            return True
        code = self.process.poll()
        if code is None:
            if not self.ready and self.service.ready():
                self.ready = True
                return True
            return False
        if time.monotonic() - self.started > _WELL_SECONDS:
            self.backoff = _FIRST_BACKOFF
        log.warning("%s ended with code %d", self.service.name, code)
        self.last_exit, self.process, self.name, self.ready = code, None, None, False
        self.due = time.monotonic() + self.backoff
        self.backoff = min(self.backoff * 2, _LONGEST_BACKOFF)
        return True

    def state(self) -> dict[str, Any]:
        running = "ready" if self.ready else "starting"
        return {
            "state": running if self.process else "waiting",
            "pid": self.name.pid if self.name else None,
            "started": self.name.started if self.name else None,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
        }

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(self.service.stop_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Supervisor:
    """Runs services until it is told to stop.

    Args:
        services: in the order in which they start; they stop in the reverse order.
        state_file: replaced whenever something changes.
        observe: called about five times a second, for whatever else has to be looked after.
    """

    def __init__(
        self,
        services: Sequence[Service],
        state_file: Path,
        observe: Callable[[], None] = lambda: None,
    ) -> None:
        self._kept = [_Kept(service) for service in services]
        self._state_file = state_file
        self._observe = observe
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask ``run`` to stop everything and return; safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Start, keep running, and at the end stop the services; returns after ``stop``."""
        end_leftovers(self._state_file)
        try:
            for kept in self._kept:
                kept.start()
                self._wait_ready(kept)
                if self._stop.is_set():
                    break
            while not self._stop.wait(_LOOK_SECONDS):
                self._look()
        finally:
            for kept in reversed(self._kept):
                kept.stop()
            self._state_file.unlink(missing_ok=True)

    def _wait_ready(self, kept: _Kept) -> None:
        deadline = time.monotonic() + kept.service.ready_seconds
        self._write()
        while (
            kept.service.awaited
            and not kept.ready
            and not self._stop.is_set()
            and time.monotonic() < deadline
        ):
            self._look()
            self._stop.wait(_LOOK_SECONDS)
        if kept.service.awaited and not kept.ready:
            log.error("%s did not get ready; see %s", kept.service.name, kept.service.log)

    def _look(self) -> None:
        started = [kept for kept in self._kept if kept.started]
        changed = [kept.look() for kept in started]
        if any(changed):
            self._write()
        self._observe()

    def _write(self) -> None:
        own = ProcessName.of(os.getpid())
        state = {
            "pid": os.getpid(),
            "started": own.started if own else 0,
            "services": {kept.service.name: kept.state() for kept in self._kept if kept.started},
        }
        write_atomically(self._state_file, json.dumps(state, indent=1).encode())


def all_ready(services: Sequence[Service], state_file: Path) -> bool:
    """Whether a supervisor runs and every service that is awaited serves."""
    state = read_state(state_file)
    running = state["services"] if state else {}
    ready = {name for name, each in running.items() if each["state"] == "ready"}
    return {service.name for service in services if service.awaited} <= ready


def run_until_signalled(supervisor: Supervisor) -> None:
    """``Supervisor.run`` that stops on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    supervisor.run()


def read_state(state_file: Path) -> dict[str, Any] | None:
    """What the supervisor wrote last; None where none runs."""
    try:
        state: dict[str, Any] = json.loads(state_file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return state if ProcessName(state["pid"], state["started"]).runs() else None


def end_leftovers(state_file: Path) -> None:
    """End what a supervisor left behind that was killed; raises where one still runs.

    Raises:
        GroundswellError: another supervisor of these services runs.
    """
    if read_state(state_file) is not None:
        raise GroundswellError(f"already up: {state_file} names a running process; see `down`")
    try:
        state = json.loads(state_file.read_bytes())
    except (FileNotFoundError, ValueError):
        return
    for service in reversed(state["services"].values()):
        if service["pid"]:
            ProcessName(service["pid"], service["started"]).end(5.0)
    state_file.unlink(missing_ok=True)


def stop_supervisor(state_file: Path, seconds: float = 60.0) -> bool:
    """Stop a running supervisor and its services; False where none runs.

    What a killed supervisor left behind is ended too.
    """
    state = read_state(state_file)
    if state is not None:
        ProcessName(state["pid"], state["started"]).end(seconds)
    end_leftovers(state_file)
    return state is not None


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put a whole new file in the place of the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())
    part.replace(path)
