"""``bench quality --data amazon``: next item in two departments, everything learned under DP.

A score is a weighted sum of what ``amazon_scores`` lists: text, brand, repetition, popularity and
ordered pairs. Counts (``amazon_counts``) are released once, and then the weights are trained in
private steps (``amazon_head``), each department's on its own users; nothing else is learned.
Protocol and published figures: ``docs/benchmarks.md``. The list, its constants and the steps' size
were chosen on the validation rows without privacy, which epsilon excludes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.backbone import load_backbone
from groundswell.shared.metrics import cluster_mean, hit_rate, hits, ndcg
from groundswell.simulation.benchmarks.amazon_counts import (
    DELTA,
    Counts,
    deviations,
    exact,
    nothing,
    released,
)
from groundswell.simulation.benchmarks.amazon_data import (
    DEPARTMENTS,
    Department,
    Float32,
    Int64,
    load_department,
)
from groundswell.simulation.benchmarks.amazon_head import Noise, train
from groundswell.simulation.benchmarks.amazon_scores import FEATURES, decayed, features
from groundswell.simulation.benchmarks.machine import machine
from groundswell.simulation.seeded import SeededRandomness

EPSILONS = (3.0, 8.0)
NOT_PRIVATE = "not_private"
ALL, COLD, TRANSFER = "all", "cold_items", "transfer"
TRANSFERRED = (NOT_PRIVATE, "private_eps8")
# The peer has what suits it: texts as they are, and the decay that was found for them.
PEER_DECAY = 0.6
_ROWS_AT_ONCE = 512

Values = dict[str, NDArray[np.float64]]  # metric to one value a row


@dataclass(frozen=True)
class Learned:
    """Counts of a department and the weights trained on them, float32 ``[len(FEATURES)]``."""

    counts: Counts = field(repr=False)
    weights: Float32


def run(
    folder: Path,
    seeds: int = 3,
    *,
    rows: str = "test",
    told: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure both departments.

    Args:
        folder: holds the Parquet files.
        seeds: of the noise.
        rows: those to measure on, ``test`` or, to choose by, ``valid``.

    Returns:
        The benchmark's JSON: ours is ``private_eps8`` on the first department, the peer its text
        alone, NDCG@10; ``equal``: measured on the same rows.

    Raises:
        InputError: a file is missing.
    """
    backbone = load_backbone()
    departments = [load_department(folder, name, backbone, rows) for name in DEPARTMENTS]
    learned = [_learn(department, seeds, told) for department in departments]
    cases: list[dict[str, Any]] = []
    headline: list[tuple[float, float, bool]] = []
    for place, department in enumerate(departments):
        measured = _variants(department, learned[place], learned[1 - place], told)
        text = measure_text_alone(department)
        measured["text_alone"] = {ALL: [text], COLD: [text]}
        cases += _cases(department, measured)
        ours = measured["private_eps8"][ALL]
        own = float(np.mean([each["ndcg@10"].mean() for each in ours]))
        same = all(each["ndcg@10"].shape == text["ndcg@10"].shape for each in ours)
        headline.append((own, float(text["ndcg@10"].mean()), same))
    own, other, _ = headline[0]
    return {
        "name": "quality",
        "machine": machine(),
        "ours": own,
        "peer": other,
        "unit": f"NDCG@10 of the next item, {DEPARTMENTS[0]}, full catalogue",
        "ratio": own / other,
        "higher_is_better": True,
        "equal": all(same for _, _, same in headline),
        "peer_name": "the history's text alone, not private",
        "peer_version": version("groundswell"),
        "seeds": seeds,
        "delta": DELTA,
        "excludes": ["the choice of what a score is made of, on the validation rows"],
        "cases": cases,
    }


