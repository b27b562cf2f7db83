"""One run on disk: what the command line, the ServerApp and whoever watches tell each other.

The command line writes the plan and asks; the ServerApp, another process, keeps the state and says
how far it is. Every file is replaced whole.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from groundswell.server import checkpointing
from groundswell.server.checkpointing import RunState
from groundswell.shared.errors import ModelError
from groundswell.shared.plan import Plan
from groundswell.shared.supervision import ProcessName, write_atomically
from groundswell.shared.wire import groundswell_pb2 as wire

# States of a run.
STARTING = "starting"
RUNNING = "running"
FINISHED = "finished"
PAUSED = "paused"
STOPPED = "stopped"
FAILED = "failed"
INTERRUPTED = "interrupted"  # its process is gone; it can be resumed
ENDED = (FINISHED, PAUSED, STOPPED, FAILED, INTERRUPTED)


@dataclass(frozen=True)
class SiteStatus:
    """One site as the coordinator sees it.

    Attributes:
        state: ``ready``, ``dropped``, or the code of its last refusal.
        ledger_row: the highest row of its ledger that it has signed.
    """

    name: str
    state: str
    ledger_row: int


@dataclass(frozen=True)
class RunStatus:
    """How far a run is.

    Attributes:
        state: one of the states above.
        step: kind of the release in hand; ``round`` as in the schedule.
        reason: why it paused or failed, else empty.
        refusals: codes of nodes that did not join, which have no name yet.
        pid, started: the process that works on it (``supervision.ProcessName``); 0: none yet.
        updated: Unix seconds.
    """

    state: str
    run: str
    round: int = 0
    rounds: int = 0
    step: str = ""
    reason: str = ""
    sites: tuple[SiteStatus, ...] = ()
    refusals: tuple[str, ...] = ()
    pid: int = 0
    started: int = 0
    updated: float = field(default_factory=time.time)

    def figures(self) -> dict[str, Any]:
        """Plain values, for ``--json``."""
        return asdict(self)


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def state_folder(self) -> Path:
        return self.path / "state"

    @property
    def model_folder(self) -> Path:
        return self.path / "model"

    def create(self, plan: Plan, join: wire.JoinRequest) -> None:
        """Begin a run: its plan and the signed request to join."""
        self.path.mkdir(parents=True)
        write_atomically(self.path / "join.bin", join.SerializeToString())
        self.write_status(RunStatus(STARTING, plan.run, rounds=plan.rounds))
        write_atomically(self.path / "plan.json", plan.canonical_bytes())

    def plan(self) -> Plan:
        """The run's plan."""
        return Plan.parse((self.path / "plan.json").read_bytes())

    def join(self) -> wire.JoinRequest:
        """The signed request to join."""
        request = wire.JoinRequest()
        request.ParseFromString((self.path / "join.bin").read_bytes())
        return request

    def state(self) -> RunState | None:
        """The last state that was saved."""
        return checkpointing.load(self.state_folder, self.plan().hash())

    def status(self) -> RunStatus:
        """How far the run is; a run whose process is gone is ``interrupted``.

        Raises:
            ModelError: the file is damaged.
        """
        try:
            content = json.loads((self.path / "status.json").read_bytes())
            sites = tuple(SiteStatus(**each) for each in content.pop("sites"))
            refusals = tuple(content.pop("refusals"))
            status = RunStatus(sites=sites, refusals=refusals, **content)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{self.path}: the status can't be read; resume the run") from error
        if status.state == RUNNING and not ProcessName(status.pid, status.started).runs():
            reason = "the ServerApp is gone; `coordinator train --resume` goes on"
            return replace(status, state=INTERRUPTED, reason=reason)
        return status

    def write_status(self, status: RunStatus) -> None:
        """Say how far the run is."""
        write_atomically(self.path / "status.json", json.dumps(status.figures()).encode())

    # --- requests of the operator -------------------------------------------------------------

    def ask_to_stop(self) -> None:
        """Have the run stop after the attempt in hand."""
        (self.path / "stop").touch()

    def asked_to_stop(self) -> bool:
        """Whether the operator asked."""
        return (self.path / "stop").exists()

    def clear_stop(self) -> None:
        """Go on again."""
        (self.path / "stop").unlink(missing_ok=True)

    # --- what must survive a kill -------------------------------------------------------------

    def note_attempt(self, position: int, kind: str) -> None:
        """Note that an attempt of this step is about to begin."""
        write_atomically(
            self.path / "attempt.json", json.dumps({"position": position, "kind": kind}).encode()
        )

    def interrupted(self, state: RunState) -> str | None:
        """Kind of the attempt that was in hand when the run was killed, if one was."""
        try:
            noted = json.loads((self.path / "attempt.json").read_bytes())
        except FileNotFoundError:
            return None
        kind: str = noted["kind"]
        return kind if noted["position"] == state.position else None

    def clear_attempt(self) -> None:
        """No attempt is in hand."""
        (self.path / "attempt.json").unlink(missing_ok=True)

    def heads(self) -> dict[str, tuple[int, str]]:
        """The highest ledger head seen of each site: row and hash (hex)."""
        path = self.path.parent / "heads.json"
        if not path.exists():
            return {}
        return {site: (row, value) for site, (row, value) in json.loads(path.read_bytes()).items()}

    def keep_heads(self, heads: dict[str, tuple[int, str]]) -> None:
        """Keep them beside all runs: a ledger outlives a run."""
        write_atomically(self.path.parent / "heads.json", json.dumps(heads).encode())
