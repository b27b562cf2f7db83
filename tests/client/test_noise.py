"""The distribution of the noise, against exact figures; seeded streams make tests repeatable."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import chi2

from groundswell.client.mechanism import (
    SystemRandomness,
    clip_and_round,
    gaussian_noise,
    integers_from_words,
    rounding_keys,
    scale,
)
from groundswell.shared.errors import InputError
from groundswell.simulation.seeded import SeededRandomness

Noise = NDArray[np.int64]
Sampler = Callable[[int, float], Noise]

LARGEST = 2**64 - 1


def seeded(dimension: int, deviation: float) -> Noise:
    return gaussian_noise(dimension, deviation, SeededRandomness(4, "noise"))


def system(dimension: int, deviation: float) -> Noise:
    return gaussian_noise(dimension, deviation, SystemRandomness())


def variance_error(sampler: Sampler, deviation: float, dimension: int = 2_000_000) -> float:
    """Relative error of the variance, in standard errors sqrt(2 / dimension)."""
    noise = sampler(dimension, deviation).astype(np.float64)
    exact = deviation**2 + 1 / 12  # rounding adds 1/12 (Sheppard)
    return float(abs(np.mean(noise**2) / exact - 1) / math.sqrt(2 / dimension))


def chi_square_p(noise: Noise, deviation: float, bins: int) -> float:
    """p-value of round(N(0, s^2)) over about ``bins`` equally likely bins, exact at integers."""
    edges = np.unique(np.rint(deviation * ndtri(np.arange(1, bins) / bins)))
    inner = ndtr((edges + 0.5) / deviation)
    expected = np.diff(np.concatenate([[0.0], inner, [1.0]])) * len(noise)
    found = np.bincount(np.searchsorted(edges, noise), minlength=len(expected))
    statistic = float(np.sum((found - expected) ** 2 / expected))
    return float(chi2.sf(statistic, len(expected) - 1))


@pytest.mark.parametrize("deviation", [1e4, 123_456.7, 1e7])
def test_variance_is_that_of_the_rounded_gaussian(deviation: float) -> None:
    assert variance_error(seeded, deviation) < 4
    assert variance_error(system, deviation) < 6


@pytest.mark.parametrize(("deviation", "bins"), [(2.5, 1000), (1e4, 1000), (3e6, 1000)])
def test_chi_square_against_the_exact_distribution(deviation: float, bins: int) -> None:
    assert chi_square_p(seeded(2_000_000, deviation), deviation, bins) > 1e-3


def test_tails_hold_as_many_draws_as_they_should() -> None:
    deviation, count = 1e5, 4_000_000
    noise = np.abs(seeded(count, deviation))
    for multiple in (3.0, 4.0, 4.5):
        expected = 2 * ndtr(-multiple) * count
        assert abs(int((noise > multiple * deviation).sum()) - expected) < 4 * expected**0.5


def test_neighbouring_draws_and_their_squares_are_uncorrelated() -> None:
    noise = seeded(1_000_000, 1e5) / 1e5
    for series in (noise, noise**2):
        centred = (series - series.mean()) / series.std()
        for lag in (1, 2, 3, 500_000):
            correlation = float(np.mean(centred[lag:] * centred[:-lag]))
            assert abs(correlation) < 4.5 / math.sqrt(len(noise) - lag)


def quarter_of_the_noise(dimension: int, deviation: float) -> Noise:
    return seeded(dimension, deviation / 4)


def uniform_noise(dimension: int, deviation: float) -> Noise:
    """Mutant: the right variance and the wrong shape."""
    generator = SeededRandomness(4, "uniform").generator()
    return np.rint(generator.uniform(-1, 1, dimension) * deviation * 3**0.5).astype(np.int64)


def one_percent_less(dimension: int, deviation: float) -> Noise:
    return seeded(dimension, deviation * 0.99)


@pytest.mark.parametrize("mutant", [quarter_of_the_noise, uniform_noise, one_percent_less])
def test_the_noise_tests_catch_mutants(mutant: Sampler) -> None:
    deviation = 1e5
    by_variance = variance_error(mutant, deviation) > 4
    by_shape = chi_square_p(mutant(2_000_000, deviation), deviation, 1000) < 1e-3
    assert by_variance or by_shape


def test_no_word_repeats_over_rounds_sites_and_coordinates() -> None:
    words = np.concatenate([SystemRandomness().words(100_000) for _ in range(8)])
    assert len(np.unique(words)) == len(words)
    rounds = [system(1000, 1e7) for _ in range(6)]
    for first in range(6):
        for second in range(first):
            assert (rounds[first] == rounds[second]).mean() < 0.01


def test_a_million_coordinates_take_well_under_a_second() -> None:
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        system(1_000_000, 1e5)
        best = min(best, time.perf_counter() - start)
    assert best < 0.8


@pytest.mark.parametrize("dimension", [0, 1, 2, 3, 1001, (1 << 20) + 3])
def test_any_dimension_is_filled(dimension: int) -> None:
    noise = seeded(dimension, 1e6)
    assert noise.shape == (dimension,)
    assert noise.dtype == np.int64
    assert (noise != 0).mean() > 0.99 if dimension else True


@pytest.mark.parametrize("deviation", [0.0, -1.0, math.nan, math.inf])
def test_noise_without_a_usable_standard_deviation_is_refused(deviation: float) -> None:
    with pytest.raises(InputError, match="standard_deviation"):
        seeded(10, deviation)


def exact_pair(first: int, second: int, deviation: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Box and Muller's pair before rounding, at 40 digits."""
    grid = mpmath.mpf(2) ** 64
    radius = deviation * mpmath.sqrt(-2 * mpmath.log((first + mpmath.mpf("0.5")) / grid))
    cosine, sine = mpmath.cos_sin(2 * mpmath.pi * (second + mpmath.mpf("0.5")) / grid)
    return radius * cosine, radius * sine


