"""``groundswell bench federation``: what the framework adds to a bare loop over clients.

All sides train the same network on the same clients in the same order, privacy parts off, on one
thread. The loss after the last round must be the bare loop's, or the figure is void. What the
privacy parts cost stands beside it, part by part.

Processor seconds make the headline, since other programs may run on the machine; Ray's workers are
processes of their own, so there only wall seconds are known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

import torch

from groundswell.simulation.benchmarks import parts
from groundswell.simulation.benchmarks.federation_sides import (
    RAY_WORKERS,
    bare,
    flower_on_ray,
    ours,
    pfl,
)
from groundswell.simulation.benchmarks.federation_task import (
    FederationTask,
    Outcome,
    flat,
    held_out_loss,
    network,
)
from groundswell.simulation.benchmarks.machine import machine, peak_bytes

POPULATIONS = (1_000, 10_000)
LOSS_TOLERANCE = 1e-5  # relative; sums in another order differ in their last bits
PFL_MISSING = (
    "not installed: pip install --no-deps --target DIR pfl==0.6.0 'multiprocess<0.71' dill "
    "prv-accountant; PYTHONPATH=DIR (its pins do not fit ours)"
)


@dataclass
class _Timed:
    """What the runs of one side took."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    outcome: Outcome | None = None

    def run(self, side: Callable[[FederationTask], Outcome], task: FederationTask) -> Outcome:
        start = time.process_time()
        self.outcome = side(task)
        self.processor.append(time.process_time() - start)
        self.wall.append(self.outcome.seconds)
        return self.outcome


def run(
    clients: int = 200,
    cohort: int = 20,
    rounds: int = 30,
    *,
    repeats: int = 5,
    ray: bool = True,
    populations: tuple[int, ...] = POPULATIONS,
) -> dict[str, Any]:
    """Measure all sides.

    Args:
        clients: of the population; cohort: of one round.
        repeats: runs of bare loop, ours and pfl, taken in turn.
        ray: also run Flower's Ray engine, once, with two workers.
        populations: further ones that ours runs with the same cohort.

    Returns:
        The benchmark's JSON. ``equal``: every side ends with the bare loop's loss.
    """
    torch.set_num_threads(1)
    task = FederationTask(clients, cohort, rounds)
    sides: dict[str, Callable[[FederationTask], Outcome]] = {"bare loop": bare, "ours": ours}
    if _pfl_version():
        sides["pfl"] = pfl
    timed = {name: _Timed() for name in sides}
    for side in sides.values():
        side(FederationTask(clients, cohort, 1))
    for _ in range(repeats):
        for name, side in sides.items():
            timed[name].run(side, task)
    loop = timed["bare loop"]
    loss = _loss(loop)
    cases = [_case(name, task, each, loop, loss) for name, each in timed.items()]
    if not _pfl_version():
        cases.append({"case": "pfl", "note": PFL_MISSING})
    if ray:
        on_ray = _Timed()
        on_ray.run(flower_on_ray, task)
        on_ray.processor = []
        name = f"Flower {version('flwr')} on Ray, {RAY_WORKERS} workers"
        cases.append(_case(name, task, on_ray, loop, loss))
    cases += [_population(FederationTask(each, cohort, rounds)) for each in populations]
    cases += privacy_parts(cohort, rounds)
    own, peer = median(timed["ours"].processor), median(loop.processor)
    return {
        "name": "federation",
        "machine": f"{machine()}, 1 thread",
        "ours": own,
        "peer": peer,
        "unit": f"processor seconds of {rounds} rounds of {cohort} of {clients} clients",
        "ratio": peer / own,
        "higher_is_better": False,
        "equal": all(case.get("equal") is not False for case in cases),
        "peer_name": "the bare loop",
        "peer_version": f"torch {version('torch')}",
        "cases": cases,
    }


def privacy_parts(cohort: int, rounds: int) -> list[dict[str, Any]]:
    """Milliseconds of each privacy part in one round, all sites of the cohort together.

    Here every client is a site with one user's vector to clip, so nothing is shared out over users.
    """
    dim = len(flat(network()))
    summed = parts.sum_cost(cohort, dim)
    found = {
        "clip and round": parts.clip_seconds(cohort, dim),
        "noise": cohort * parts.noise_seconds(dim),
        "secure sum, sites": cohort * summed.site_seconds,
        "secure sum, coordinator": summed.coordinator_seconds,
        "ledger, three rows flushed to disk": cohort * parts.ledger_cost(cohort).seconds,
        "accounting, both tiers": 2 * parts.accounting_seconds(rounds),
    }
    return [
        {
            "case": f"privacy part: {name}",
            "cohort": cohort,
            "milliseconds_a_round": 1000 * seconds,
            "equal": summed.exact,
        }
        for name, seconds in found.items()
    ]


def _population(task: FederationTask) -> dict[str, Any]:
    """Ours and the bare loop with more clients and the same cohort."""
    loop, own = _Timed(), _Timed()
    loop.run(bare, task)
    used = peak_bytes(lambda: own.run(ours, task))
    found = _case("ours", task, own, loop, _loss(loop))
    return found | {"peak_bytes": used}


def _case(
    name: str, task: FederationTask, timed: _Timed, loop: _Timed, loss: float
) -> dict[str, Any]:
    own = _loss(timed)
    either, other = (
        (timed.processor, loop.processor) if timed.processor else (timed.wall, loop.wall)
    )
    return {
        "case": name,
        "clients": task.clients,
        "cohort": task.cohort,
        "wall_seconds": median(timed.wall),
        "processor_seconds": median(timed.processor) if timed.processor else None,
        "over_bare_loop": median(either) / median(other),
        "loss": own,
        "equal": abs(own - loss) <= LOSS_TOLERANCE * loss,
    }


def _loss(timed: _Timed) -> float:
    if timed.outcome is None:
        raise ValueError("the side was not run")
    return held_out_loss(timed.outcome.weights)


def _pfl_version() -> str:
    try:
        return version("pfl")
    except PackageNotFoundError:
        return ""
