"""Who is in a round: Poisson sampling of users, and the fixed number of slots that hides how many.

A deployed vault always computes ``slots(declared, rate)`` users' worth of work, with dummies as
filling, so that time and size of the work do not tell the sample. Source: design section 3 step 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from groundswell.client.mechanism import Randomness
from groundswell.shared.errors import InputError

OVERFLOW_PROBABILITY = 1e-20
# `import` refuses a store with more users than this over the declared number.
DECLARED_MARGIN_PERCENT = 105


def poisson_sample(count: int, rate: float, randomness: Randomness) -> NDArray[np.bool_]:
    """bool ``[count]``: each user is in with probability ``rate``, independently.

    The probability is floor(rate 2^64) / 2^64, so never above ``rate``.

    Raises:
        InputError: the rate is not in (0, 1].
    """
    _check_rate(rate)
    if rate == 1:
        return np.ones(count, dtype=np.bool_)
    return randomness.words(count) < np.uint64(int(math.ldexp(rate, 64)))


def most_users(declared: int) -> int:
    """Most users that a store may hold while ``declared`` stands: ceil(1.05 declared)."""
    return -(-declared * DECLARED_MARGIN_PERCENT // 100)


def slots(declared: int, rate: float) -> int:
    """K, the least number of slots with P(Binomial(ceil(1.05 N), q) > K) <= 1e-20.

    Args:
        declared: N, the site's declared number of users.
        rate: q, in (0, 1].
    """
    _check_rate(rate)
    users = most_users(declared)
    low, high = -1, users  # the probability is above the limit at low and within it at high
    while high - low > 1:
        middle = (low + high) // 2
        if bdtrc(middle, users, rate) <= OVERFLOW_PROBABILITY:
            high = middle
        else:
            low = middle
    return high


def overflow_probability(declared: int, rate: float) -> float:
    """P(Binomial(ceil(1.05 N), q) > K) at the site's own number of slots; 0 where K is everyone."""
    _check_rate(rate)
    users, most = most_users(declared), slots(declared, rate)
    return 0.0 if most >= users else float(bdtrc(most, users, rate))


def within_slots(sampled: NDArray[np.bool_], slots: int) -> NDArray[np.bool_]:
    """The sample if it fits the slots, else nobody: the site then sends noise alone."""
    return sampled if int(sampled.sum()) <= slots else np.zeros_like(sampled)


def overflow_delta(rounds: int, epsilon: float, probability: float) -> float:
    """T (1 + e^eps) P, what overflowing slots add to delta, at most 1.

    The run with noise alone on overflow is within total variation T P of the run with unbounded
    slots, on each of two neighbouring inputs; that moves (eps, delta) to delta + T P (1 + e^eps).
    """
    if probability == 0:
        return 0.0
    exponent = math.log(rounds * probability) + np.logaddexp(0.0, epsilon) if rounds else -math.inf
    return float(min(1.0, math.exp(min(0.0, float(exponent)))))


def _check_rate(rate: float) -> None:
    if not 0 < rate <= 1:
        raise InputError("sampling_rate", rate, "must be in (0, 1]", "correct the plan")
