"""Many figures of which few are not 0, seen under noise of known size; free post-processing.

Each figure is 0, or, with a small chance, positive and exponentially distributed. Chance and mean
are fitted by expectation and maximisation for each class of figures by itself, and a figure's
posterior mean replaces what was seen: empirical Bayes with a spike and a slab (Johnstone and
Silverman 2004, with an exponential slab on the positive side).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

Float64 = NDArray[np.float64]

PASSES = 50
BIN = 0.05  # width of the histogram's bins, in deviations of the noise
CLEAR = 8.0  # deviations that no noise reaches: figures above are few, and count by themselves
LEAST_SHARE = 1e-7
LEAST_MEAN = 0.5  # of the slab, in deviations: smaller ones can't be told from the spike


def posterior_means(observed: Float64, deviation: float, kind: NDArray[np.integer]) -> Float64:
    """float64 ``[n]``, >= 0.

    Args:
        observed: ``[n]``, finite; deviation: of the noise on each, above 0.
        kind: ``[n]``, the class of each figure, from 0.

    Raises:
        ValueError: the deviation is not above 0.
    """
    if not deviation > 0:
        raise ValueError(f"the noise's deviation is {deviation}, not above 0")
    found = np.zeros(len(observed))
    for number in range(int(kind.max(initial=-1)) + 1):
        here = np.flatnonzero(kind == number)
        if len(here):
            seen = observed[here] / deviation
            share, mean = _fitted(seen)
            # Far below the noise nothing is left of a figure.
            above = np.flatnonzero(seen > 0)
            chance, size = _posterior(seen[above], share, mean)
            found[here[above]] = chance * size * deviation
    return found


def _fitted(seen: Float64) -> tuple[float, float]:
    """Chance of the slab and its mean, in deviations."""
    edges = np.arange(-CLEAR, CLEAR + BIN, BIN)
    counts, _ = np.histogram(np.clip(seen, -CLEAR, None), edges)
    large = seen[seen > edges[-1]]
    value = np.concatenate([(edges[:-1] + edges[1:]) / 2, large])
    weight = np.concatenate([counts, np.ones(len(large))]).astype(np.float64)
    share, mean = 0.01, max(float(large.mean()) if len(large) else 0.0, 2.0)
    for _ in range(PASSES):
        chance, size = _posterior(value, share, mean)
        expected = float((weight * chance).sum())
        share = min(max(expected / len(seen), LEAST_SHARE), 1 - LEAST_SHARE)
        mean = max(float((weight * chance * size).sum()) / max(expected, 1e-12), LEAST_MEAN)
    return share, mean


def _posterior(seen: Float64, share: float, mean: float) -> tuple[Float64, Float64]:
    """Chance that a figure is not 0, and its mean if so; noise of deviation 1."""
    centre = seen - 1 / mean
    log_slab = 0.5 / mean**2 - seen / mean + log_ndtr(centre) - np.log(mean)
    log_spike = -0.5 * seen**2 - 0.5 * np.log(2 * np.pi)
    odds = log_slab - log_spike + np.log(share) - np.log1p(-share)
    chance = 1 / (1 + np.exp(-np.clip(odds, -700, 700)))
    # Of a normal cut at 0 the mean; its density over its mass, in logarithms.
    size = centre + np.exp(-0.5 * centre**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(centre))
    return chance, np.maximum(size, 0.0)
