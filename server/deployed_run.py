"""One run of a deployed coordinator, from its folder to a model: what the ServerApp does.

A kill at any point loses at most the attempt in hand. Whether it was in hand is noted before it
begins, and on the way back it is charged as a void one, since sites may have charged theirs.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from flwr.serverapp import Grid

from groundswell.server import released_model, run_folder
from groundswell.server.audit_log import AuditLog
from groundswell.server.checkpointing import RoundRecord, RunState
from groundswell.server.coordinator import Coordinator
from groundswell.server.coordinator_planning import Workshop
from groundswell.server.rounds import Outcome, Report, Run, Watch
from groundswell.server.run_folder import RunFolder, RunStatus, SiteStatus
from groundswell.server.schedule import Step
from groundswell.server.spending import Spent
from groundswell.server.transport import GridTransport
from groundswell.server.unmasking import SecureSum
from groundswell.shared import checkpoint
from groundswell.shared.envelopes import open_signed
from groundswell.shared.errors import AttemptVoid, GroundswellError, Refusal
from groundswell.shared.roster import Head, terms_of
from groundswell.shared.supervision import ProcessName
from groundswell.shared.wire import groundswell_pb2 as wire

log = logging.getLogger(__name__)

_JOIN_POLL_SECONDS = 2.0
# A site's own word on its highest attempt is believed up to here: beyond lies nonsense.
_HIGHEST_SEQ = 1 << 40


class DeployedRun:
    """A run in its folder.

    Args:
        coordinator: the folder of the coordinator.
        folder: of the run.
        grid: the way to the nodes.
        clock, sleep: Unix seconds and a wait; replaced in tests.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        folder: RunFolder,
        grid: Grid,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._coordinator = coordinator
        self._folder = folder
        self._clock = clock
        self._sleep = sleep
        self._plan = folder.plan()
        self._join = folder.join()
        self._audit = AuditLog(coordinator.folder / "audit.jsonl")
        self._terms = terms_of(self._plan)
        self._trust = coordinator.trust
        settings = coordinator.settings
        self._transport = GridTransport(grid, self._trust, self._plan, settings.phase_seconds)
        self._step = Step("", self._plan.releases[0].phases[0], 0)
        self._secure_sum: SecureSum | None = None

    def go(self) -> Report:
        """Wait for the sites, work off the plan, and write the model.

        Raises:
            GroundswellError: what no other run of the same plan would mend.
        """
        self._folder.clear_stop()
        self._say(run_folder.RUNNING)
        try:
            report = self._go()
        except GroundswellError as error:
            self._say(run_folder.FAILED, str(error))
            self._audit.write("run-ended", run=self._plan.run, state=run_folder.FAILED)
            raise
        self._keep_last_heads()
        self._say(str(report.outcome), report.reason)
        self._audit.write("run-ended", run=self._plan.run, state=str(report.outcome))
        return report

    def _go(self) -> Report:
        workshop = Workshop.open(self._coordinator, rounds=self._plan.rounds)
        missing = self._wait_for_sites()
        if missing:
            return Report(Outcome.PAUSED, missing)
        start = self._start(workshop)
        state = self._state(workshop, start)
        self._secure_sum = SecureSum(
            self._trust,
            self._terms,
            self._coordinator.revocations(),
            first_seq=self._first_seq(state),
            heads={
                site: Head(row, bytes.fromhex(value))
                for site, (row, value) in self._folder.heads().items()
            },
        )
        run = Run(
            self._plan,
            self._join,
            self._secure_sum,
            self._transport,
            workshop.surroundings,
            self._folder.state_folder,
            state,
            Watch(self._started, self._closed, self._void, self._folder.asked_to_stop),
            self._clock,
        )
        report = run.go()
        self._folder.clear_attempt()
        self._keep_heads()
        if report.outcome is Outcome.FINISHED:
            released_model.write(self._folder.model_folder, workshop, self._plan, run.state, start)
            versions = released_model.register(
                self._coordinator.folder / "registry", self._folder, self._plan, run.state
            )
            for version in versions:
                self._audit.write("registered-model", run=self._plan.run, version=version)
        return report

    # --- before the first attempt ---------------------------------------------------------------

    def _wait_for_sites(self) -> str:
        """Why the run can't begin, or "" when enough sites have joined."""
        deadline = self._clock() + self._coordinator.settings.join_seconds
        while True:
            joined = self._transport.join(self._join, int(self._clock()))
            if len(joined) >= max(self._plan.n_min, self._plan.threshold):
                return ""
            if self._clock() >= deadline:
                refusals = sorted(set(self._transport.refusals.values()))
                told = f"; refused with: {', '.join(refusals)}" if refusals else ""
                return (
                    f"{len(joined)} sites joined, and the plan needs {self._plan.n_min}: "
                    f"{', '.join(joined) or 'none'}{told}"
                )
            self._say(run_folder.RUNNING, f"waiting for sites: {len(joined)} joined")
            self._sleep(_JOIN_POLL_SECONDS)

    def _start(self, workshop: Workshop) -> list[checkpoint.Checkpoint]:
        """The released model that the run starts from, if one was named; one for a catalogue."""
        found = released_model.folders(self._folder.path / "start")
        return [checkpoint.load(each, workshop.backbone) for each in found]

    def _state(self, workshop: Workshop, start: Sequence[checkpoint.Checkpoint]) -> RunState:
        state = self._folder.state()
        if state is None:
            state = RunState.begin(workshop.initial_state(self._plan, start))
        kind = self._folder.interrupted(state)
        if kind is None:
            return state
        self._audit.write("attempt-interrupted", run=self._plan.run, kind=kind)
        return replace(
            state,
            retries={**state.retries, kind: state.retries.get(kind, 0) + 1},
            spent=(*state.spent, Spent(kind, self._plan.n_min - self._plan.colluders)),
        )

    def _first_seq(self, state: RunState) -> int:
        """Above whatever any site's ledger or memory may hold of an earlier attempt."""
        seen = [status.seq for status in self._statuses().values() if status.seq < _HIGHEST_SEQ]
        # The attempt in hand, and the next one, whose keys ride along with it.
        return max([state.next_seq, *seen]) + 2

    def _statuses(self) -> dict[str, wire.Status]:
        """What each site says of itself, signed."""
        request = wire.VaultRequest(status=wire.StatusRequest(run=self._terms.run))
        replies = self._transport.exchange(dict.fromkeys(self._transport.sites, request))
        found = {}
        for site, reply in replies.items():
            key = self._transport.public_key(site)
            if key is None or reply.WhichOneof("reply") != "status":
                continue
            try:
                found[site] = open_signed(reply.status, wire.Status, key)
            except Refusal as error:
                log.warning("%s: status: %s", site, error.code)
        return found

    # --- while it runs --------------------------------------------------------------------------

    def _started(self, step: Step) -> None:
        self._step = step
        if self._secure_sum is not None:
            self._secure_sum.revocations = self._coordinator.revocations()
        state = self._folder.state()
        self._folder.note_attempt(state.position if state else 0, step.kind)
        self._say(run_folder.RUNNING)

    def _closed(self, record: RoundRecord) -> None:
        self._keep_heads()
        self._audit.write(
            "closed",
            run=self._plan.run,
            kind=record.kind,
            round=record.round,
            survivors=list(record.survivors),
            central_epsilon=record.central_epsilon,
            local_epsilon=record.local_epsilon,
            bytes=record.bytes,
            seconds=round(record.seconds, 3),
            ndcg=record.ndcg,
            ndcg_se=record.ndcg_se,
        )
        self._say(run_folder.RUNNING)

    def _void(self, step: Step, error: AttemptVoid) -> None:
        self._keep_heads()
        if self._secure_sum is not None:
            self._secure_sum.revocations = self._coordinator.revocations()
        self._audit.write(
            "void", run=self._plan.run, kind=step.kind, round=step.round, code=error.code
        )
        self._say(run_folder.RUNNING, str(error))

    def _keep_heads(self) -> None:
        """Keep the highest head of each site; a lower one in the next run gives it away."""
        heads = self._folder.heads()
        if self._secure_sum is not None:
            for site, head in self._secure_sum.heads.items():
                heads[site] = max(heads.get(site, (0, "")), (head.row, head.hash.hex()))
        self._folder.keep_heads(heads)

    def _keep_last_heads(self) -> None:
        """The heads after the last row, which no advertisement has carried."""
        heads = self._folder.heads()
        for site, status in self._statuses().items():
            last = (status.head.row, status.head.hash.hex())
            heads[site] = max(heads.get(site, (0, "")), last)
        self._folder.keep_heads(heads)

    def _say(self, state: str, reason: str = "") -> None:
        own = ProcessName.of(os.getpid()) or ProcessName(0, 0)
        rows = {site: row for site, (row, _) in self._folder.heads().items()}
        refused = self._secure_sum.refusals if self._secure_sum else {}
        joined = () if state == run_folder.FAILED else self._transport.sites
        names = sorted({*joined, *rows, *refused})
        states = {name: refused.get(name, "ready" if name in joined else "away") for name in names}
        self._folder.write_status(
            RunStatus(
                state,
                self._plan.run,
                round=self._step.round,
                rounds=self._plan.rounds,
                step=self._step.kind,
                reason=reason,
                sites=tuple(SiteStatus(name, states[name], rows.get(name, 0)) for name in names),
                refusals=tuple(sorted(set(self._transport.refusals.values()))),
                pid=own.pid,
                started=own.started,
            )
        )
