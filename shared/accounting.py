"""Privacy accounting: from events to epsilon, for add/remove of one user.

Sources: Gopi, Lee, Wutschitz 2021 (arXiv 2106.02848) for the composition of privacy loss variables,
here through Opacus; Mironov, Talwar, Zhang 2019 (arXiv 1908.10530) for the RDP fallback; Balle and
Wang 2018 (arXiv 1805.06530), theorem 8, for the exact Gaussian. Opacus's GDP accountant is wrong in
both directions and is not offered.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from opacus.accountants import RDPAccountant
from opacus.accountants.analysis.prv import (
    Domain,
    PoissonSubsampledGaussianPRV,
    TruncatedPrivacyRandomVariable,
    compose_heterogeneous,
    discretize,
)
from opacus.accountants.analysis.rdp import compute_rdp, get_privacy_spent
from scipy.special import log_ndtr, ndtr

from groundswell.shared.errors import InputError
from groundswell.shared.releases import PoissonGaussian
from groundswell.shared.scaling import LEAST_DEVIATION

__all__ = [
    "MergedEvents",
    "central_multiplier",
    "epsilon",
    "epsilon_of_merged",
    "gaussian_delta",
    "gaussian_epsilon",
    "merge",
    "overflow_delta",
    "prv_epsilon",
    "rdp_epsilon",
    "reported_epsilon",
    "tpr_bound",
    "warnings_for",
]

# What the float64 sampler costs, added once to both tiers (docs/privacy.md).
SAMPLER_EPSILON = 0.002
SAMPLER_DELTA = 1e-12
# The lemma's b: variance that each honest site's rounding may take (docs/privacy.md).
ROUNDING_VARIANCE = 20
# P(more users sampled than the K slots hold), by the choice of K (docs/privacy.md).
OVERFLOW_PROBABILITY = 1e-20
# Above this, a local epsilon protects little by itself.
WEAK_LOCAL_EPSILON = 10.0

PRV_EPSILON_ERROR = 0.01
# Beyond this, exp(loss) leaves float64 and the numerical composition fails.
LARGEST_LOSS = 700.0
# From here on, a tighter domain is worth the fractional orders that it costs.
WIDE_LOSS = 60.0
_INTEGER_ORDERS = list(range(2, 65))
_LOW_ORDERS = [1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9]
# Twelve digits: a difference beyond them is a rounding artefact, not another mechanism.
_FLOOR = Context(prec=12, rounding=ROUND_FLOOR)
_CEILING = Context(prec=12, rounding=ROUND_CEILING)

# (sigma, q, count) with sigma and q as decimal strings, sorted, each pair once.
MergedEvents = tuple[tuple[str, str, int], ...]
Event = PoissonGaussian | tuple[float, float, int]


def merge(events: Iterable[Event]) -> MergedEvents:
    """Equal events as one with a count, in one canonical order.

    Sigma is rounded down and q up at the twelfth digit, so that a merged event never claims more
    privacy than those it stands for. Events that release nothing (q = 0, count 0) fall away.

    Raises:
        InputError: a sigma that is negative or not a number, a q outside [0, 1], a count below 0.
    """
    counts: dict[tuple[str, str], int] = {}
    for event in events:
        sigma, q, count = _parts(event)
        if q == 0 or count == 0 or sigma == math.inf:
            continue
        key = (
            str(_FLOOR.create_decimal(repr(sigma)).normalize()),
            str(_CEILING.create_decimal(repr(q)).normalize()),
        )
        counts[key] = counts.get(key, 0) + count
    return tuple((sigma, q, counts[sigma, q]) for sigma, q in sorted(counts))


def _parts(event: Event) -> tuple[float, float, int]:
    if isinstance(event, PoissonGaussian):
        sigma, q, count = event.sigma, event.q, event.count
    else:
        sigma, q, count = event
    if not sigma >= 0:
        raise InputError("noise_multiplier", sigma, "must be 0 or more", "check the event")
    if not 0 <= q <= 1:
        raise InputError("sampling_rate", q, "must lie in [0, 1]", "check the event")
    if count < 0:
        raise InputError("count", count, "must be 0 or more", "check the event")
    return float(sigma), float(q), int(count)


def epsilon(events: Iterable[Event], delta: float) -> float:
    """An upper bound on epsilon at ``delta`` of all events together; their order is free.

    Empty history 0; sigma 0 infinity; all q = 1 exact; otherwise the PRV upper bound, and RDP where
    that gives infinity, no number, or an error.

    Args:
        events: ``PoissonGaussian`` or tuples (sigma, q, count).
        delta: in (0, 1).
    """
    return epsilon_of_merged(merge(events), delta)


def reported_epsilon(events: Iterable[Event], delta: float) -> float:
    """``epsilon`` with what the noise sampler costs: .002 on epsilon, 1e-12 out of ``delta``.

    0 for an empty history, which samples nothing.
    """
    merged = merge(events)
    if not merged:
        return 0.0
    return epsilon_of_merged(merged, delta - SAMPLER_DELTA) + SAMPLER_EPSILON


@lru_cache(maxsize=4096)
def epsilon_of_merged(merged: MergedEvents, delta: float) -> float:
    """``epsilon`` of events that ``merge`` has already put into their canonical form."""
    if not 0 < delta < 1:
        raise InputError("delta", delta, "must lie strictly between 0 and 1", "use 1e-6")
    if not merged:
        return 0.0
    parsed = [(float(sigma), float(q), count) for sigma, q, count in merged]
    if any(sigma == 0 for sigma, _, _ in parsed):
        return math.inf
    full = [(sigma, count) for sigma, q, count in parsed if q == 1]
    subsampled = [(sigma, q, count) for sigma, q, count in parsed if q < 1]
    if not subsampled:
        return gaussian_epsilon(_composed_mu(full), delta)
    if full:
        # Gaussians compose exactly: mu^2 adds up (Dong, Roth, Su 2019, corollary 3.3).
        subsampled.append((1 / _composed_mu(full), 1.0, 1))
    bound = prv_epsilon(subsampled, delta)
    return bound if math.isfinite(bound) else rdp_epsilon(subsampled, delta)


def _composed_mu(full: list[tuple[float, int]]) -> float:
    return math.sqrt(math.fsum(count / sigma**2 for sigma, count in full))


def prv_epsilon(events: Sequence[tuple[float, float, int]], delta: float) -> float:
    """Upper bound by numerical composition of privacy loss variables; infinity where it fails.

    Opacus's ``PRVAccountant`` composition on a domain of our own. The domain must hold the loss but
    for delta_error / 4 (Gopi et al. 2021, remark 5.6); any upper bound on epsilon tells its size.
    Opacus takes all RDP orders anew for every event, nine tenths of the time; here integer orders
    serve, whose curve is kept per (sigma, q), and below 2 the Gaussian without sampling. The error
    in epsilon that the mesh is built for is .01, and beyond a half width of 150 it grows with the
    square of that width, so that a large epsilon costs seconds and not minutes.
    """
    delta_error = delta / 1000
    counts = [count for _, _, count in events]
    total = sum(counts)
    half = _half_width(events, delta_error, fine=False)
    if half > WIDE_LOSS:
        half = _half_width(events, delta_error, fine=True)
    if not half <= LARGEST_LOSS:
        return math.inf
    error = PRV_EPSILON_ERROR * max(1.0, half / 150) ** 2
    mesh = error / math.sqrt(total * math.log(12 / delta_error) / 2)
    try:
        with np.errstate(all="ignore"):
            domain = Domain.create_aligned(-half, half, mesh)
            variables = [
                discretize(
                    TruncatedPrivacyRandomVariable(
                        PoissonSubsampledGaussianPRV(q, sigma), domain.t_min, domain.t_max
                    ),
                    domain,
                )
                for sigma, q, _ in events
            ]
            composition = compose_heterogeneous(variables, counts)
            _, _, upper = composition.compute_epsilon(delta, delta_error, error)
    except (RuntimeError, ValueError, FloatingPointError):
        return math.inf
    return float(upper) if math.isfinite(upper) else math.inf


def rdp_epsilon(events: Sequence[tuple[float, float, int]], delta: float) -> float:
    """Upper bound by Renyi divergences, Opacus's orders and more; infinity where none is finite."""
    orders = [1.005, 1.01, 1.02, 1.05, *RDPAccountant.DEFAULT_ALPHAS, *range(64, 1025, 32)]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        composed = np.sum(
            [count * np.asarray(_renyi(q, sigma, orders)) for sigma, q, count in events], axis=0
        )
        bound, _ = get_privacy_spent(orders=orders, rdp=composed, delta=delta)
    return max(0.0, float(bound)) if math.isfinite(bound) else math.inf