def mismatches(words: list[int], deviation: float) -> int:
    """Draws that differ from the exact integer although the exact value is not at a rounding tie.

    float64 may round a value within 1e-6 of a half the other way; anything more is an error.
    """
    drawn = integers_from_words(np.array(words, dtype=np.uint64), deviation)
    wrong = 0
    with mpmath.workdps(40):
        for index in range(0, len(words), 2):
            pair = exact_pair(words[index], words[index + 1], deviation)
            for value, integer in zip(pair, drawn[index : index + 2], strict=True):
                wrong += abs(value - int(integer)) > 0.5 + 1e-6
    return wrong


def test_bits_to_integers_agree_with_mpmath_on_random_words() -> None:
    words = SeededRandomness(6, "mpmath").words(100_000).tolist()
    assert mismatches(words, 1e7) == 0


def test_bits_to_integers_agree_with_mpmath_on_extreme_words() -> None:
    centres = [0, 2**11, 2**52, 2**53, 2**54, 2**61, 2**62, 2**63, 3 * 2**62, LARGEST]
    near = {c + d for c in centres for d in (-2, -1, 0, 1, 2) if 0 <= c + d <= LARGEST}
    extreme = sorted(near)
    words = [word for first in extreme for second in extreme for word in (first, second)]
    for deviation in (1e4, 1e7):
        assert mismatches(words, deviation) == 0


def test_the_largest_and_the_smallest_radius_are_those_of_the_grid() -> None:
    deviation = 1e7
    tail = integers_from_words(np.array([0, 0], dtype=np.uint64), deviation)
    assert tail[0] == round(deviation * math.sqrt(2 * 65 * math.log(2)))
    centre = integers_from_words(np.array([LARGEST, 0], dtype=np.uint64), deviation)
    assert centre.tolist() == [0, 0]


def test_sum_over_sites_is_one_central_gaussian_with_the_known_sum_in_it() -> None:
    sites, dimension, sigma = 6, 1_200_000, 1.5
    delta = scale(sigma, 20)
    generator = np.random.default_rng(11)
    known = np.zeros(dimension, dtype=np.int64)
    total = np.zeros(dimension, dtype=np.int64)
    for site in range(sites):
        vectors = np.zeros((3, dimension))
        for row in vectors:
            row[generator.choice(dimension, 20, replace=False)] = generator.normal(size=20)
        keys = rounding_keys(bytes([site]) * 32, ["a", "b", "c"])
        sent = clip_and_round(vectors, 1.0, delta, 20, keys).sum(axis=0)
        known += sent
        noise = gaussian_noise(dimension, sigma * delta, SeededRandomness(13, "site", site))
        total += sent + noise
    deviation = sigma * delta * math.sqrt(sites)
    central = gaussian_noise(dimension, deviation, SeededRandomness(13, "central"))
    residual = (total - known).astype(np.float64)
    assert residual.var() == pytest.approx(float(central.astype(np.float64).var()), rel=0.01)
    assert residual.var() == pytest.approx(deviation**2, rel=0.01)
    assert chi_square_p(total - known, deviation, 500) > 1e-3
