"""``kill -9`` of real processes of a running federation, when a site answers a chosen phase."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from groundswell.server import coordinator_running as running
from groundswell.server import run_folder
from groundswell.server.run_folder import RunFolder
from groundswell.shared.errors import ModelError
from groundswell.shared.supervision import read_state
from groundswell.simulation.demo import DemoFederation

_PHASE_SECONDS = 900.0
_RUN_SECONDS = 1200.0
_LOOK_SECONDS = 0.05
_MOST_STARTS = 4


class Process(StrEnum):
    """What is killed; the first three are those of the first site."""

    VAULT = "vault"
    RELAY = "relay"
    SUPERNODE = "supernode"
    SERVERAPP = "serverapp"
    SUPERLINK = "superlink"
    GATEWAY = "gateway"


@dataclass(frozen=True)
class RealKill:
    """One kill: when the first site has answered the ``occurrence``-th ``phase`` of a run."""

    process: Process
    phase: str
    occurrence: int = 1

    @property
    def name(self) -> str:
        return f"{self.process}-{self.phase}"


def train_through(
    demo: DemoFederation, kill: RealKill, tell: Callable[[str], None]
) -> tuple[run_folder.RunStatus, int]:
    """A run with one kill, resumed until it has finished; returns its status and its starts.

    Raises:
        TimeoutError: the moment of the kill did not come, or the run did not end.
    """
    coordinator = demo.coordinator
    run = running.new_run(coordinator, None, None)
    log = demo.sites[0].logs / "vault.log"
    begun = log.stat().st_size
    running.launch(coordinator, run)
    _wait_for_phase(log, begun, kill)
    _strike(demo, run, kill.process)
    tell(f"killed {kill.process} at {kill.phase}")
    starts = 1
    status = _wait_for_end(run)
    while status.state != run_folder.FINISHED and starts < _MOST_STARTS:
        starts += 1
        _wait_for_services(demo)
        running.launch(coordinator, run)
        status = _wait_for_end(run)
    return status, starts


def _wait_for_phase(log: Path, begun: int, kill: RealKill) -> None:
    deadline = time.monotonic() + _PHASE_SECONDS
    while time.monotonic() < deadline:
        with log.open() as opened:
            opened.seek(begun)
            met = sum(_answers(line, kill.phase) for line in opened)
        if met >= kill.occurrence:
            return
        time.sleep(_LOOK_SECONDS)
    raise TimeoutError(f"{kill.phase} was not answered {kill.occurrence} times")


def _answers(line: str, phase: str) -> bool:
    if not line.startswith("{"):
        return False
    return str(json.loads(line).get("event", "")).startswith(f"{phase} answered")


def _strike(demo: DemoFederation, run: RunFolder, process: Process) -> None:
    if process is Process.SERVERAPP:
        pid = run.status().pid
    else:
        of_site = process in (Process.VAULT, Process.RELAY, Process.SUPERNODE)
        state_file = demo.sites[0].state_file if of_site else demo.coordinator.state_file
        state = read_state(state_file)
        pid = (state or {"services": {}})["services"].get(str(process), {}).get("pid") or 0
    if not pid:
        raise TimeoutError(f"{process} does not run")
    os.kill(pid, signal.SIGKILL)


def _wait_for_end(run: RunFolder) -> run_folder.RunStatus:
    deadline = time.monotonic() + _RUN_SECONDS
    while time.monotonic() < deadline:
        try:
            status = run.status()
        except ModelError:
            time.sleep(1)
            continue
        if status.state in run_folder.ENDED:
            return status
        time.sleep(0.5)
    raise TimeoutError("the run did not end")


def _wait_for_services(demo: DemoFederation) -> None:
    deadline = time.monotonic() + _PHASE_SECONDS
    while time.monotonic() < deadline:
        figures = running.status_figures(demo.coordinator)
        states = {name: state for name, state in figures["services"].items() if name != "gateway"}
        if states and set(states.values()) == {"ready"}:
            return
        time.sleep(0.5)
    raise TimeoutError("the coordinator's services did not come back")
