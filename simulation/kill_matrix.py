"""Kills parts of a federation at chosen moments, in this process and with a clock that only moves
when somebody waits: the real vaults, ledgers, relay and run, on real folders.

A kill of a vault drops all it had in memory; of a relay or a SuperNode, the reply on its way; of
the ServerApp or the SuperLink, the run's process, which is then started again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import grpc
from flwr.app import Message

from groundswell.client import enrolment
from groundswell.client.ledger import Ledger, verify
from groundswell.client.ledger_file import read_records
from groundswell.client.ledger_rows import Sent, check
from groundswell.client.relay import app
from groundswell.client.site import Site
from groundswell.client.vault_process import DeployedVault, open_vault
from groundswell.server import coordinator_running as running
from groundswell.server.coordinator import Coordinator
from groundswell.server.coordinator_planning import Workshop
from groundswell.server.deployed_run import DeployedRun
from groundswell.server.rounds import Outcome
from groundswell.server.run_folder import RunFolder
from groundswell.shared import checkpoint
from groundswell.shared.identity import SigningKey
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.grid import InProcessGrid

PHASES = ("join", "advertise", "share", "contribute", "confirm", "unmask", "finish")


class Part(StrEnum):
    """What is killed."""

    VAULT_BEFORE = "vault-before"  # before it works on the request
    VAULT_AFTER = "vault-after"  # when it has answered, before anyone read that
    RELAY = "relay"
    SUPERNODE = "supernode"
    SERVERAPP = "serverapp"  # after the sites have answered
    SUPERLINK = "superlink"  # when half the sites were asked


@dataclass(frozen=True)
class Cell:
    """One kill: of ``part``, at the ``occurrence``-th message of ``phase`` (from 1)."""

    part: Part
    phase: str
    occurrence: int = 1

    @property
    def name(self) -> str:
        return f"{self.part}-{self.phase}"


def cells() -> list[Cell]:
    """The whole matrix: every part at every phase.

    Contribute, confirm and unmask are met in the training round, which is the second attempt.
    """
    later = ("contribute", "confirm", "unmask")
    return [Cell(part, phase, 2 if phase in later else 1) for part in Part for phase in PHASES]


class Clock:
    """Unix seconds that pass only while somebody sleeps."""

    def __init__(self, start: float) -> None:
        self.now = start

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class ProcessKilled(BaseException):
    """The run's process is gone; nothing in it may catch that."""


