"""The weights of a next item's score: softmax over the catalogue, by full-batch gradient steps.

A user gives one row, their newest step that may be learned from, and of it one gradient a round,
clipped. The sum gets the noise that ``amazon_counts.deviations`` sizes. What is made of the noisy
sums (Adam, the mean of the later weights) costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch

from groundswell.simulation.benchmarks.amazon_counts import HEAD_STEPS, Counts
from groundswell.simulation.benchmarks.amazon_data import Department, Float32, Int64
from groundswell.simulation.benchmarks.amazon_scores import FEATURES, features

# Before training: public, and the same for every catalogue.
INITIAL: Mapping[str, float] = MappingProxyType(
    {"decayed": 2.0, "nearest": 2.0, "words": 1.0, "brand": 1.0, "popularity": 1.5, "lift": 0.5}
)
LEARNING_RATE = 0.2
CLIP = 1.0
AVERAGED = 0.5  # of the steps, the last ones


@dataclass(frozen=True)
class Noise:
    """Of a private step: deviation of the sum for clip norm 1, and the generator it comes from."""

    deviation: float
    generator: np.random.Generator


def train(department: Department, counts: Counts, noise: Noise | None) -> Float32:
    """Weights of ``FEATURES``, float32; without ``noise`` no gradient is clipped either."""
    users = [history for history in department.learned if len(history) > 1]
    targets = np.array([history[-1] for history in users], dtype=np.int64)
    seen = features(department, [history[:-1] for history in users], counts, own=users)
    initial = np.array([INITIAL.get(name, 0.0) for name in FEATURES], dtype=np.float32)
    weights = torch.nn.Parameter(torch.from_numpy(initial))
    adam = torch.optim.Adam([weights], lr=LEARNING_RATE)
    kept = []
    for step in range(HEAD_STEPS):
        gradient = _gradients(seen, targets, weights.detach().numpy())
        if noise is not None:
            norm = np.linalg.norm(gradient, axis=1, keepdims=True)
            gradient = gradient * np.minimum(1, CLIP / np.maximum(norm, 1e-9))
        total = gradient.sum(axis=0)
        if noise is not None:
            total = total + CLIP * noise.deviation * noise.generator.standard_normal(len(total))
        # The number of users is public, as in a plan.
        weights.grad = torch.from_numpy((total / len(users)).astype(np.float32))
        adam.step()
        if step >= AVERAGED * HEAD_STEPS:
            kept.append(weights.detach().numpy().copy())
    return np.asarray(np.mean(kept, axis=0), dtype=np.float32)


def _gradients(seen: Float32, targets: Int64, weights: Float32) -> Float32:
    """Of each row's cross-entropy: float32 ``[B, F]``."""
    rows = len(seen)
    logits = seen @ weights
    logits -= logits.max(axis=1, keepdims=True)
    chance = np.exp(logits)
    chance /= chance.sum(axis=1, keepdims=True)
    expected = (chance[:, None, :] @ seen)[:, 0]
    return np.asarray(expected - seen[np.arange(rows), targets], dtype=np.float32)
