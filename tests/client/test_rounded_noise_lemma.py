"""The lemma under tier C, checked numerically: rounded noises of n sites act like one Gaussian.

Design section 3: split each site's noise into X_i + Y_i with Var Y_i = b. Given all X_i, the sum of
the rounded noises depends on the X_i through their sum alone, up to tau; so it is a randomised
function of one Gaussian, and the accountant may use that Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

Pmf = NDArray[np.float64]


def rounded(mean: float, deviation: float, reach: int) -> Pmf:
    """Probabilities of round(N(mean, deviation^2)) at -reach..reach."""
    edges = np.arange(-reach, reach + 2) - 0.5
    return np.diff(ndtr((edges - mean) / deviation))


def sum_of_rounded(means: Sequence[float], deviation: float, reach: int) -> Pmf:
    """Probabilities of the sum of independent round(N(mean_i, deviation^2))."""
    total = rounded(means[0], deviation, reach)
    for mean in means[1:]:
        total = np.convolve(total, rounded(mean, deviation, reach))
    return total


def total_variation(first: Pmf, second: Pmf) -> float:
    return float(np.abs(first - second).sum() / 2)


def tau(sites: int, b: float) -> float:
    """The lemma's bound for one coordinate."""
    n = sites
    factor = 2.01 * n * (2 * math.pi * b * math.sqrt(n) + n + 3) + 2
    return factor * math.exp(-(math.pi**2) * b / 2)


@pytest.mark.parametrize("sites", [2, 3, 8])
@pytest.mark.parametrize("b", [1.0, 2.0, 3.0, 4.0])
def test_given_their_sum_the_split_over_sites_does_not_show(sites: int, b: float) -> None:
    generator = np.random.default_rng(sites)
    target = 0.3
    reference = sum_of_rounded([target / sites] * sites, math.sqrt(b), 40)
    worst = 0.0
    for _ in range(25):
        means = generator.uniform(-3, 3, sites)
        means += (target - means.sum()) / sites
        found = sum_of_rounded(means.tolist(), math.sqrt(b), 40)
        worst = max(worst, total_variation(found, reference))
    # Each is within tau of the same function of the sum.
    assert worst <= 2 * tau(sites, b)


def test_the_difference_falls_off_at_least_as_fast_as_the_lemma_says() -> None:
    def difference(b: float) -> float:
        even = sum_of_rounded([0.0, 0.0], math.sqrt(b), 60)
        apart = sum_of_rounded([0.25, -0.25], math.sqrt(b), 60)
        return total_variation(even, apart)

    # At n = 2 both sites' factors fall off together: the lemma counts one of them.
    measured = math.log(difference(1.0) / difference(3.0)) / 2
    assert measured == pytest.approx(math.pi**2, rel=0.01)
    assert measured > math.pi**2 / 2


def test_at_the_sizes_in_use_the_bound_is_negligible() -> None:
    coordinates = 10**10
    assert tau(128, 20.0) * coordinates < 1e-27


def test_a_sum_of_rounded_gaussians_is_not_itself_a_rounded_gaussian() -> None:
    """Why the lemma is needed: the naive reading is off by 6.3e-4 at n = 2, s = 4."""
    pair = sum_of_rounded([0.0, 0.0], 4.0, 60)
    single = rounded(0.0, math.sqrt(32), 120)
    assert total_variation(pair, single) == pytest.approx(6.3e-4, rel=0.02)
