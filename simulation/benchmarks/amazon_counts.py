"""What is counted of a department's users, exactly or released once under DP.

A user gives two vectors, each clipped to norm 1: their items, the newest counting most, and the
ordered pairs of near steps, an item followed by itself among them. The noise is what eight sites in
one roster add, four of each department: all eight add it in both catalogues' blocks, though four of
them have no user there. It is sized for n_min = 6 survivors and one colluder and drawn in one
place: this is a simulation of the sum, not a run of the vaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from groundswell.shared.sizing import KindBudget, size_plan
from groundswell.simulation.benchmarks.amazon_data import Department, Float32, Int64
from groundswell.simulation.seeded import SeededRandomness

SITES, N_MIN, COLLUDERS, DELTA = 8, 6, 1, 1e-5
HEAD_STEPS = 25
SHARES = MappingProxyType({"popularity": 0.13, "pairs": 0.82, "head": 0.05})  # of mu^2
RECENCY = 0.7  # weight of an item in popularity over that of the next newer one
LAGS: Mapping[int, float] = MappingProxyType({1: 1.0, 2: 0.5})  # steps apart to a pair's weight
THRESHOLD = 4.0  # standard deviations of the noise

Float64 = NDArray[np.float64]
Weighed = tuple[Int64, Float64]  # positions, each once, and their values


@dataclass(frozen=True)
class Counts:
    """Popularity, float32 ``[L]``, and pairs, float32 ``[L, L]``: how often a row's item came
    before a column's.

    ``clipped``: every user's vectors had norm at most 1.
    """

    popularity: Float32
    pairs: sparse.csr_matrix = field(repr=False)
    clipped: bool


def nothing(items: int) -> Counts:
    """No counts: what a model that was trained elsewhere has of this catalogue."""
    return Counts(np.zeros(items, dtype=np.float32), sparse.csr_matrix((items, items)), False)


def exact(department: Department) -> Counts:
    """Plain counts, without clip or noise."""
    popularity, pairs = sums(department, clip=False)
    return Counts(popularity, sparse.csr_matrix(pairs), False)


def released(department: Department, eps_c: float, seed: int) -> Counts:
    """Clipped counts with the roster's noise; pairs below the threshold are dropped."""
    popularity, pairs = sums(department, clip=True)
    noise = deviations(eps_c)
    draw = SeededRandomness(seed, "amazon", department.name).generator()
    popularity += noise["popularity"] * draw.standard_normal(len(popularity))
    pairs += np.float32(noise["pairs"]) * draw.standard_normal(pairs.shape, dtype=np.float32)
    pairs[pairs < THRESHOLD * noise["pairs"]] = 0
    return Counts(np.maximum(popularity, 0), sparse.csr_matrix(pairs), True)


def deviations(eps_c: float) -> dict[str, float]:
    """Standard deviation of the noise of all sites together, by kind, for clip norm 1.

    Of ``head`` it is that of one step.
    """
    steps = {"head": HEAD_STEPS}
    budgets = [
        KindBudget(kind, 1.0, steps.get(kind, 1), share=share) for kind, share in SHARES.items()
    ]
    sized = size_plan(
        budgets, eps_c=eps_c, eps_l=None, delta=DELTA, n_min=N_MIN, colluders=COLLUDERS
    )
    return {entry.kind: entry.noise_multiplier * SITES**0.5 for entry in sized.kinds}


def user_items(history: Int64, *, clip: bool) -> Weighed:
    """One user's items, ``RECENCY`` to the power of their age in steps; norm at most 1 if asked."""
    age = np.arange(len(history) - 1, -1, -1)
    return _weighed(history, (RECENCY**age).astype(np.float64), clip=clip)


def user_pairs(history: Int64, items: int, *, clip: bool) -> Weighed:
    """One user's ordered pairs, at position first item times ``items`` plus second item."""
    position, weight = [], []
    for lag, each in LAGS.items():
        found = history[:-lag] * items + history[lag:]
        position.append(found)
        weight.append(np.full(len(found), each))
    return _weighed(np.concatenate(position), np.concatenate(weight), clip=clip)


def _weighed(position: Int64, weight: Float64, *, clip: bool) -> Weighed:
    unique, place = np.unique(position, return_inverse=True)
    total: Float64 = np.bincount(place, weights=weight, minlength=len(unique)).astype(np.float64)
    norm = max(1.0, float(np.linalg.norm(total))) if clip else 1.0
    return unique, total / norm


def sums(department: Department, *, clip: bool) -> tuple[Float32, Float32]:
    """Popularity ``[L]`` and pairs ``[L, L]`` over users."""
    items = department.items
    popularity = np.zeros(items, dtype=np.float32)
    pairs = np.zeros(items * items, dtype=np.float32)
    for history in department.learned:
        position, value = user_items(history, clip=clip)
        popularity[position] += value
        position, value = user_pairs(history, items, clip=clip)
        pairs[position] += value
    return popularity, pairs.reshape(items, items)
