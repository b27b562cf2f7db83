"""``bench quality --data amazon``: next item in two departments, with their statistics under DP.

A score is a sum of public weights times text similarity, brand, repetition, popularity and pair
counts (protocol and published figures: ``docs/benchmarks.md``). Popularity and pairs are the only
things learned; each user's vector is clipped to norm 1. The noise is what eight sites in one roster
add, four of each department: all eight add it in both catalogues' blocks, though four of them have
no user there. It is sized for n_min = 6 survivors and one colluder and drawn in one place: this is
a simulation of the sum, not a run of the vaults.

The weights were chosen on the validation rows without privacy, which epsilon excludes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from groundswell.shared.backbone import load_backbone
from groundswell.shared.metrics import cluster_mean, hit_rate, hits, ndcg
from groundswell.shared.sizing import KindBudget, size_plan
from groundswell.simulation.benchmarks.amazon_data import (
    DEPARTMENTS,
    Department,
    Float32,
    Int64,
    load_department,
)
from groundswell.simulation.benchmarks.machine import machine
from groundswell.simulation.seeded import SeededRandomness

SITES, N_MIN, COLLUDERS, DELTA = 8, 6, 1, 1e-5
EPSILONS = (3.0, 8.0)
SHARES = MappingProxyType({"popularity": 0.13, "pairs": 0.87})  # of mu^2
ALL, COLD, TRANSFER = "all", "cold_items", "transfer"
WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "decayed": 5.0,
        "last": 4.0,
        "brand": 1.5,
        "in_history": -1.0,
        "is_last": -0.3,
        "popularity": 0.5,
        "pair": 1.2,
        "smoothed_pair": 0.3,
    }
)
# Exact counts are many and small, released ones few and large.
EXACT_WEIGHTS: Mapping[str, float] = MappingProxyType({**WEIGHTS, "popularity": 0.6, "pair": 0.6})
DECAY = 0.6
LAST_ITEMS = (1.0, 0.7, 0.5)  # weight of pairs with the last item, the one before, ...
LAGS = (1, 2)
THRESHOLD = 4.0  # standard deviations of the noise
NEIGHBOURS, LEAST_COSINE = 8, 0.5
_ROWS_AT_ONCE = 512

Values = dict[str, NDArray[np.float64]]  # metric to one value a row


@dataclass(frozen=True)
class Counts:
    """What is learned of a department: float32 ``[L]``, and symmetric ``[L, L]`` pair counts.

    ``smoothed``: pairs lent to items of similar text.
    """

    popularity: Float32
    pairs: Float32 = field(repr=False)
    smoothed: Float32 = field(repr=False)


def run(
    folder: Path,
    seeds: int = 3,
    *,
    names: Sequence[str] = DEPARTMENTS,
    told: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure both departments.

    Args:
        folder: holds the Parquet files.
        seeds: of the noise.

    Returns:
        The benchmark's JSON: ours is ``private_eps8`` on the first department, the peer its text
        alone, NDCG@10; ``equal``: measured on the same rows.

    Raises:
        InputError: a file is missing.
    """
    backbone = load_backbone()
    cases: list[dict[str, Any]] = []
    headline: list[tuple[float, float, bool]] = []
    for name in names:
        department = load_department(folder, name, backbone)
        measured = _variants(department, seeds, told)
        text = _measure(department, nothing(department), {"decayed": 1.0})
        measured["text_alone"] = [text]
        cases += _cases(department, measured)
        ours = measured["private_eps8"]
        own = float(np.mean([each["ndcg@10"].mean() for each in ours]))
        same = all(each["ndcg@10"].shape == text["ndcg@10"].shape for each in ours)
        headline.append((own, float(text["ndcg@10"].mean()), same))
    own, other, _ = headline[0]
    return {
        "name": "quality",
        "machine": machine(),
        "ours": own,
        "peer": other,
        "unit": f"NDCG@10 of the next item, {names[0]}, full catalogue",
        "ratio": own / other,
        "higher_is_better": True,
        "equal": all(same for _, _, same in headline),
        "peer_name": "the history's text alone, not private",
        "peer_version": version("groundswell"),
        "seeds": seeds,
        "delta": DELTA,
        "excludes": ["the choice of the score's weights on the validation rows"],
        "cases": cases,
    }