def _renyi(q: float, sigma: float, orders: Sequence[float]) -> list[float]:
    """Renyi divergence at each order, never above that of the Gaussian without sampling."""
    found = []
    for order in orders:
        whole = order / (2 * sigma**2)
        try:
            sampled = float(compute_rdp(q=q, noise_multiplier=sigma, steps=1, orders=float(order)))
        except (ValueError, OverflowError):
            sampled = math.inf
        found.append(min(sampled, whole) if math.isfinite(sampled) and sampled >= 0 else whole)
    return found


def _half_width(
    events: Sequence[tuple[float, float, int]], delta_error: float, *, fine: bool
) -> float:
    """Half width of a domain that holds the composed loss and each single one."""
    total = sum(count for _, _, count in events)
    curves = [_rdp_curve(q, sigma, fine) for sigma, q, _ in events]
    composed = np.sum(
        [count * curve for (_, _, count), curve in zip(events, curves, strict=True)], axis=0
    )
    bounds = [_from_curve(curve, delta_error / (8 * total)) for curve in curves]
    return max(_from_curve(composed, delta_error / 4), *bounds) + 3


@lru_cache(maxsize=1024)
def _rdp_curve(q: float, sigma: float, fine: bool) -> NDArray[np.float64]:
    """Renyi divergences at the low and the integer orders; not ``fine``: low ones unsampled."""
    low = np.asarray(_LOW_ORDERS) / (2 * sigma**2)
    if fine:
        low = np.asarray(_renyi(q, sigma, _LOW_ORDERS))
    whole = compute_rdp(q=q, noise_multiplier=sigma, steps=1, orders=_INTEGER_ORDERS)
    return np.concatenate([low, np.asarray(whole, dtype=np.float64)])


