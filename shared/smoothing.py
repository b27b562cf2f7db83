"""Statistics of rare and unseen labels from what is known of similar ones; free post-processing.

Noise is the same on every label, so the small figures of rare labels drown in it. Each figure is
positive, so its logarithm gets a Gaussian prior, fitted to all labels at once by a Gaussian process
whose kernel is text similarity, a shared group, and catalogue size (and, for repeat rates, the
label's popularity). The posterior mean under the noise at its known size replaces the figure. A
label that was never observed (infinite noise) gets the prior's.

Source of the kernel: protocol.md, unseen labels. The rest is textbook empirical Bayes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.catalogue import Catalogue

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]

SAME_GROUP = 0.5  # weight of a shared group beside a cosine of 1
SIZE = 0.3  # weight of catalogue size beside a cosine of 1
NUGGET = 0.6  # variance of a log figure that no similarity explains
SIGNAL = 1.5  # prior variance of a log figure that similarity explains
LEAST = 1e-5  # least share and rate; keeps logarithms finite
GRID = np.linspace(-5.0, 5.0, 81)  # quadrature nodes, prior deviations
PASSES = 3  # alternations between posterior and prior; more change nothing


@dataclass(frozen=True)
class Posterior:
    """Of positive figures, each float64 ``[L]``: mean, and mean and variance of the logarithm."""

    mean: Float64
    log_mean: Float64
    log_variance: Float64


def similarity(embeddings: Float32, catalogue: Catalogue) -> Float64:
    """Positive semi-definite kernel ``[L, L]``: cosine + .5 same group + .3 size."""
    e = embeddings.astype(np.float64)
    same = np.array(
        [[a == b and a != "" for b in catalogue.groups] for a in catalogue.groups], dtype=np.float64
    )
    size = np.log(np.maximum(catalogue.sizes.astype(np.float64), 1.0))
    size = (size - size.mean()) / max(float(size.std()), 1e-6)
    kernel: Float64 = e @ e.T + SAME_GROUP * same + SIZE * np.outer(size, size)
    return kernel


def smoothed_popularity(
    observed: Float64, noise_std: float, catalogue: Catalogue, embeddings: Float32
) -> Float64:
    """Posterior mean popularity, float64 ``[L]``, all >= ``LEAST``."""
    kernel = SIGNAL * similarity(embeddings, catalogue)
    deviation = np.full(len(observed), max(noise_std, LEAST))
    return smooth(observed, deviation, kernel).mean


def smoothed_rates(
    *,
    bought: Float64,
    at_risk: Float64,
    bought_std: float,
    at_risk_std: float,
    popularity: Float64,
    embeddings: Float32,
    catalogue: Catalogue,
) -> Float64:
    """Repeat rates by level, float64 ``[L, K]``, in (0, 1).

    Args:
        bought: ``[K, L]``, share of users who act on the label at level k, noised.
        at_risk: ``[K - 1, L]``, share of users at levels 1..K - 1, noised; level 0 is the rest.
        bought_std: deviation of the noise in ``bought``.
        at_risk_std: deviation of the noise in ``at_risk``.
        popularity: ``[L]``, smoothed.
    """
    levels, labels = bought.shape
    text = similarity(embeddings, catalogue)
    log_popularity = np.log(np.maximum(popularity, LEAST))
    active = max(float(bought.sum(axis=0).max()), LEAST)
    at_risk_hat = np.empty_like(bought)
    rates = np.empty((labels, levels))
    known = [log_popularity]
    deviation_n = np.full(labels, max(at_risk_std, LEAST))
    risk_known = [log_popularity]
    for k in range(1, levels):
        posterior = smooth(at_risk[k - 1], deviation_n, _kernel(0.3 * text, risk_known))
        at_risk_hat[k] = posterior.mean
        risk_known = [log_popularity, posterior.log_mean]
    everyone = max(active, 1.0) if active > 1 else 1.0
    at_risk_hat[0] = np.maximum(everyone - at_risk_hat[1:].sum(axis=0), 0.05)
    for k in range(levels):
        n = np.maximum(at_risk_hat[k], LEAST)
        guess = bought[k].sum() / n.sum()
        spread = np.hypot(bought_std, abs(guess) * (at_risk_std if k else 0.0)) / n
        posterior = smooth(bought[k] / n, spread, _kernel(0.3 * text, known), nugget=0.15)
        rates[:, k] = np.clip(posterior.mean, LEAST, 0.98)
        known = [log_popularity, posterior.log_mean]
    return rates


def smooth(
    observed: Float64, noise_std: Float64, kernel: Float64, nugget: float = NUGGET
) -> Posterior:
    """Posterior of positive figures seen under Gaussian noise.

    Args:
        observed: ``[L]``; where the noise is infinite the value is not looked at.
        noise_std: ``[L]``, deviation of the noise, may be infinite.
        kernel: ``[L, L]``, prior covariance of the logarithms about their common mean.
        nugget: further prior variance of each logarithm by itself.
    """
    seen = np.isfinite(noise_std)
    start = np.maximum(observed, np.where(seen, noise_std, 0.0))
    centre = float(np.log(np.maximum(start[seen], LEAST)).mean()) if seen.any() else np.log(LEAST)
    prior_mean = np.full(len(observed), centre)
    prior_variance = np.full(len(observed), 2.0)
    posterior = _posterior(observed, noise_std, prior_mean, prior_variance)
    for _ in range(PASSES):
        prior_mean, prior_variance = _prior(posterior, prior_mean, prior_variance, kernel, nugget)
        posterior = _posterior(observed, noise_std, prior_mean, prior_variance)
    return posterior


def _posterior(
    observed: Float64, noise_std: Float64, prior_mean: Float64, prior_variance: Float64
) -> Posterior:
    """By quadrature over the logarithm, ``GRID`` prior deviations about the prior mean."""
    nodes = prior_mean[:, None] + np.sqrt(prior_variance)[:, None] * GRID
    value = np.exp(np.minimum(nodes, 2.0))
    seen = np.isfinite(noise_std)
    spread = np.where(seen, noise_std, 1.0)[:, None]
    misfit = np.where(seen[:, None], (np.where(seen, observed, 0)[:, None] - value) / spread, 0.0)
    log_weight = -0.5 * GRID**2 - 0.5 * misfit**2
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    log_mean = (weight * nodes).sum(axis=1)
    log_variance = (weight * (nodes - log_mean[:, None]) ** 2).sum(axis=1)
    mean = np.maximum((weight * value).sum(axis=1), LEAST)
    return Posterior(mean, log_mean, np.maximum(log_variance, 1e-6))


def _prior(
    posterior: Posterior,
    prior_mean: Float64,
    prior_variance: Float64,
    kernel: Float64,
    nugget: float,
) -> tuple[Float64, Float64]:
    """Leave-one-out prediction of every logarithm from all others.

    The likelihood alone, as a Gaussian in the logarithm, is the posterior divided by the prior it
    was made with (expectation propagation); a label that says nothing gets a huge variance.
    """
    precision = np.maximum(1 / posterior.log_variance - 1 / prior_variance, 1e-4)
    value = (posterior.log_mean / posterior.log_variance - prior_mean / prior_variance) / precision
    value = np.clip(value, np.log(LEAST) - 2, 2.0)
    weight = precision / (1 + nugget * precision)
    centre = (weight * value).sum() / weight.sum()
    covariance = kernel + np.diag(nugget + 1 / precision)
    inverse = np.linalg.inv(covariance)
    diagonal = np.diag(inverse)
    left_out = value - (inverse @ (value - centre)) / diagonal
    variance = np.maximum(1 / diagonal - 1 / precision, nugget)
    return np.clip(left_out, np.log(LEAST), 0.5), variance


def _kernel(text: Float64, features: list[Float64]) -> Float64:
    """``text`` plus a wide linear kernel over standardised features."""
    kernel = text + 1.0
    for feature in features:
        scaled = (feature - feature.mean()) / max(float(feature.std()), 1e-6)
        kernel = kernel + 2.0 * np.outer(scaled, scaled)
    return kernel
