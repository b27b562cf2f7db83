"""Data sites of a rehearsal with canaries among their users, and what the auditor learns of them.

The vault is the real one. Only its gradient job knows the canaries: it lays their directions where
Opacus would have left their gradients, and from there on they are users like any other: clipped,
rounded, added up, noised, charged, masked and unmasked.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from groundswell.client.attempt import Admission
from groundswell.client.contributions import GradientJob, SiteData, Workplace
from groundswell.client.gradients import ClipRule, IntegerDPOptimizer
from groundswell.client.job import ATTEMPT, Job
from groundswell.client.ledger import Ledger
from groundswell.client.mechanism import rounding_keys
from groundswell.client.policy import SitePolicy
from groundswell.client.vault import Identity, Pace, RandomSource, Vault
from groundswell.shared.histories import Int64
from groundswell.shared.plan import Plan, PlannedRelease
from groundswell.shared.transfer import ModelState
from groundswell.simulation.audit import Canaries

# A canary's gradient is far beyond the clip norm, so that a missing clip shows as well.
CANARY_LENGTH = 100.0

Sums = NDArray[np.int64]


def _zero() -> Sums:
    return np.zeros((), dtype=np.int64)


@dataclass
class Knowledge:
    """What the auditor knows of each round's sum, added up over sites; int64 ``[d]`` by round.

    Attributes:
        others: all that is no canary's: users' vectors, and whole what colluding sites sent.
        planted: the canaries' vectors.
    """

    others: defaultdict[int, Sums] = field(default_factory=lambda: defaultdict(_zero))
    planted: defaultdict[int, Sums] = field(default_factory=lambda: defaultdict(_zero))


@dataclass(frozen=True)
class PlantedData(SiteData):
    """A site's users, and the canaries among them.

    Attributes:
        canaries: of the whole audit.
        held: indices of those that are users of this site.
        known: told of every sum.
    """

    canaries: Canaries = field(kw_only=True, repr=False)
    held: Int64 = field(kw_only=True, repr=False)
    known: Knowledge = field(kw_only=True, repr=False)

    def workplace(self, plan: Plan) -> Workplace:
        return _PlantedWorkplace(self, plan)


class _PlantedWorkplace(Workplace):
    def __init__(self, data: PlantedData, plan: Plan) -> None:
        super().__init__(data, plan)
        self._data = data

    def job(self, release: PlannedRelease, round_number: int, model: ModelState) -> Job:
        job = super().job(release, round_number, model)
        if isinstance(job, GradientJob):
            return _PlantedJob(self, release, model, self._data, round_number)
        return job


class _PlantedJob(GradientJob):
    """A gradient release whose last users are canaries."""

    def __init__(
        self,
        workplace: Workplace,
        release: PlannedRelease,
        model: ModelState,
        data: PlantedData,
        round_number: int,
    ) -> None:
        super().__init__(workplace, release, model)
        self._ordinary = self.users
        self.users += len(data.held)
        self._data = data
        self._round = round_number

    def integer_sum(self, rows: Int64, attempt_secret: bytes, slots: int | None) -> Sums:
        ordinary = super().integer_sum(rows[rows < self._ordinary], attempt_secret, slots)
        canaries = self._data.held[rows[rows >= self._ordinary] - self._ordinary]
        planted = self._planted(canaries, attempt_secret)
        known = self._data.known
        known.others[self._round] = known.others[self._round] + ordinary
        known.planted[self._round] = known.planted[self._round] + planted
        return ordinary + planted

    def _planted(self, canaries: Int64, attempt_secret: bytes) -> Sums:
        """int64 ``[d]``: the sum of some canaries' integer vectors, by the site's own optimiser."""
        release, plan = self.release, self.workplace.plan
        rule = ClipRule(release.clip_norm, release.scale, release.max_nonzero, plan.clipping)
        parameters = self.workplace.gradients.parameters
        optimiser = IntegerDPOptimizer(parameters, rule)
        if not len(canaries):
            return optimiser.total
        names = [f"canary-{canary}" for canary in canaries]
        optimiser.keys = rounding_keys(ATTEMPT + attempt_secret, names)
        directions = torch.from_numpy(self._data.canaries.directions[canaries])
        start = 0
        for name in sorted(parameters):
            parameter = parameters[name]
            part = directions[:, start : start + parameter.numel()]
            sample = part.reshape(len(part), *parameter.shape) * (CANARY_LENGTH * rule.clip_norm)
            vars(parameter)["grad_sample"] = sample
            start += parameter.numel()
        optimiser.clip_and_accumulate()
        optimiser.zero_grad()
        return optimiser.total


class ColludingVault(Vault):
    """A site on the auditor's side: it tells all that it sends, its noise included."""

    def __init__(
        self,
        known: Knowledge,
        identity: Identity,
        policy: SitePolicy,
        ledger: Ledger,
        data: SiteData,
        *,
        randomness: RandomSource,
        pace: Pace,
    ) -> None:
        super().__init__(identity, policy, ledger, data, randomness=randomness, pace=pace)
        self._known = known

    def _release(self, release: PlannedRelease, admission: Admission, job: Job) -> Sums:
        sent = super()._release(release, admission, job)
        self._known.others[admission.round] = self._known.others[admission.round] + sent
        return sent
