"""The ServerApp of ``flwr run .``: the demo federation on Flower's own simulation engine.

Flower starts Ray and the relays; the vaults are Ray actors, as in ``ray_engine.py``.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import ray
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from groundswell.server.checkpointing import RoundRecord
from groundswell.server.rounds import Outcome, Watch
from groundswell.shared.config_file import load_config
from groundswell.shared.errors import InputError
from groundswell.shared.spec import ModelSpec
from groundswell.simulation.datasets import complete_journey
from groundswell.simulation.federated import make_run, recipes
from groundswell.simulation.models import PRIVATE
from groundswell.simulation.promise import privacy_of
from groundswell.simulation.ray_engine import vault_actors
from groundswell.simulation.running import run_id
from groundswell.simulation.saving import save_trained
from groundswell.simulation.setting import Setting

__all__ = ["app"]

FEWEST_SITES = 4
_RAY_SECONDS = 120.0

log = logging.getLogger("flwr")
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train over one site a virtual SuperNode, and save the model."""
    sites = len(list(grid.get_node_ids()))
    if sites < FEWEST_SITES:
        raise InputError(
            "num-supernodes",
            sites,
            f"the federation needs at least {FEWEST_SITES} sites",
            'run: flwr run . --stream --federation-config "num-supernodes=4"',
        )
    _await_ray()
    options = context.run_config
    seed = int(str(options["seed"]))
    loaded = load_config(
        None,
        {"sites.number": sites, "train.rounds": int(str(options["rounds"])), "train.seed": seed},
    )
    out = Path(str(options["out"])).resolve() / time.strftime("%Y%m%d-%H%M%S")
    setting = Setting.build(loaded.config, complete_journey.load(sites), seed)
    plan = setting.plan(loaded.config, ModelSpec.of(loaded.config.model), run=run_id(seed, PRIVATE))
    found = recipes(setting, plan, out, seed=seed, noisy=True)
    consortium = next(iter(found.values())).consortium()
    with vault_actors(found, setting.backbone.name) as first_seq:
        run = make_run(
            setting,
            plan,
            out,
            grid,
            consortium,
            first_seq=first_seq,
            resume=False,
            watch=Watch(closed=_tell),
        )
        report = run.go()
    if report.outcome is not Outcome.FINISHED:
        log.error("groundswell: the run is %s: %s", report.outcome, report.reason)
        return
    ledgers = {name: recipe.ledger() for name, recipe in found.items()}
    privacy = privacy_of(plan, ledgers.values(), setting.dataset.excludes)
    for ledger in ledgers.values():
        ledger.close()
    save_trained(out / "model", setting, plan, run.state.model, privacy)
    log.info("groundswell: run finished, model in %s", out / "model")


def _await_ray() -> None:
    """Flower starts the ServerApp and Ray side by side."""
    end = time.monotonic() + _RAY_SECONDS
    while not ray.is_initialized():
        if time.monotonic() > end:
            raise InputError(
                "ray", "not started", "Flower's simulation engine did not start Ray in two minutes",
                "see the SuperLink's log",
            )  # fmt: skip
        time.sleep(0.2)


def _tell(record: RoundRecord) -> None:
    log.info(
        "groundswell: %s %d: %d sites, eps_C %.2f, eps_L %.2f, %.1f s",
        record.kind,
        record.round,
        len(record.survivors),
        record.central_epsilon,
        record.local_epsilon,
        record.seconds,
    )
