"""``bench quality --data amazon``: next item in two catalogues, by one federation of both.

Four sites of each department learn one model: real vaults, ledgers and secure sums, all eight in
one roster, adapter and head shared, popularity and transitions in a block for each catalogue. The
model is the product's, with the head ``next``. Protocol and published figures:
``docs/benchmarks.md``. ``RECIPE`` was chosen on the validation rows, which epsilon excludes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from groundswell.server.rounds import Outcome
from groundswell.shared.config import Config
from groundswell.shared.config_file import load_config
from groundswell.shared.errors import GroundswellError
from groundswell.shared.histories import Histories, Int64
from groundswell.shared.metrics import cluster_mean, hit_rate, hits, ndcg
from groundswell.shared.plan import Plan
from groundswell.shared.spec import NEXT, ModelSpec
from groundswell.shared.transfer import ModelState
from groundswell.simulation.benchmarks.amazon_data import (
    DEPARTMENTS,
    Department,
    load_department,
)
from groundswell.simulation.benchmarks.machine import machine
from groundswell.simulation.benchmarks.quality_grid import NO_CAP
from groundswell.simulation.evaluate import Forecast, Scorer
from groundswell.simulation.federated import run_in_process
from groundswell.simulation.joint import JointSetting
from groundswell.simulation.models import Variant
from groundswell.simulation.promise import privacy_of
from groundswell.simulation.running import run_id
from groundswell.simulation.scoring import model_scorer
from groundswell.simulation.setting import Setting
from groundswell.simulation.unseen import extended_scorer

DELTA = 1e-5
RECIPE: Mapping[str, object] = MappingProxyType(
    {
        "model.head": NEXT,
        "privacy.delta": DELTA,
        "privacy.eps_l": NO_CAP,
        "train.rounds": 25,
        "train.evaluations": 0,
    }
)
ALL, COLD, TRANSFER = "all", "cold_items", "transfer"
# The peer has what suits it: texts as they are, and the decay that was found for them.
PEER_DECAY = 0.6
_ROWS_AT_ONCE = 128

Values = dict[str, NDArray[np.float64]]  # metric to one value a row
Spent = Mapping[str, float | int | None]  # what a run's privacy rests on and cost


@dataclass(frozen=True)
class Cell:
    """One variant.

    Attributes:
        eps_c: its cap; noisy: whether sites add noise.
        overrides: values of the configuration by ``section.key`` beside the recipe's.
        transferred: whether it is measured on the department that it was not trained on as well.
    """

    variant: str
    eps_c: float
    noisy: bool = True
    overrides: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    transferred: bool = True

    @property
    def config(self) -> Config:
        """Of its runs."""
        values = {**RECIPE, "privacy.eps_c": self.eps_c, **self.overrides}
        return load_config(None, values).config


CELLS = (
    # Its plan asks for next to no noise, since what is made of a sum follows from the plan's noise,
    # and its gradients are as good as not clipped.
    Cell("not_private", NO_CAP, noisy=False, overrides={"privacy.clip_norm": 100.0}),
    Cell("private_eps3", 3.0, transferred=False),
    Cell("private_eps8", 8.0),
)


@dataclass
class Found:
    """What is known of one variant: measurements by (department, slice), one a seed.

    Attributes:
        spent: by the first seed's run of the same; empty without privacy.
    """

    measured: dict[tuple[str, str], list[Values]] = field(default_factory=dict)
    spent: dict[tuple[str, str], Spent] = field(default_factory=dict)

    def add(self, department: str, name: str, values: Values, spent: Spent) -> None:
        """Note a measurement of one more seed."""
        self.measured.setdefault((department, name), []).append(values)
        self.spent.setdefault((department, name), spent)


class Workshop:
    """Both departments made ready, once for all runs.

    Args:
        rounds: instead of the recipe's, for a trial; None: the recipe's.

    Attributes:
        rounds: of every run.
    """

    def __init__(self, departments: Sequence[Department], rounds: int | None = None) -> None:
        self.departments = departments
        self._rounds = rounds
        config, _ = self._terms(CELLS[0])
        self.rounds = config.train.rounds
        sites = sum(len(each.dataset.sites) for each in departments)
        self.parts = [Setting.build(config, each.dataset, 0, sites) for each in departments]
        self.joint = JointSetting(tuple(self.parts))

    def together(self, cell: Cell, seed: int, found: Found) -> None:
        """One run of all sites, measured in each catalogue."""
        config, spec = self._terms(cell)
        plan = self.joint.plan(config, spec, run=run_id(seed, cell.variant))
        with tempfile.TemporaryDirectory() as folder:
            state, spent = _run(self.joint, plan, Path(folder), seed, cell.noisy)
        workplaces = self.joint.workplaces(plan)
        for department, workplace in zip(self.departments, workplaces, strict=True):
            values = measure(department, model_scorer(workplace, state))
            cold = {name: value[department.cold] for name, value in values.items()}
            found.add(department.name, ALL, values, spent)
            found.add(department.name, COLD, cold, spent)

    def transferred(self, cell: Cell, place: int, seed: int, found: Found) -> None:
        """A run of the other department's sites alone, measured in the catalogue at ``place``."""
        config, spec = self._terms(cell)
        source, wanted = self.parts[1 - place], self.parts[place]
        plan = source.plan(config, spec, run=run_id(seed, f"{cell.variant}-{TRANSFER}"))
        with tempfile.TemporaryDirectory() as folder:
            state, spent = _run(source, plan, Path(folder), seed, cell.noisy)
        scorer = extended_scorer(
            wanted,
            wanted.dataset.catalogue,
            source.dataset.catalogue,
            Variant(cell.variant, config, spec, noisy=cell.noisy),
            plan,
            state,
        )
        department = self.departments[place]
        found.add(department.name, TRANSFER, measure(department, scorer), spent)

    def _terms(self, cell: Cell) -> tuple[Config, ModelSpec]:
        config = cell.config
        if self._rounds is not None:
            train = config.train.model_copy(update={"rounds": self._rounds})
            config = config.model_copy(update={"train": train})
        return config, ModelSpec.of(config.model)


