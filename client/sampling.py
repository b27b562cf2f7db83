"""Who is in a round: Poisson sampling of users, and the fixed number of slots that hides how many.

A deployed vault always computes ``slots(declared, rate)`` users' worth of work, with dummies as
filling, so that time and size of the work do not tell the sample. What an overflow adds to delta is
in ``shared/accounting.py``. Source: design section 3 step 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from groundswell.client.mechanism import Randomness
from groundswell.shared.accounting import OVERFLOW_PROBABILITY
from groundswell.shared.errors import InputError
from groundswell.shared.roster import most_users


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


def within_slots(sampled: NDArray[np.bool_], slots: int) -> NDArray[np.bool_]:
    """The sample if it fits the slots, else nobody: the site then sends noise alone."""
    return sampled if int(sampled.sum()) <= slots else np.zeros_like(sampled)


def _check_rate(rate: float) -> None:
    if not 0 < rate <= 1:
        raise InputError("sampling_rate", rate, "must be in (0, 1]", "correct the plan")
