"""``groundswell evaluate``: the private model, trained anew before each held-back block."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from groundswell.server.rounds import Outcome
from groundswell.shared.accounting import central_multiplier, reported_epsilon
from groundswell.shared.config_file import LoadedConfig
from groundswell.shared.errors import GroundswellError
from groundswell.shared.plan import Plan
from groundswell.shared.spec import ModelSpec
from groundswell.simulation.evaluate import SLICES, evaluate
from groundswell.simulation.federated import run_in_process
from groundswell.simulation.federation import load_dataset
from groundswell.simulation.folds import average, rolling_origin
from groundswell.simulation.models import PRIVATE
from groundswell.simulation.running import run_id
from groundswell.simulation.scoring import model_scorer
from groundswell.simulation.setting import Setting


@dataclass(frozen=True)
class FoldScore:
    """One fold's NDCG@10 by slice, and what its run alone reserved."""

    number: int
    rows: int
    ndcg: dict[str, float]
    central_epsilon: float
    local_epsilon: float


@dataclass(frozen=True)
class CrossValidation:
    """All folds.

    Attributes:
        mean: mean over folds and its standard error, by slice.
        central_epsilon, local_epsilon: of all folds together, if they were releases: the price of
            choosing by them on users whose model is released.
    """

    folds: tuple[FoldScore, ...]
    mean: dict[str, tuple[float, float]]
    central_epsilon: float
    local_epsilon: float


def cross_validate(
    loaded: LoadedConfig, folds: int, told: Callable[[FoldScore], None]
) -> CrossValidation:
    """Train and measure once for each origin; the test windows of the data are never touched.

    Raises:
        InputError: too little data for so many folds.
    """
    config = loaded.config
    dataset = load_dataset(loaded)
    times = np.concatenate([dataset.times.train, dataset.times.validation])
    found, plans = [], []
    for fold in rolling_origin(times, dataset.task, folds):
        setting = Setting.build(config, replace(dataset, times=fold.times), config.train.seed)
        # The held-back block measures; no fold pays for an evaluation of its own.
        unevaluated = config.model_copy(
            update={"train": config.train.model_copy(update={"evaluations": 0})}
        )
        name = f"{PRIVATE}-fold-{fold.number}"
        plan = setting.plan(
            unevaluated, ModelSpec.of(config.model), run=run_id(config.train.seed, name)
        )
        with (
            tempfile.TemporaryDirectory() as folder,
            run_in_process(setting, plan, Path(folder), seed=config.train.seed) as running,
        ):
            if running.report.outcome is not Outcome.FINISHED:
                raise GroundswellError(f"fold {fold.number}: {running.report.reason}")
            scorer = model_scorer(setting.pooled_workplace(plan), running.model)
            measured = evaluate(scorer, setting.measured)
        sized = setting.sized(unevaluated)
        score = FoldScore(
            fold.number,
            len(setting.measured),
            {name: measured.slices[name].mean("ndcg@10") for name in SLICES},
            sized.eps_c,
            sized.eps_l,
        )
        told(score)
        found.append(score)
        plans.append(plan)
    central, local = _together(plans)
    mean = {name: average([score.ndcg[name] for score in found]) for name in SLICES}
    return CrossValidation(tuple(found), mean, central, local)


def _together(plans: list[Plan]) -> tuple[float, float]:
    """Both epsilons of all plans' events, retries included."""
    central, local = [], []
    for plan in plans:
        for release in plan.releases:
            sigma, q = release.noise_multiplier, release.sampling_rate
            count = release.count + release.retries
            honest = plan.n_min - plan.colluders
            central.append((central_multiplier(sigma, honest, release.scale), q, count))
            local.append((sigma, q, count))
    delta = min(plan.delta for plan in plans)
    return reported_epsilon(central, delta), reported_epsilon(local, delta)