def _variants(
    department: Department, seeds: int, told: Callable[[str], None]
) -> dict[str, list[Values]]:
    """Measurements of each variant, one a seed."""
    kernel = neighbours(department.unit)
    found = {"not_private": [_measure(department, exact(department, kernel), EXACT_WEIGHTS)]}
    for eps in EPSILONS:
        name = f"private_eps{eps:g}"
        found[name] = [
            _measure(department, released(department, kernel, eps, seed), WEIGHTS)
            for seed in range(seeds)
        ]
    for name, each in found.items():
        told(f"{department.name}, {name}: {np.mean([v['ndcg@10'].mean() for v in each]):.4f}")
    return found


def nothing(department: Department) -> Counts:
    """No counts: what a model brings along from another department."""
    empty = np.zeros((department.items, department.items), dtype=np.float32)
    return Counts(empty[0], empty, empty)


def exact(department: Department, kernel: sparse.csr_matrix) -> Counts:
    """Plain counts, without clip or noise."""
    popularity, pairs = _sums(department, clip=False)
    return _counts(popularity, pairs, kernel)


def released(department: Department, kernel: sparse.csr_matrix, eps_c: float, seed: int) -> Counts:
    """Clipped counts with the roster's noise; pairs below the threshold are dropped."""
    popularity, pairs = _sums(department, clip=True)
    noise = deviations(eps_c)
    draw = SeededRandomness(seed, "amazon", department.name).generator()
    popularity += noise["popularity"] * draw.standard_normal(len(popularity))
    upper = np.triu_indices(department.items, 1)
    noisy = pairs[upper] + noise["pairs"] * draw.standard_normal(len(upper[0]), dtype=np.float32)
    noisy[noisy < THRESHOLD * noise["pairs"]] = 0
    pairs = np.zeros_like(pairs)
    pairs[upper] = noisy
    return _counts(np.maximum(popularity, 0), pairs, kernel)


def deviations(eps_c: float) -> dict[str, float]:
    """Standard deviation of the noise of all sites together, by kind, for clip norm 1."""
    budgets = [KindBudget(kind, 1.0, 1, share=share) for kind, share in SHARES.items()]
    sized = size_plan(
        budgets, eps_c=eps_c, eps_l=None, delta=DELTA, n_min=N_MIN, colluders=COLLUDERS
    )
    return {entry.kind: entry.noise_multiplier * SITES**0.5 for entry in sized.kinds}


def user_vectors(history: Int64, items: int) -> tuple[tuple[Int64, Int64], tuple[Int64, Int64]]:
    """One user's items and unordered pairs (smaller number times ``items`` plus the larger one),
    each with its count."""
    found = []
    for lag in LAGS:
        low = np.minimum(history[:-lag], history[lag:])
        high = np.maximum(history[:-lag], history[lag:])
        found.append((low * items + high)[low != high])
    return np.unique(history, return_counts=True), np.unique(
        np.concatenate(found), return_counts=True
    )


def _sums(department: Department, *, clip: bool) -> tuple[Float32, Float32]:
    """Popularity ``[L]`` and pairs ``[L, L]`` (upper triangle) over users, norm at most 1 each."""
    items = department.items
    popularity = np.zeros(items, dtype=np.float32)
    pairs = np.zeros(items * items, dtype=np.float32)
    for history in department.learned:
        for total, (index, count) in zip(
            (popularity, pairs), user_vectors(history, items), strict=True
        ):
            total[index] += count / max(1.0, float(np.linalg.norm(count))) if clip else count
    return popularity, pairs.reshape(items, items)


