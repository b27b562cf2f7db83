from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundswell.client.mechanism import SystemRandomness, gaussian_noise
from groundswell.client.sampling import poisson_sample, slots, within_slots
from groundswell.shared.errors import InputError
from groundswell.shared.roster import most_users
from groundswell.simulation.seeded import NoNoise, SeededRandomness

USERS = 2000
ROUNDS = 3000


def rounds_of_samples(rate: float, label: str) -> NDArray[np.bool_]:
    randomness = SeededRandomness(5, label)
    return np.stack([poisson_sample(USERS, rate, randomness) for _ in range(ROUNDS)])


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.93])
def test_inclusion_rate_and_batch_size_variance_are_those_of_poisson_sampling(rate: float) -> None:
    sampled = rounds_of_samples(rate, "site")
    spread = math.sqrt(rate * (1 - rate) / sampled.size)
    assert abs(sampled.mean() - rate) < 4 * spread
    per_user = sampled.mean(axis=0)
    assert np.abs(per_user - rate).max() < 5 * math.sqrt(rate * (1 - rate) / ROUNDS)
    sizes = sampled.sum(axis=1)
    expected = rate * (1 - rate) * USERS
    assert sizes.var() == pytest.approx(expected, rel=5 * math.sqrt(2 / ROUNDS))


def test_samples_are_independent_over_rounds_sites_and_users() -> None:
    first, second = rounds_of_samples(0.5, "site 1"), rounds_of_samples(0.5, "site 2")
    limit = 4.5 / math.sqrt(first.size)
    for one, other in (
        (first, second),
        (first[:-1], first[1:]),
        (first[:, :-1], first[:, 1:]),
    ):
        assert abs(np.mean((2.0 * one - 1) * (2.0 * other - 1))) < limit * 1.01


def test_system_randomness_draws_a_new_sample_every_round() -> None:
    samples = [poisson_sample(USERS, 0.5, SystemRandomness()) for _ in range(4)]
    for index, sample in enumerate(samples):
        assert 800 < sample.sum() < 1200
        for other in samples[:index]:
            assert 700 < (sample == other).sum() < 1300


def test_rate_one_takes_everyone_without_drawing() -> None:
    assert poisson_sample(50, 1.0, NoNoise()).all()


def test_no_users_give_an_empty_sample() -> None:
    assert poisson_sample(0, 0.5, SystemRandomness()).shape == (0,)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.0001, math.nan])
def test_a_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match="sampling_rate"):
        poisson_sample(10, rate, SystemRandomness())
    with pytest.raises(InputError, match="sampling_rate"):
        slots(10, rate)


def test_an_empty_batch_still_releases_noise() -> None:
    sampled = within_slots(poisson_sample(10, 0.5, NoNoise()), slots(10, 0.5))
    assert not sampled.any()
    vectors = np.zeros((int(sampled.sum()), 1000), dtype=np.int64)
    release = vectors.sum(axis=0) + gaussian_noise(1000, 1e5, SystemRandomness())
    assert (release != 0).sum() > 990


def exact_tail(users: int, rate: float, most: int) -> mpmath.mpf:
    """P(Binomial(users, rate) > most), summed term by term at 50 digits."""
    with mpmath.workdps(50):
        p = mpmath.mpf(rate)
        term = mpmath.binomial(users, most + 1) * p ** (most + 1) * (1 - p) ** (users - most - 1)
        total = mpmath.mpf(0)
        for k in range(most + 1, users + 1):
            total += term
            term *= mpmath.mpf(users - k) / (k + 1) * p / (1 - p)
            if term < total * mpmath.mpf(10) ** -40:
                break
        return total


@settings(max_examples=60, deadline=None)
@given(declared=st.integers(1, 5000), rate=st.floats(0.001, 0.999))
def test_slots_are_the_least_number_that_overflows_with_probability_1e_20(
    declared: int, rate: float
) -> None:
    users, most = most_users(declared), slots(declared, rate)
    assert users == math.ceil(1.05 * declared) or users == -(-105 * declared // 100)
    assert exact_tail(users, rate, most) <= 1e-20 * (1 + 1e-9)
    if most:
        assert exact_tail(users, rate, most - 1) > 1e-20 * (1 - 1e-9)


@pytest.mark.parametrize(
    ("declared", "rate"), [(309, 0.5), (309, 0.1), (100_000, 0.01), (1_000_000, 0.5)]
)
def test_slots_are_exact_in_the_far_tail_of_any_size(declared: int, rate: float) -> None:
    users, most = most_users(declared), slots(declared, rate)
    assert exact_tail(users, rate, most) <= 1e-20 < exact_tail(users, rate, most - 1)


def test_slots_are_everyone_at_rate_one_and_at_small_sites() -> None:
    assert slots(40, 1.0) == most_users(40) == 42
    assert slots(10, 0.5) == most_users(10) == 11


def test_on_overflow_nobody_is_in_the_sample() -> None:
    sampled = np.array([True, True, True, False])
    assert within_slots(sampled, 3).tolist() == sampled.tolist()
    assert not within_slots(sampled, 2).any()
