"""Statistics of rare and unseen labels from what is known of similar ones; free post-processing.

Noise is the same on every label, so the small figures of rare labels drown in it. Each figure is
positive, so its logarithm gets a Gaussian prior, fitted to all labels at once by a Gaussian process
whose kernel is text similarity, a shared group, and catalogue size (and, for repeat rates, the
label's popularity). The posterior mean under the noise at its known size replaces the figure. A
label that was never observed (infinite noise) gets the prior's.

The kernel was chosen on The Complete Journey (docs/benchmarks.md). The rest is textbook empirical
Bayes.
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
# Prior variances of a log popularity that text, group and size explain; they predict labels left
# out of the 262 of the demo that no test holds out: error .91, before it .92, without text .99.
TEXT_IN_POPULARITY, GROUP_IN_POPULARITY, SIZE_IN_POPULARITY = 0.3, 0.5, 1.0
LEAST = 1e-5  # least share and rate; keeps logarithms finite
MOST = 0.98  # largest rate
TEXT_IN_RATES = 0.3  # prior variance of a log rate that similarity explains
RATE_NUGGET = 0.08  # variance of a log rate that similarity and popularity don't explain
RATE_STD = 0.25  # prior deviation of one level's log rate about the label's common factor
RISE = 0.17  # a level's common rate lies about this part of the way from the level below to 1
RISE_STD = 0.06
GRID = np.linspace(-5.0, 5.0, 81)  # quadrature nodes, prior deviations
CLEAR = 3.0  # noise deviations above which a figure's logarithm is near Gaussian
PASSES = 3  # alternations between posterior and prior; more change nothing


@dataclass(frozen=True)
class Posterior:
    """Of positive figures, each float64 ``[L]``: mean, and mean and variance of the logarithm."""

    mean: Float64
    log_mean: Float64
    log_variance: Float64


def similarity(embeddings: Float32, catalogue: Catalogue) -> Float64:
    """Positive semi-definite kernel ``[L, L]``: cosine + .5 same group + .3 size."""
    text, same, size = _likeness(embeddings, catalogue)
    return text + SAME_GROUP * same + SIZE * size


def popularity_kernel(embeddings: Float32, catalogue: Catalogue) -> Float64:
    """Prior covariance ``[L, L]`` of log popularity."""
    text, same, size = _likeness(embeddings, catalogue)
    explained = TEXT_IN_POPULARITY * text + GROUP_IN_POPULARITY * same
    return explained + SIZE_IN_POPULARITY * size


def _likeness(embeddings: Float32, catalogue: Catalogue) -> tuple[Float64, Float64, Float64]:
    """Cosine of texts, shared group, and product of standardised log sizes, ``[L, L]`` each."""
    e = embeddings.astype(np.float64)
    group = np.array(catalogue.groups)
    same = (group[:, None] == group) & (group != "")
    size = np.log(np.maximum(catalogue.sizes.astype(np.float64), 1.0))
    size = (size - size.mean()) / max(float(size.std()), 1e-6)
    return e @ e.T, same.astype(np.float64), np.outer(size, size)


def smoothed_popularity(
    observed: Float64, noise_std: float, catalogue: Catalogue, embeddings: Float32
) -> Float64:
    """Posterior mean popularity, float64 ``[L]``, all >= ``LEAST``."""
    kernel = popularity_kernel(embeddings, catalogue)
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
    text = TEXT_IN_RATES * similarity(embeddings, catalogue)
    log_popularity = np.log(np.maximum(popularity, LEAST))
    risk = _at_risk(at_risk, at_risk_std, text, log_popularity)
    first = smooth(
        bought[0] / risk[0],
        np.full(labels, max(bought_std, LEAST)) / risk[0],
        with_features(text, [log_popularity]),
        nugget=RATE_NUGGET,
    )
    common = _common_rates(bought, risk, bought_std)
    loyalty = _loyalty(bought, risk, common, bought_std, with_features(text, [log_popularity]))
    rates = np.empty((labels, levels))
    rates[:, 0] = first.mean
    for k in range(1, levels):
        expected = common[k] * np.exp(loyalty / np.sqrt(k))
        spread = np.hypot(bought_std, common[k] * at_risk_std)
        rates[:, k] = _near(expected, bought[k], risk[k], max(spread, LEAST))
    return np.clip(rates, LEAST, MOST)


def _at_risk(
    observed: Float64, noise_std: float, text: Float64, log_popularity: Float64
) -> Float64:
    """Smoothed shares at risk, float64 ``[K, L]``; level 0 is what the other levels leave."""
    found = [np.zeros_like(log_popularity)]
    known = [log_popularity]
    for level in observed:
        deviation = np.full(len(level), max(noise_std, LEAST))
        posterior = smooth(level, deviation, with_features(text, known))
        found.append(posterior.mean)
        known = [log_popularity, posterior.log_mean]
    found[0] = np.maximum(1.0 - np.sum(found[1:], axis=0), 0.05)
    return np.maximum(np.stack(found), LEAST)


def _common_rates(bought: Float64, risk: Float64, bought_std: float) -> Float64:
    """Rates of all labels together by level, float64 ``[K]``, rising.

    The least-squares slope of ``bought`` over ``risk``: noise is the same on every label, so the
    many labels with little at risk, which would only add noise to a plain sum, hardly count. High
    levels are rare, so their own figure is shrunk towards what the level below suggests.
    """
    rates = np.empty(len(bought))
    for k in range(len(bought)):
        power = (risk[k] ** 2).sum()
        own = (risk[k] * bought[k]).sum() / power
        if k < 2:
            rates[k] = np.clip(own, LEAST, MOST)
            continue
        below = rates[k - 1]
        suggested = below + (1 - below) * RISE
        noise = bought_std / np.sqrt(power)
        trust = RISE_STD**2 / (RISE_STD**2 + noise**2)
        rates[k] = np.clip(trust * own + (1 - trust) * suggested, below, MOST)
    return rates


def _loyalty(
    bought: Float64, risk: Float64, common: Float64, bought_std: float, kernel: Float64
) -> Float64:
    """Log of how much more a label is repeated than labels are in common, float64 ``[L]``.

    One figure from all levels above 0, each weighted by what it is expected to tell, is known much
    better than every level's rate.
    """
    expected = common[1:, None] * risk[1:]
    power = np.maximum((expected**2).sum(axis=0), LEAST**2)
    observed = (expected * bought[1:]).sum(axis=0) / power
    return smooth(observed, bought_std / np.sqrt(power), kernel, nugget=RATE_NUGGET).log_mean


def _near(expected: Float64, bought: Float64, risk: Float64, spread: float) -> Float64:
    """Posterior mean of each rate, log-normal about ``expected``, float64 ``[L]``."""
    nodes = expected[:, None] * np.exp(RATE_STD * GRID)
    misfit = (bought[:, None] - risk[:, None] * nodes) / spread
    weight = -0.5 * GRID**2 - 0.5 * misfit**2
    weight = np.exp(weight - weight.max(axis=1, keepdims=True))
    mean: Float64 = (weight * nodes).sum(axis=1) / weight.sum(axis=1)
    return mean


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
    """By quadrature over the logarithm.

    The nodes span five deviations about the prior mean, or, where a figure stands clearly above its
    noise, about the posterior that it would have if its logarithm were Gaussian.
    """
    seen = np.isfinite(noise_std)
    spread = np.where(seen, noise_std, 1.0)
    value = np.where(seen, observed, 0.0)
    clear = seen & (value > CLEAR * spread)
    safe = np.where(clear, value, 1.0)
    precision = np.where(clear, (safe / spread) ** 2, 0.0)
    variance = 1 / (1 / prior_variance + precision)
    centre = variance * (prior_mean / prior_variance + precision * np.log(safe))
    nodes = centre[:, None] + np.sqrt(variance)[:, None] * GRID
    figure = np.exp(np.minimum(nodes, 2.0))
    misfit = np.where(seen[:, None], (value[:, None] - figure) / spread[:, None], 0.0)
    log_weight = -0.5 * (nodes - prior_mean[:, None]) ** 2 / prior_variance[:, None]
    log_weight = log_weight - 0.5 * misfit**2
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    log_mean = (weight * nodes).sum(axis=1)
    log_variance = (weight * (nodes - log_mean[:, None]) ** 2).sum(axis=1)
    mean = np.maximum((weight * figure).sum(axis=1), LEAST)
    return Posterior(mean, log_mean, np.maximum(log_variance, 1e-12))


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


def with_features(text: Float64, features: list[Float64]) -> Float64:
    """``text`` plus a wide linear kernel over standardised features."""
    kernel = text + 1.0
    for feature in features:
        scaled = (feature - feature.mean()) / max(float(feature.std()), 1e-6)
        kernel = kernel + 2.0 * np.outer(scaled, scaled)
    return kernel