def _learn(
    department: Department, seeds: int, told: Callable[[str], None]
) -> dict[str, list[Learned]]:
    """Each variant, one a seed."""
    counts = exact(department)
    found = {NOT_PRIVATE: [Learned(counts, train(department, counts, None))]}
    for eps in EPSILONS:
        deviation = deviations(eps)["head"]
        each = found[f"private_eps{eps:g}"] = []
        for seed in range(seeds):
            counts = released(department, eps, seed)
            draw = SeededRandomness(seed, "amazon head", department.name, str(eps)).generator()
            each.append(Learned(counts, train(department, counts, Noise(deviation, draw))))
    for variant, models in found.items():
        means = np.mean([model.weights for model in models], axis=0)
        weights = ", ".join(f"{k} {v:.2f}" for k, v in zip(FEATURES, means, strict=True))
        told(f"{department.name}, {variant}: weights {weights}")
    return found


def _variants(
    department: Department,
    own: Mapping[str, Sequence[Learned]],
    elsewhere: Mapping[str, Sequence[Learned]],
    told: Callable[[str], None],
) -> dict[str, dict[str, list[Values]]]:
    """Measurements of each variant by slice, one a seed.

    Transferred is the head that another department trained, without a count of this one.
    """
    found: dict[str, dict[str, list[Values]]] = {}
    for variant, models in own.items():
        values = [_measure(department, model) for model in models]
        found[variant] = {ALL: values, COLD: values}
        if variant in TRANSFERRED:
            without = nothing(department.items)
            found[variant][TRANSFER] = [
                _measure(department, Learned(without, model.weights))
                for model in elsewhere[variant]
            ]
        mean = np.mean([value["ndcg@10"].mean() for value in values])
        told(f"{department.name}, {variant}: {mean:.4f}")
    return found


def measure_text_alone(department: Department) -> Values:
    """The peer: plain texts of the history, decayed, against those of all items."""
    return _measured(department, lambda histories: decayed(department.plain, histories, PEER_DECAY))


def _measure(department: Department, learned: Learned) -> Values:
    return _measured(
        department,
        lambda histories: features(department, histories, learned.counts) @ learned.weights,
    )


def _measured(department: Department, scores: Callable[[Sequence[Int64]], Float32]) -> Values:
    parts: dict[str, list[NDArray[np.float64]]] = {"ndcg@10": [], "hr@10": []}
    for start in range(0, len(department.target), _ROWS_AT_ONCE):
        chosen = slice(start, start + _ROWS_AT_ONCE)
        found = scores(department.histories[chosen])
        positives = np.zeros(found.shape, dtype=np.bool_)
        positives[np.arange(len(found)), department.target[chosen]] = True
        ranked = hits(found, positives)
        parts["ndcg@10"].append(ndcg(ranked))
        parts["hr@10"].append(hit_rate(ranked))
    return {name: np.concatenate(each) for name, each in parts.items()}


def _cases(
    department: Department, measured: Mapping[str, Mapping[str, list[Values]]]
) -> list[dict[str, Any]]:
    everything = np.ones(len(department.target), dtype=np.bool_)
    return [
        {
            "data": f"amazon_{department.name}",
            "variant": variant,
            "slice": name,
            "metrics": {
                metric: _metric(
                    [value[metric] for value in values],
                    department.cold if name == COLD else everything,
                    department.user,
                )
                for metric in ("ndcg@10", "hr@10")
            },
        }
        for variant, slices in measured.items()
        for name, values in slices.items()
    ]


def _metric(
    seeds: Sequence[NDArray[np.float64]], rows: NDArray[np.bool_], user: Int64
) -> dict[str, float | int]:
    """Mean, deviation (over seeds where there are several, else over users) and rows."""
    means = [float(values[rows].mean()) if rows.any() else float("nan") for values in seeds]
    _, owner = np.unique(user[rows], return_inverse=True)
    sums = np.bincount(owner, weights=seeds[0][rows]).astype(np.float64)
    over_users = cluster_mean(sums, np.bincount(owner).astype(np.float64))
    deviation = float(np.std(means, ddof=1)) if len(means) > 1 else over_users.se
    return {"mean": float(np.mean(means)), "sd": deviation, "n": int(rows.sum())}
