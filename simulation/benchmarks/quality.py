"""``groundswell bench quality``: what each part of the model is worth on The Complete Journey.

Each cell is a whole federated run: real vaults, ledgers and secure sums (``simulation/federated``),
measured on the test weeks by ``docs/benchmarks.md``. Peer: ``backoff``, the household's own decayed
counts mixed with overall frequency, both tuned, without privacy. Differences are paired.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from groundswell.server.rounds import Outcome
from groundswell.shared.config import Config
from groundswell.shared.config_file import load_config
from groundswell.shared.errors import GroundswellError, InputError
from groundswell.shared.metrics import cluster_mean, paired_difference
from groundswell.shared.spec import ModelSpec
from groundswell.simulation import baselines
from groundswell.simulation.baselines.baseline import TrainingData
from groundswell.simulation.benchmarks.machine import machine
from groundswell.simulation.benchmarks.quality_grid import HEADLINE, Cell, cells
from groundswell.simulation.datasets import complete_journey
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.evaluate import ALL, Measurement, SliceSums, evaluate
from groundswell.simulation.federated import run_in_process
from groundswell.simulation.models import BACKOFF
from groundswell.simulation.promise import privacy_of
from groundswell.simulation.running import run_id
from groundswell.simulation.scoring import model_scorer
from groundswell.simulation.setting import Setting

COMPLETE_JOURNEY, AMAZON = "complete_journey", "amazon"
METRICS = ("ndcg@10", "recall@10", "hr@10")
LoadDataset = Callable[[Config], Dataset]


@dataclass
class Found:
    """What is known of one variant.

    Attributes:
        seeds: a measurement for each seed.
        epsilon: both tiers' of the first seed; empty without privacy.
        peer: of the same users in the same order, which other sites bring in another order.
    """

    peer: Measurement
    seeds: list[Measurement] = field(default_factory=list)
    epsilon: dict[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0


class Workshop:
    """Runs cells; settings that several cells share are made once.

    Args:
        load: gives the data set of a configuration.
        rounds: instead of the recipe's; None: the recipe's.
    """

    def __init__(self, load: LoadDataset, rounds: int | None = None) -> None:
        self._load = load
        self._rounds = rounds
        self._settings: dict[tuple[int, int, str], Setting] = {}
        self._peers: dict[int, Measurement] = {}

    def config(self, cell: Cell) -> Config:
        """The configuration of a cell."""
        return load_config(None, {"train.rounds": self._rounds, **cell.overrides}).config

    def setting(self, config: Config) -> Setting:
        """The data and the backbone's part of it, for so many sites and layers."""
        key = (config.sites.number, config.model.layers, config.model.backbone)
        if key not in self._settings:
            self._settings[key] = Setting.build(config, self._load(config), config.train.seed)
        return self._settings[key]

    def measure(self, cell: Cell, seed: int) -> tuple[Measurement, dict[str, float | None]]:
        """One federated run of a cell, and both epsilons of it.

        Raises:
            GroundswellError: the run did not finish.
        """
        config = self.config(cell)
        setting = self.setting(config)
        plan = setting.plan(config, ModelSpec.of(config.model), run=run_id(seed, cell.variant))
        with (
            tempfile.TemporaryDirectory() as folder,
            run_in_process(setting, plan, Path(folder), seed=seed, noisy=cell.noisy) as running,
        ):
            if running.report.outcome is not Outcome.FINISHED:
                raise GroundswellError(f"{cell.variant}: {running.report.reason}")
            state = running.model
            spent = privacy_of(plan, running.ledgers.values(), ()) if cell.noisy else None
        scorer = model_scorer(setting.pooled_workplace(plan), state)
        epsilon = {
            "eps_c": spent.central.epsilon if spent else None,
            "eps_l": spent.local.epsilon if spent else None,
        }
        return evaluate(scorer, setting.measured), epsilon

    def backoff(self, cell: Cell) -> Measurement:
        """The peer on the cell's rows, users in the order of its sites."""
        config = self.config(cell)
        number = config.sites.number
        if number not in self._peers:
            setting = self.setting(config)
            data = TrainingData(
                setting.sites.pooled.histories,
                setting.dataset.task,
                setting.dataset.catalogue,
                setting.dataset.times,
                0,
            )
            fitted = baselines.make(BACKOFF).fit(data)
            self._peers[number] = evaluate(fitted.scores, setting.measured)
        return self._peers[number]