def run(
    folder: Path,
    seeds: int = 3,
    *,
    rounds: int | None = None,
    rows: str = "test",
    told: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure both departments.

    Args:
        folder: holds the Parquet files.
        seeds: of samples and noise.
        rounds: for a trial; the figures are then not the recipe's, and ``rounds`` says so.
        rows: those to measure on, ``test`` or, to choose by, ``valid``.

    Returns:
        The benchmark's JSON: ours is ``private_eps8`` on the first department, the peer its text
        alone, NDCG@10; ``equal``: measured on the same rows.

    Raises:
        InputError: a file is missing.
        GroundswellError: a run did not finish.
    """
    torch.set_num_threads(1)
    workshop = Workshop([load_department(folder, name, rows) for name in DEPARTMENTS], rounds)
    found = {cell.variant: Found() for cell in CELLS}
    for cell in CELLS:
        own = found[cell.variant]
        for seed in range(seeds):
            workshop.together(cell, seed, own)
            told(f"{cell.variant}, seed {seed}: {_told(own)}")
        # A run takes as long as one for a variant's own rows, so there is one seed of it.
        for place in range(len(DEPARTMENTS)) if cell.transferred else ():
            workshop.transferred(cell, place, 0, own)
    text = found["text_alone"] = Found()
    for department, part in zip(workshop.departments, workshop.parts, strict=True):
        values = measure(department, text_alone(part))
        cold = {name: value[department.cold] for name, value in values.items()}
        text.add(department.name, ALL, values, {})
        text.add(department.name, COLD, cold, {})
    first = workshop.departments[0]
    ours, peer = (found[name].measured[first.name, ALL] for name in ("private_eps8", "text_alone"))
    own_mean = float(np.mean([each["ndcg@10"].mean() for each in ours]))
    peer_mean = float(peer[0]["ndcg@10"].mean())
    return {
        "name": "quality",
        "machine": machine(),
        "ours": own_mean,
        "peer": peer_mean,
        "unit": f"NDCG@10 of the next item, {first.name}, full catalogue",
        "ratio": own_mean / peer_mean,
        "higher_is_better": True,
        "equal": all(each["ndcg@10"].shape == peer[0]["ndcg@10"].shape for each in ours),
        "peer_name": "the history's text alone, not private",
        "peer_version": version("groundswell"),
        "seeds": seeds,
        "rounds": workshop.rounds,
        "delta": DELTA,
        "measured": rows,
        "excludes": [
            "the choice of the recipe, on the validation rows",
            "the other runs on the same users: one for each seed, variant and transfer",
        ],
        "cases": [
            case
            for variant, each in found.items()
            for case in _cases(variant, each, workshop.departments)
        ],
    }


def _run(
    sites: Setting | JointSetting, plan: Plan, folder: Path, seed: int, noisy: bool
) -> tuple[ModelState, Spent]:
    """A federated run: what was learned, and what it cost; each site is a merchant of its own."""
    with run_in_process(sites, plan, folder, seed=seed, noisy=noisy) as running:
        if running.report.outcome is not Outcome.FINISHED:
            raise GroundswellError(f"the run did not finish: {running.report.reason}")
        if not noisy:
            return running.model, {}
        spent = privacy_of(plan, running.ledgers.values(), ())
        return running.model, {
            "eps_c": spent.central.epsilon,
            "reserved_eps_c": spent.central.reserved_epsilon,
            "eps_l": spent.local.epsilon,
            "sites": len(sites.names),
            "n_min": plan.n_min,
            "colluding_sites": plan.colluders,
        }


def text_alone(part: Setting) -> Scorer:
    """The peer: the history's texts as they are, decayed, against those of all items."""
    unit = part.encoded.unit

    def score(rows: Histories, at: Int64) -> Forecast:
        age = rows.offsets[1:][rows.row()] - 1 - np.arange(rows.events)
        mean = np.zeros((len(rows), unit.shape[1]))
        np.add.at(mean, rows.row(), PEER_DECAY ** age[:, None] * unit[rows.label])
        return Forecast(mean @ unit.T)

    return score


def measure(department: Department, scorer: Scorer) -> Values:
    """NDCG@10 and HR@10 of each measured row; ties count against the scorer."""
    parts: dict[str, list[NDArray[np.float64]]] = {"ndcg@10": [], "hr@10": []}
    for start in range(0, len(department.target), _ROWS_AT_ONCE):
        chosen = np.arange(start, min(start + _ROWS_AT_ONCE, len(department.target)))
        scores = scorer(department.histories.take(chosen), department.at[chosen]).scores
        positives = np.zeros(scores.shape, dtype=np.bool_)
        positives[np.arange(len(chosen)), department.target[chosen]] = True
        ranked = hits(scores, positives)
        parts["ndcg@10"].append(ndcg(ranked))
        parts["hr@10"].append(hit_rate(ranked))
    return {name: np.concatenate(each) for name, each in parts.items()}


def _told(found: Found) -> str:
    return ", ".join(
        f"{department} {name} {seeds[-1]['ndcg@10'].mean():.4f}"
        for (department, name), seeds in found.measured.items()
    )


def _cases(variant: str, found: Found, departments: Sequence[Department]) -> list[dict[str, Any]]:
    by_name = {each.name: each for each in departments}
    return [
        {
            "data": f"amazon_{name}",
            "variant": variant,
            "slice": part,
            "metrics": {
                metric: _metric([values[metric] for values in seeds], _users(by_name[name], part))
                for metric in ("ndcg@10", "hr@10")
            },
            "privacy": dict(found.spent[name, part]) or None,
        }
        for (name, part), seeds in found.measured.items()
    ]


def _users(department: Department, part: str) -> Int64:
    return department.user[department.cold] if part == COLD else department.user


def _metric(seeds: Sequence[NDArray[np.float64]], user: Int64) -> dict[str, float | int]:
    """Mean, deviation (over seeds where there are several, else over users) and rows."""
    means = [float(values.mean()) if len(values) else float("nan") for values in seeds]
    _, owner = np.unique(user, return_inverse=True)
    sums = np.bincount(owner, weights=seeds[0]).astype(np.float64)
    over_users = cluster_mean(sums, np.bincount(owner).astype(np.float64))
    deviation = float(np.std(means, ddof=1)) if len(means) > 1 else over_users.se
    return {"mean": float(np.mean(means)), "sd": deviation, "n": len(user)}