class Unreachable(grpc.RpcError):
    """What the relay sees of a vault that is not there."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE


def _nothing(phase: str, number: int) -> None:
    """No mishap."""


@dataclass
class SiteHost:
    """One site's vault, which can be killed and started again.

    Attributes:
        vectors: SHA-256 of every masked vector that left, by attempt.
        clock: the site's own, Unix seconds.
        mishap: called with the phase and the number of requests before every one; may raise.
    """

    site: Site
    vault: DeployedVault | None = None
    ledger: Ledger | None = None
    vectors: dict[int, set[str]] = field(default_factory=dict)
    clock: Callable[[], float] = time.time
    mishap: Callable[[str, int], None] = _nothing
    answered: int = 0

    def start(self) -> None:
        """Open the vault from its folder, if it is not open."""
        if self.vault is None:
            self.vault, self.ledger = open_vault(self.site, self.clock)

    def kill(self) -> None:
        """Everything in memory is gone."""
        if self.ledger is not None:
            self.ledger.close()
        self.vault = self.ledger = None

    def handle(self, data: bytes) -> bytes:
        """Answer as the vault does, starting it where it was killed before."""
        self.answered += 1
        self.mishap(wire.VaultRequest.FromString(data).WhichOneof("request") or "", self.answered)
        self.start()
        if self.vault is None:
            raise Unreachable
        reply = self.vault.handle(data)
        answer = wire.VaultReply.FromString(reply)
        if answer.WhichOneof("reply") == "contributed":
            seq = wire.VaultRequest.FromString(data).contribute.seq
            digest = hashlib.sha256(answer.contributed.vector).hexdigest()
            self.vectors.setdefault(seq, set()).add(digest)
        return reply


class Killer:
    """Watches what passes, and strikes once."""

    def __init__(self, cell: Cell | None) -> None:
        self._cell = cell
        self._met: dict[str, int] = {}
        self.struck = False

    def due(self, site: int, phase: str, parts: Iterable[Part]) -> bool:
        """Whether the kill is now; the first site is the victim, and its messages are counted."""
        cell = self._cell
        if self.struck or cell is None or phase != cell.phase or cell.part not in parts:
            return False
        return self._met.get(f"{site}-{phase}", 0) == cell.occurrence

    def meet(self, site: int, phase: str) -> None:
        """Count a message."""
        key = f"{site}-{phase}"
        self._met[key] = self._met.get(key, 0) + 1


class KillingGrid(InProcessGrid):
    """Delivers as ever, but for one kill."""

    def __init__(self, hosts: dict[str, SiteHost], killer: Killer) -> None:
        self._killer = killer
        self._hosts = dict(enumerate(hosts.values(), start=1))
        self._away: set[int] = set()
        connectors = {
            name: self._connector(number, host)
            for number, (name, host) in enumerate(hosts.items(), start=1)
        }
        super().__init__(app, connectors)

    def get_node_ids(self) -> Iterable[int]:
        present = [node for node in super().get_node_ids() if node not in self._away]
        # A SuperNode that was killed is back after the next look.
        self._away.clear()
        return present

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        asked = list(messages)
        phases = [_phase(message) for message in asked]
        middle = (len(asked) + 1) // 2
        replies: list[Message] = []
        for number, (message, phase) in enumerate(zip(asked, phases, strict=True)):
            node = message.metadata.dst_node_id
            self._killer.meet(node, phase)
            if number == middle and self._killer.due(1, phases[0], [Part.SUPERLINK]):
                self._killer.struck = True
                raise ProcessKilled
            lost = self._killer.due(node, phase, [Part.SUPERNODE, Part.RELAY]) and node == 1
            answered = list(super().send_and_receive([message], timeout=timeout))
            if lost:
                self._killer.struck = True
                self._away = {node}
                continue
            replies += answered
        if asked and self._killer.due(1, phases[0], [Part.SERVERAPP]):
            self._killer.struck = True
            raise ProcessKilled
        return replies

    def _connector(self, number: int, host: SiteHost) -> Callable[[bytes], bytes]:
        def connect(data: bytes) -> bytes:
            phase = wire.VaultRequest.FromString(data).WhichOneof("request") or ""
            if number == 1 and self._killer.due(number, phase, [Part.VAULT_BEFORE]):
                self._killer.struck = True
                host.kill()
                raise Unreachable
            reply = host.handle(data)
            if number == 1 and self._killer.due(number, phase, [Part.VAULT_AFTER]):
                self._killer.struck = True
                host.kill()
                raise Unreachable
            return reply

        return connect


def _phase(message: Message) -> str:
    request = message.content.config_records["vault"]["request"]
    if not isinstance(request, bytes):
        raise TypeError(type(request))
    return wire.VaultRequest.FromString(request).WhichOneof("request") or ""


@dataclass(frozen=True)
class CellResult:
    """What one kill led to.

    Attributes:
        struck: whether the moment came.
        starts: how often the run's process was started.
        problems: promises that were broken; empty for a cell that passed.
        states: what the coordinator said of each site at the end.
        survivors: of each closed attempt.
    """

    struck: bool
    starts: int
    problems: tuple[str, ...]
    states: dict[str, str]
    survivors: tuple[tuple[str, ...], ...]


def run_cell(
    folder: Path,
    cell: Cell | None,
    now: float,
    most_starts: int = 4,
    prepare: Callable[[dict[str, SiteHost]], None] = lambda hosts: None,
) -> CellResult:
    """Run a founded federation with one kill, resuming until it has finished.

    Args:
        folder: of ``demo.DemoFederation``, which has not run.
        cell: the kill; None for another mishap.
        now: Unix seconds at which the clock begins.
        prepare: gives a site another clock or a mishap.
    """
    coordinator = Coordinator(folder / "coordinator")
    run = running.new_run(coordinator, None, None)
    hosts = {
        path.parent.name: SiteHost(Site.open(path.parent))
        for path in sorted(folder.glob("sites/*/site.toml"))
    }
    prepare(hosts)
    killer = Killer(cell)
    grid = KillingGrid(hosts, killer)
    clock = Clock(now)
    problems: list[str] = []
    rows = dict.fromkeys(hosts, 0)
    starts, outcome = 0, None
    try:
        while outcome is not Outcome.FINISHED and starts < most_starts:
            starts += 1
            try:
                outcome = DeployedRun(coordinator, run, grid, clock, clock.sleep).go().outcome
            except ProcessKilled:
                outcome = None
            problems += _ledgers(hosts, rows)
    finally:
        grid.close()
        for host in hosts.values():
            host.kill()
    if outcome is not Outcome.FINISHED:
        problems.append(f"the run is {outcome or 'killed'}: {run.status().reason}")
    problems += _twice(hosts)
    problems += _model(coordinator, run)
    state = run.state()
    records = state.records if state else ()
    return CellResult(
        killer.struck,
        starts,
        tuple(problems),
        {site.name: site.state for site in run.status().sites},
        tuple(record.survivors for record in records),
    )


def _ledgers(hosts: dict[str, SiteHost], rows: dict[str, int]) -> list[str]:
    """Every ledger is sound, and none has fallen; ``rows`` is brought up to date."""
    problems = []
    for name, host in hosts.items():
        key = SigningKey.read(host.site.keys / enrolment.KEY_FILE)
        checked = verify(host.site.ledger_file, key.public)
        problems += [f"{name}: {each}" for each in checked.problems]
        if checked.head.row < rows[name]:
            problems.append(f"{name}: the ledger fell from {rows[name]} to {checked.head.row}")
        rows[name] = checked.head.row
    return problems


def _twice(hosts: dict[str, SiteHost]) -> list[str]:
    """No attempt left a site with two vectors, or without a charge."""
    problems = []
    for name, host in hosts.items():
        problems += [
            f"{name}: attempt {seq} left with {len(vectors)} vectors"
            for seq, vectors in host.vectors.items()
            if len(vectors) > 1
        ]
        key = SigningKey.read(host.site.keys / enrolment.KEY_FILE)
        checked = check(read_records(host.site.ledger_file), key.public)
        charged = [row.seq for _, row in checked.rows if isinstance(row, Sent)]
        if len(charged) != len(set(charged)):
            problems.append(f"{name}: an attempt was sent twice")
        missing = set(host.vectors) - set(charged)
        if missing:
            problems.append(f"{name}: attempts {sorted(missing)} left uncharged")
    return problems


def _model(coordinator: Coordinator, run: RunFolder) -> list[str]:
    if not (run.model_folder / "manifest.json").exists():
        return ["there is no model"]
    loaded = checkpoint.load(run.model_folder, Workshop.open(coordinator).backbone)
    return [] if loaded.statistics else ["the model has no statistics"]