def run(
    data: str = COMPLETE_JOURNEY,
    grid: str = "default",
    seeds: int = 3,
    *,
    rounds: int | None = None,
    chosen: Sequence[Cell] | None = None,
    load: LoadDataset | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run a grid.

    Args:
        grid: ``default`` or ``all``.
        rounds: for a trial; the figures are then not the recipe's, and ``rounds`` says so.
        chosen: cells instead of the grid's.
        load: another data set, for tests.
        told: hears a line for every finished run.

    Returns:
        The benchmark's JSON: ours is ``private_eps3``, the peer ``backoff``, NDCG@10 on all rows.
        ``equal``: both were measured on the same rows.

    Raises:
        InputError: a data set or grid that there is not.
    """
    if data != COMPLETE_JOURNEY:
        raise InputError(
            "--data", data, f"must be {COMPLETE_JOURNEY} or {AMAZON}", "choose one of them"
        )
    wanted = tuple(chosen) if chosen is not None else cells(grid)
    torch.set_num_threads(1)
    workshop = Workshop(load or (lambda c: complete_journey.load(c.sites.number)), rounds)
    found: dict[str, Found] = {}
    for cell in wanted:
        each = found[cell.variant] = Found(workshop.backoff(cell))
        for seed in range(seeds):
            start = time.monotonic()
            measured, each.epsilon = workshop.measure(cell, seed)
            each.seconds += time.monotonic() - start
            each.seeds.append(measured)
            told(f"{cell.variant}, seed {seed}: {measured.slices[ALL].mean('ndcg@10'):.4f}")
    peer = workshop.backoff(HEADLINE)
    found[BACKOFF] = Found(peer, [peer])
    return _report(found, workshop.config(HEADLINE), seeds)


def _report(found: Mapping[str, Found], config: Config, seeds: int) -> dict[str, Any]:
    headline = found[HEADLINE.variant if HEADLINE.variant in found else next(iter(found))]
    peer = found[BACKOFF].seeds[0]
    own, other = (
        float(np.mean([each.slices[ALL].mean("ndcg@10") for each in seed]))
        for seed in (headline.seeds, [peer])
    )
    return {
        "name": "quality",
        "machine": machine(),
        "ours": own,
        "peer": other,
        "unit": "NDCG@10 on all test rows",
        "ratio": own / other,
        "higher_is_better": True,
        "equal": _rows(headline.seeds[0]) == _rows(peer),
        "peer_name": "backoff, tuned, not private",
        "peer_version": version("groundswell"),
        "seeds": seeds,
        "rounds": config.train.rounds,
        "cases": [
            _case(variant, each, name)
            for variant, each in found.items()
            for name in each.seeds[0].slices
        ],
    }


def _rows(measured: Measurement) -> dict[str, float]:
    return {name: float(sums.rows.sum()) for name, sums in measured.slices.items()}


def _case(variant: str, found: Found, name: str) -> dict[str, Any]:
    sums = [each.slices[name] for each in found.seeds]
    other = found.peer.slices[name]
    difference = None
    if variant != BACKOFF:
        if not np.array_equal(other.rows, sums[0].rows):
            raise GroundswellError(f"{variant} and {BACKOFF} were measured on different rows")
        mean = np.mean([each.sums["ndcg@10"] for each in sums], axis=0)
        paired = paired_difference(mean, other.sums["ndcg@10"], other.rows)
        difference = {"against": BACKOFF, "ndcg@10": paired.mean, "se": paired.se}
    return {
        "data": COMPLETE_JOURNEY,
        "variant": variant,
        "slice": name,
        "metrics": {metric: _metric(sums, metric) for metric in METRICS},
        "paired": difference,
        "epsilon": found.epsilon or None,
        "seconds": found.seconds,
    }


def _metric(sums: Sequence[SliceSums], metric: str) -> dict[str, float | int]:
    """Mean, deviation (over seeds where there are several, else over users) and rows."""
    means = [each.mean(metric) for each in sums]
    over_users = cluster_mean(sums[0].sums[metric], sums[0].rows)
    deviation = float(np.std(means, ddof=1)) if len(means) > 1 else over_users.se
    return {"mean": float(np.mean(means)), "sd": deviation, "n": over_users.n}
