"""What one user can change, and what a rounded vector is. Noise is in test_noise.py."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundswell.client.mechanism import (
    AUTO_S,
    FLAT,
    clip_and_round,
    rounding_keys,
    scale,
    within_bound,
)
from groundswell.shared.errors import InputError

SECRET = bytes(range(32))
DIMENSION = 40
DELTA = scale(1.0, DIMENSION)
CLIP = 0.7

Vectors = NDArray[np.float64]
Rounded = NDArray[np.int64]
Mechanism = Callable[[Vectors, list[bytes]], Rounded]

hostile = st.one_of(
    st.just(0.0),
    st.just(-0.0),
    st.floats(-10, 10),
    st.sampled_from(
        [math.nan, math.inf, -math.inf, 1e30, -1e30, 1.7e308, -1.7e308, 5e-324, -2.3e-308, 1e-200]
    ),
)
rows = st.lists(
    st.lists(hostile, min_size=DIMENSION, max_size=DIMENSION), min_size=1, max_size=5
).map(lambda values: np.array(values, dtype=np.float64))


def keys_of(count: int) -> list[bytes]:
    return rounding_keys(SECRET, [f"user-{i}" for i in range(count)])


def real(vectors: Vectors, keys: list[bytes], mode: str = FLAT) -> Rounded:
    return clip_and_round(vectors, CLIP, DELTA, DIMENSION, keys, mode)


def exact_norm_squared(row: Rounded) -> int:
    return sum(int(value) ** 2 for value in row)


@pytest.mark.parametrize("mode", [FLAT, AUTO_S])
@settings(max_examples=300, deadline=None)
@given(vectors=rows)
def test_every_users_integers_are_bounded_and_a_bad_row_becomes_zeros(
    mode: str, vectors: Vectors
) -> None:
    rounded = real(vectors, keys_of(len(vectors)), mode)
    for vector, row in zip(vectors, rounded, strict=True):
        assert exact_norm_squared(row) <= DELTA**2
        assert not row[vector == 0].any()
        if not np.isfinite(vector).all():
            assert not row.any()
        elif np.abs(vector).max() > 1e-3:
            assert row.any()


@settings(max_examples=100, deadline=None)
@given(vectors=rows, victim=st.integers(0, 4), values=st.lists(hostile, min_size=1))
def test_a_hostile_row_leaves_the_other_rows_byte_equal(
    vectors: Vectors, victim: int, values: list[float]
) -> None:
    keys = keys_of(len(vectors))
    before = real(vectors, keys)
    changed = vectors.copy()
    changed[victim % len(vectors)] = np.resize(values, DIMENSION)
    after = real(changed, keys)
    others = np.arange(len(vectors)) != victim % len(vectors)
    assert before[others].tobytes() == after[others].tobytes()


@settings(max_examples=50, deadline=None)
@given(chunk=st.integers(1, 9), seed=st.integers(0, 2**32))
def test_chunk_size_and_memory_layout_change_nothing_to_the_bit(chunk: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(9, DIMENSION))
    keys = keys_of(9)
    whole = real(vectors, keys)
    parts = [real(vectors[i : i + chunk], keys[i : i + chunk]) for i in range(0, 9, chunk)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert real(np.asfortranarray(vectors), keys).tobytes() == whole.tobytes()


def worst_change(mechanism: Mechanism, users: int = 12) -> int:
    """Largest squared norm by which one of ``users`` hostile users changes the sum."""
    generator = np.random.default_rng(7)
    size = 10.0 ** generator.uniform(-3, 30, size=(users, 1))
    vectors = generator.normal(size=(users, DIMENSION)) * size
    keys = keys_of(users)
    total = mechanism(vectors, keys).sum(axis=0)
    worst = 0
    for user in range(users):
        left = [i for i in range(users) if i != user]
        without = mechanism(vectors[left], [keys[i] for i in left]).sum(axis=0)
        worst = max(worst, exact_norm_squared(total - without))
    return worst


@pytest.mark.parametrize("mode", [FLAT, AUTO_S])
def test_removing_a_user_changes_the_sum_by_at_most_delta(mode: str) -> None:
    assert worst_change(lambda vectors, keys: real(vectors, keys, mode)) <= DELTA**2


def four_times_the_clip(vectors: Vectors, keys: list[bytes]) -> Rounded:
    """Mutant: clips to 4 C, and scales as if to C."""
    return clip_and_round(vectors, CLIP, 4 * DELTA, DIMENSION, keys)


def per_example_clipping(vectors: Vectors, keys: list[bytes]) -> Rounded:
    """Mutant: clips each of a user's three examples instead of the user."""
    return real(vectors, keys) * 3


