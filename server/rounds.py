"""Drives a run from its first statistic to its last evaluation, one secure sum at a time.

An attempt that ends void is tried again within what the plan pays for: at most twice a round and
``retries`` times a run. Beyond that a round pauses the run with a clear state, and a statistic is
left out (or its older release stays in use). There is no silent empty round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from groundswell.server import applying, checkpointing
from groundswell.server.checkpointing import LeftOut, RoundRecord, RunState
from groundswell.server.schedule import Step, schedule
from groundswell.server.spending import Spent, epsilons
from groundswell.server.transport import GridTransport
from groundswell.server.unmasking import Release, SecureSum, SecureTotal, drive
from groundswell.shared.errors import AttemptVoid
from groundswell.shared.plan import EVALUATION, GRADIENT, Phase, Plan, PlannedRelease
from groundswell.shared.stopping import Look, should_stop
from groundswell.shared.wire import groundswell_pb2 as wire

RETRIES_A_ROUND = 2


class Outcome(StrEnum):
    """How a call of ``Run.go`` ended."""

    FINISHED = "finished"
    STOPPED = "stopped"  # by the operator, after the round in hand
    PAUSED = "paused"  # too few sites; goes on when asked to


@dataclass(frozen=True)
class Report:
    """How it ended, and why if it paused."""

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True)
class Watch:
    """What a run tells others while it goes on; each may be replaced by whoever listens."""

    started: Callable[[Step], None] = lambda step: None
    closed: Callable[[RoundRecord], None] = lambda record: None
    void: Callable[[Step, AttemptVoid], None] = lambda step, error: None
    stop: Callable[[], bool] = lambda: False
    summed: Callable[[Step, SecureTotal], None] = lambda step, total: None


class Run:
    """One run of one plan.

    Args:
        plan: signed in ``join``.
        secure_sum: the coordinator's half, at the state's next seq.
        transport: the way to the sites.
        around: what is public of each of the plan's catalogues, in their order.
        folder: where the state is kept.
        state: to go on from.
        clock: Unix seconds.
    """

    def __init__(
        self,
        plan: Plan,
        join: wire.JoinRequest,
        secure_sum: SecureSum,
        transport: GridTransport,
        around: Sequence[applying.Surroundings],
        folder: Path,
        state: RunState,
        watch: Watch | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.plan = plan
        self.state = state
        self._join = join
        self._secure_sum = secure_sum
        self._transport = transport
        self._around = around
        self._folder = folder
        self._watch = watch or Watch()
        self._clock = clock
        self._steps = schedule(plan)

    def go(self) -> Report:
        """Work off the schedule from where the state stands."""
        while self.state.position < len(self._steps):
            if self._watch.stop():
                return Report(Outcome.STOPPED)
            step = self._steps[self.state.position]
            self._watch.started(step)
            reason = self._step(step)
            if reason:
                return Report(Outcome.PAUSED, reason)
        self._exchange_heads()
        return Report(Outcome.FINISHED)

    def _step(self, step: Step) -> str:
        """One step with its retries; returns why the run can't go on, or ""."""
        release = self.plan.release(step.kind)
        if release is None:
            raise KeyError(step.kind)
        failures = 0
        while True:
            started = time.monotonic()
            carried = self._transport.bytes
            try:
                total = self._attempt(step, release)
            except AttemptVoid as error:
                failures += 1
                reason = self._void(step, release, failures, error)
                if reason is None:
                    continue
                return reason
            seconds = time.monotonic() - started
            self._watch.summed(step, total)
            self._close(step, release, total, self._transport.bytes - carried, seconds)
            return ""

    def _attempt(self, step: Step, release: PlannedRelease) -> SecureTotal:
        now = int(self._clock())
        sites = self._transport.join(self._join, now)
        model = self.state.model
        wanted = Release(step.kind, step.round, model.pack(), model.hash(), release.dimension)
        following = self.state.position + 1 < len(self._steps)
        attempt = self._secure_sum.attempt(wanted, sites=sites, following=following, now=now)
        return drive(attempt, self._transport.exchange)

    def _void(
        self, step: Step, release: PlannedRelease, failures: int, error: AttemptVoid
    ) -> str | None:
        """Charge the attempt; None: try again; "": go on without it; else why the run pauses."""
        self._watch.void(step, error)
        used = self.state.retries.get(step.kind, 0) + 1
        spent = Spent(step.kind, self.plan.n_min - self.plan.colluders)
        self.state = replace(
            self.state,
            retries={**self.state.retries, step.kind: used},
            spent=(*self.state.spent, spent),
            next_seq=self._secure_sum.next_seq,
        )
        self._save()
        limited = step.phase is Phase.ROUNDS and failures > RETRIES_A_ROUND
        if used <= release.retries and not limited:
            return None
        if step.phase is Phase.ROUNDS:
            return f"round {step.round}: {error}; the retries that the plan pays for are used up"
        self.state = replace(
            self.state,
            position=self.state.position + 1,
            left_out=(*self.state.left_out, LeftOut(step.kind, step.phase)),
        )
        self._save()
        return ""

    def _close(
        self, step: Step, release: PlannedRelease, total: SecureTotal, carried: int, seconds: float
    ) -> None:
        score = None
        if step.kind == GRADIENT:
            state = applying.apply_gradient(self.state, self.plan, release, total)
            if step.round == self.plan.rounds:
                state = applying.finish(state)
        elif step.kind == EVALUATION:
            state, score = self.state, applying.read_score(release, total)
        else:
            state = applying.apply_statistic(
                self.state,
                self.plan,
                release,
                total,
                step.phase,
                self._around,
                self._transport.catalogue_number,
            )
        spent = (*state.spent, Spent(step.kind, total.honest))
        tiers = epsilons(self.plan, spent)
        record = RoundRecord(
            step.kind,
            str(step.phase),
            step.round,
            total.survivors,
            score.value if score else None,
            score.se if score else None,
            tiers.central,
            tiers.local,
            carried,
            seconds,
        )
        self.state = replace(
            state,
            position=state.position + 1,
            next_seq=self._secure_sum.next_seq,
            spent=spent,
            records=(*state.records, record),
        )
        if score is not None and step.round <= self.plan.rounds:
            self._look()
        self._save()
        self._watch.closed(record)

    def _look(self) -> None:
        """After a paid evaluation between rounds: keep the model, or go back and stop training."""
        looks = [
            Look(record.round, record.ndcg, record.ndcg_se or 0.0)
            for record in self.state.records
            if record.ndcg is not None
        ]
        if not self.plan.optimiser.early_stopping or not should_stop(looks):
            self.state = replace(self.state, kept=self.state.model.weights)
            return
        rest = self._steps[self.state.position :]
        later = next((i for i, each in enumerate(rest) if each.phase is Phase.REFRESH), len(rest))
        self.state = replace(
            self.state,
            model=replace(self.state.model, weights=self.state.kept),
            position=self.state.position + later,
        )

    def _save(self) -> None:
        checkpointing.save(self._folder, self.state, self.plan.hash())

    def _exchange_heads(self) -> None:
        """Collect every site's last signed ledger head and hand all of them to all sites."""
        run = bytes.fromhex(self.plan.run)
        heads: list[wire.Signed] = []
        for _ in range(2):
            request = wire.VaultRequest(finish=wire.FinishRequest(run=run, heads=heads))
            replies = self._transport.exchange(dict.fromkeys(self._transport.sites, request))
            heads = [
                reply.finished
                for reply in replies.values()
                if reply.WhichOneof("reply") == "finished"
            ]