def _from_curve(curve: NDArray[np.float64], delta: float) -> float:
    """Balle et al. 2020 (arXiv 1905.09982), theorem 21, the least over the orders."""
    orders = np.asarray([*_LOW_ORDERS, *_INTEGER_ORDERS], dtype=np.float64)
    bound = curve - (np.log(delta) + np.log(orders)) / (orders - 1) + np.log1p(-1 / orders)
    return float(np.min(bound))


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Exact delta of a Gaussian of sensitivity over deviation mu (Balle and Wang, theorem 8)."""
    first = float(ndtr(mu / 2 - epsilon / mu))
    return first - math.exp(epsilon + float(log_ndtr(-mu / 2 - epsilon / mu)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Least epsilon >= 0 at which a Gaussian with sensitivity over deviation mu has ``delta``.

    The upper end of a bisection to one part in 10^12: never below the exact value by more.
    """
    if mu <= 0 or gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, mu * mu / 2 + 40 * mu
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if gaussian_delta(mu, middle) > delta:
            low = middle
        else:
            high = middle
    return high


def central_multiplier(sigma_l: float, honest: int, scale: int | None = None) -> float:
    """sigma_C, the noise multiplier against whoever sees sums only (docs/privacy.md).

    sqrt(honest s^2 - 20 honest) / Delta with s = sigma_L Delta: the honest sites' noises add up,
    less the variance b = 20 a site that the lemma on rounded Gaussians takes. One honest site has
    the local multiplier: its own rounding is post-processing.

    Args:
        sigma_l: noise multiplier of one site.
        honest: survivors less the sites of colluding merchants; at least 1.
        scale: Delta; None takes the least deviation that is allowed, s = 1e4, a lower bound.
    """
    if honest < 1:
        raise InputError("n_min", honest, "leaves no honest site", "raise n_min or lower colluders")
    if honest == 1:
        return sigma_l
    deviation = LEAST_DEVIATION if scale is None else sigma_l * scale
    if deviation < LEAST_DEVIATION:
        raise InputError(
            "scale", scale, f"noise of {deviation:.4g} is below 1e4, where rounding counts",
            "take the scale that shared/scaling.py gives",
        )  # fmt: skip
    return sigma_l * math.sqrt(honest * (1 - ROUNDING_VARIANCE / deviation**2))


def overflow_delta(epsilon: float, attempts: int) -> float:
    """What a full set of slots adds to delta: attempts (1 + e^eps) P (docs/privacy.md)."""
    if epsilon > 80:
        return 1.0
    return min(1.0, attempts * (1 + math.exp(epsilon)) * OVERFLOW_PROBABILITY)


def tpr_bound(epsilon: float, delta: float, fpr: float = 0.01) -> float:
    """Largest true-positive rate of any membership test at a false-positive rate ``fpr``.

    min(1, fpr e^eps + delta, 1 - e^-eps (1 - fpr - delta)) (Kairouz, Oh, Viswanath 2015).
    """
    first = fpr * math.exp(epsilon) + delta if epsilon < 80 else 1.0
    return max(0.0, min(1.0, first, 1 - math.exp(-epsilon) * (1 - fpr - delta)))


def warnings_for(local_epsilon: float, honest: int) -> tuple[str, ...]:
    """What must stand beside a pair of epsilons, as sentences.

    Args:
        local_epsilon: epsilon of tier L.
        honest: n_min less the colluding sites.
    """
    found = []
    if local_epsilon > WEAK_LOCAL_EPSILON:
        found.append("alone, the local tier protects little; this rests on secure aggregation")
    if honest == 1:
        found.append(
            "n_min less the colluding sites is 1: the central tier equals the local one, and the "
            "noise is sized for the local tier"
        )
    return tuple(found)