def neighbours_share_the_rounding(vectors: Vectors, keys: list[bytes]) -> Rounded:
    """Mutant: one rounding stream for the sample, so that users move each other's roundings."""
    flat = clip_and_round(
        vectors.reshape(1, -1), CLIP * len(vectors), 4 * DELTA, vectors.size, keys[:1]
    )
    return flat.reshape(vectors.shape)


@pytest.mark.parametrize(
    "mutant", [four_times_the_clip, per_example_clipping, neighbours_share_the_rounding]
)
def test_the_sensitivity_test_catches_mutants(mutant: Mechanism) -> None:
    assert worst_change(mutant) > DELTA**2


def test_a_million_equal_contributions_of_one_user_stay_within_delta() -> None:
    vector = np.full((1, DIMENSION), 3.0) * 10**6
    assert exact_norm_squared(real(vector, keys_of(1))[0]) <= DELTA**2


@pytest.mark.parametrize("mode", [FLAT, AUTO_S])
def test_rounding_is_unbiased_around_the_clipped_vector(mode: str) -> None:
    vector = np.random.default_rng(3).normal(size=DIMENSION) * 0.3
    norm = float(np.linalg.norm(vector))
    clipped = vector * min(1.0, CLIP / norm) if mode == FLAT else CLIP * vector / (norm + 0.01)
    expected = 0.999 * DELTA * clipped / CLIP
    repeats = 4000
    rounded = real(np.tile(vector, (repeats, 1)), keys_of(repeats), mode)
    assert np.abs(rounded - expected).max() < 1
    fraction = expected - np.floor(expected)
    error = (rounded.mean(axis=0) - expected) / np.sqrt(fraction * (1 - fraction) / repeats + 1e-9)
    assert np.abs(error).max() < 4.5


def test_short_vectors_are_not_stretched_by_flat_clipping() -> None:
    vector = np.zeros((1, DIMENSION))
    vector[0, 5] = CLIP / 2
    assert abs(int(real(vector, keys_of(1))[0, 5]) - 0.999 * DELTA / 2) < 1


def test_float32_rows_round_like_their_float64_values() -> None:
    vectors = np.random.default_rng(1).normal(size=(3, DIMENSION)).astype(np.float32)
    single = clip_and_round(vectors, CLIP, DELTA, DIMENSION, keys_of(3))
    assert single.tobytes() == real(vectors.astype(np.float64), keys_of(3)).tobytes()


def test_a_row_above_the_plans_cap_of_nonzero_coordinates_becomes_zeros() -> None:
    vectors = np.ones((2, DIMENSION))
    vectors[1, 10:] = 0
    rounded = clip_and_round(vectors, CLIP, DELTA, 10, keys_of(2))
    assert not rounded[0].any()
    assert rounded[1].any()


def test_rounding_differs_between_users_and_between_attempts() -> None:
    vector = np.tile(np.random.default_rng(2).normal(size=DIMENSION), (2, 1))
    first = real(vector, keys_of(2))
    second = real(vector, rounding_keys(bytes(32), ["user-0", "user-1"]))
    assert (first[0] != first[1]).any()
    assert (first != second).any()


@given(
    values=st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=30),
    bound=st.integers(1, 2**30),
)
def test_the_bound_is_decided_in_exact_integers(values: list[int], bound: int) -> None:
    row = np.array([values], dtype=np.int64)
    assert within_bound(row, bound)[0] == (sum(v * v for v in values) <= bound**2)


@pytest.mark.parametrize("dimension", [1, 7, 8, 1000])
def test_the_bound_is_exact_at_its_edge_where_squares_fill_int64(dimension: int) -> None:
    bound = 2**30
    row = np.full((1, dimension), math.isqrt(bound**2 // dimension), dtype=np.int64)
    assert within_bound(row, bound)[0]
    row += 1
    assert not within_bound(row, bound)[0]
    assert not within_bound(np.full((1, dimension), -(2**63), dtype=np.int64), bound)[0]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"mode": "none"}, "clipping"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"clip_norm": math.nan}, "clip_norm"),
        ({"scale": 16}, "scale"),
        ({"keys": []}, "keys"),
    ],
)
def test_unusable_parameters_of_a_plan_are_refused(change: dict[str, object], key: str) -> None:
    arguments: dict[str, object] = {
        "vectors": np.ones((1, DIMENSION)),
        "clip_norm": CLIP,
        "scale": DELTA,
        "max_nonzero": DIMENSION,
        "keys": keys_of(1),
        "mode": FLAT,
    }
    call: Callable[..., Rounded] = clip_and_round
    with pytest.raises(InputError) as caught:
        call(**{**arguments, **change})
    assert caught.value.key == key