def _counts(popularity: Float32, upper: Float32, kernel: sparse.csr_matrix) -> Counts:
    pairs = upper + upper.T
    smoothed = np.asarray((kernel @ (kernel @ pairs).T).T, dtype=np.float32)
    return Counts(popularity, pairs, smoothed)


def neighbours(unit: Float32) -> sparse.csr_matrix:
    """Rows of weights, sum 1, on each item's ``NEIGHBOURS`` likest texts, itself among them."""
    weight = np.maximum(unit @ unit.T - LEAST_COSINE, 0)
    count = min(NEIGHBOURS, len(unit))
    least = np.partition(weight, -count, axis=1)[:, -count][:, None]
    weight[weight < least] = 0
    return sparse.csr_matrix(weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-9))


def scores(
    department: Department,
    histories: Sequence[Int64],
    counts: Counts,
    weights: Mapping[str, float],
) -> Float32:
    """float32 ``[B, L]``: the weighted sum of what is named in ``weights``."""
    shape = (len(histories), department.items)
    last = np.array([history[-1] for history in histories])
    mean = np.zeros((len(histories), department.unit.shape[1]), dtype=np.float32)
    pair, smoothed, inside = (np.zeros(shape, dtype=np.float32) for _ in range(3))
    for row, history in enumerate(histories):
        decayed = DECAY ** np.arange(len(history) - 1, -1, -1)
        mean[row] = decayed.astype(np.float32) @ department.unit[history]
        inside[row, history] = 1
        for item, share in zip(history[::-1], LAST_ITEMS, strict=False):
            pair[row] += np.float32(share) * counts.pairs[item]
            smoothed[row] += np.float32(share) * counts.smoothed[item]
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    brand = department.brand[last][:, None]
    values: dict[str, Callable[[], NDArray[Any]]] = {
        "decayed": lambda: mean @ department.unit.T,
        "last": lambda: department.unit[last] @ department.unit.T,
        "brand": lambda: (brand == department.brand[None]) & (brand >= 0),
        "in_history": lambda: inside,
        "is_last": lambda: np.arange(department.items)[None] == last[:, None],
        "popularity": lambda: np.log(counts.popularity + 0.3)[None],
        "pair": lambda: np.log1p(50 * pair / (counts.popularity + 2)),
        "smoothed_pair": lambda: np.log1p(smoothed),
    }
    total = np.zeros(shape, dtype=np.float32)
    for name, weight in weights.items():
        total += np.float32(weight) * values[name]()
    return total


def _measure(department: Department, counts: Counts, weights: Mapping[str, float]) -> Values:
    parts: dict[str, list[NDArray[np.float64]]] = {"ndcg@10": [], "hr@10": []}
    for start in range(0, len(department.target), _ROWS_AT_ONCE):
        chosen = slice(start, start + _ROWS_AT_ONCE)
        found = scores(department, department.histories[chosen], counts, weights)
        positives = np.zeros(found.shape, dtype=np.bool_)
        positives[np.arange(len(found)), department.target[chosen]] = True
        ranked = hits(found, positives)
        parts["ndcg@10"].append(ndcg(ranked))
        parts["hr@10"].append(hit_rate(ranked))
    return {name: np.concatenate(each) for name, each in parts.items()}


def _cases(department: Department, measured: Mapping[str, list[Values]]) -> list[dict[str, Any]]:
    everything = np.ones(len(department.target), dtype=np.bool_)
    elsewhere = _measure(department, nothing(department), WEIGHTS)
    found = []
    for variant, each in measured.items():
        slices = {ALL: (everything, each), COLD: (department.cold, each)}
        if variant in {"not_private", "private_eps8"}:
            # Public weights and text: no release, so the same with and without privacy.
            slices[TRANSFER] = (everything, [elsewhere])
        for name, (rows, values) in slices.items():
            found.append(
                {
                    "data": f"amazon_{department.name}",
                    "variant": variant,
                    "slice": name,
                    "metrics": {
                        metric: _metric([v[metric] for v in values], rows, department.user)
                        for metric in ("ndcg@10", "hr@10")
                    },
                }
            )
    return found


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
