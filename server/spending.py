"""What a run has spent so far, as the coordinator sees it from the survivor sets of its sums.

Each site's own ledger is what counts; this view serves the round lines, the manifest and the
dashboard. Every attempt that reached P1 counts: a closed one at its survivors, a void one at the
plan's least number of honest sites.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from groundswell.shared.accounting import central_multiplier, reported_epsilon
from groundswell.shared.plan import Plan, PlannedRelease


@dataclass(frozen=True)
class Spent:
    """One attempt: its kind and the honest sites that the charge rests on."""

    kind: str
    honest: int


@dataclass(frozen=True)
class Tiers:
    """Epsilon of both tiers at the plan's delta."""

    central: float
    local: float


def epsilons(plan: Plan, spent: Iterable[Spent]) -> Tiers:
    """Both epsilons of the attempts in ``spent``, at the plan's delta.

    What the overflow of a site's slots adds to delta stands in that site's own ledger.
    """
    central, local = [], []
    for each in spent:
        release = _release(plan, each.kind)
        rate = release.sampling_rate
        sigma = release.noise_multiplier
        local.append((sigma, rate, 1))
        central.append((central_multiplier(sigma, each.honest, release.scale), rate, 1))
    return Tiers(reported_epsilon(central, plan.delta), reported_epsilon(local, plan.delta))


def reserved(plan: Plan) -> Tiers:
    """Both epsilons of everything that the plan pays for, retries included, at n_min survivors."""
    honest = plan.n_min - plan.colluders
    return epsilons(
        plan,
        [
            Spent(release.kind, honest)
            for release in plan.releases
            for _ in range(release.count + release.retries)
        ],
    )


def _release(plan: Plan, kind: str) -> PlannedRelease:
    release = plan.release(kind)
    if release is None:
        raise KeyError(kind)
    return release
