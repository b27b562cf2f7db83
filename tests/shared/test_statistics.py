"""Each statistic: one user's vector is that user's own, bounded, and estimates undo the noise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.histories import MICROSECONDS_PER_DAY as DAY
from groundswell.shared.histories import Histories
from groundswell.shared.pairs import association_vectors, projected, released_pairs
from groundswell.shared.statistics import STATISTICS, statistic_of
from groundswell.shared.task import Task

Maker = Callable[..., Histories]
LABELS = 5
TASK = Task(window=timedelta(days=7))
WINDOWS = np.arange(7, 70, 7, dtype=np.int64) * DAY
EVENT = st.tuples(st.integers(0, 76).map(float), st.integers(0, LABELS - 1))


@pytest.fixture(scope="module")
def embeddings() -> NDArray[np.float32]:
    random = np.random.default_rng(3).normal(size=(LABELS, 8)).astype(np.float32)
    return np.asarray(random / np.linalg.norm(random, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(scope="module")
def earlier(shop: Catalogue, embeddings: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    noisy = np.array([30.0, 20, 25, 15, 10])
    known: dict[str, NDArray[np.float32]] = {}
    for others in (("pairs",), ("transitions",)):
        popularity = statistic_of("popularity", beside=others)
        known |= popularity.estimate(noisy, 100, 0.1, shop, known, embeddings)
    return known


@pytest.mark.parametrize("kind", list(STATISTICS))
@given(rows=st.lists(st.lists(EVENT, max_size=10), min_size=2, max_size=4))
@settings(max_examples=25, deadline=None)
def test_removing_a_user_changes_no_other_vector(
    kind: str,
    rows: list[list[tuple[float, int]]],
    make_histories: Maker,
    shop: Catalogue,
    earlier: dict[str, NDArray[np.float32]],
) -> None:
    statistic = STATISTICS[kind]
    h = make_histories(rows)
    whole = statistic.user_vectors(h, WINDOWS, TASK, shop, earlier)
    without = statistic.user_vectors(h.take(range(1, len(h))), WINDOWS, TASK, shop, earlier)
    assert whole.shape == (len(h), statistic.dimension(LABELS))
    np.testing.assert_array_equal(whole[1:], without)
    assert (np.count_nonzero(whole, axis=1) <= statistic.max_nonzero(LABELS)).all()
    for row, vector in zip(rows, whole, strict=True):
        if not row:
            assert not vector.any()


def test_popularity_is_the_mean_over_own_active_windows(
    make_histories: Maker, shop: Catalogue
) -> None:
    h = make_histories([[(1, 0), (8, 1), (15, 1), (15, 2)], [(8, 3)]])
    found = STATISTICS["popularity"].user_vectors(h, WINDOWS, TASK, shop, {})
    np.testing.assert_allclose(found, np.array([[0, 2, 1, 0, 0], [0, 0, 0, 0, 0]]) / 2)


def test_repeat_rates_of_many_users_are_found_again(
    make_histories: Maker,
    shop: Catalogue,
    embeddings: NDArray[np.float32],
    earlier: dict[str, NDArray[np.float32]],
) -> None:
    rng = np.random.default_rng(0)
    rows = [
        [(float(day), int(label)) for day in range(1, 70, 3) for label in rng.integers(0, 5, 1)]
        for _ in range(40)
    ]
    kind = STATISTICS["h5"]
    vectors = kind.user_vectors(make_histories(rows), WINDOWS, TASK, shop, earlier)
    rates = kind.estimate(vectors.sum(axis=0), 40, 1e-4, shop, earlier, embeddings)["h5"]
    assert rates.shape == (LABELS, 6)
    assert ((rates > 0) & (rates < 1)).all()
    # Labels come at random here, so how often one came before says nothing.
    np.testing.assert_allclose(rates[:, 1], rates[:, 0], atol=0.15)


@given(
    counts=st.lists(st.floats(0, 1e6), min_size=LABELS, max_size=LABELS),
    popularity=st.lists(
        st.floats(allow_nan=True, allow_infinity=True), min_size=LABELS, max_size=LABELS
    ),
    basis=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=10, max_size=10),
)
@settings(max_examples=80, deadline=None)
def test_a_pairs_vector_is_bounded_for_any_earlier_release(
    counts: list[float], popularity: list[float], basis: list[float]
) -> None:
    x = association_vectors(np.array([counts]), np.array(popularity))
    assert np.linalg.norm(x) <= 1 + 1e-9
    with np.errstate(over="ignore", invalid="ignore"):
        z = projected(x, np.array(basis).reshape(LABELS, 2))
        released = released_pairs(z)
    norm = np.linalg.norm(released)
    assert norm <= 1 + 1e-9 or not np.isfinite(norm)  # the mechanism counts the latter as 0
    if not any(counts):
        assert not np.nan_to_num(released).any()


def test_a_refresh_is_averaged_with_the_release_before(
    shop: Catalogue, embeddings: NDArray[np.float32]
) -> None:
    kind = STATISTICS["popularity"]
    first = kind.estimate(np.full(LABELS, 10.0), 100, 1.0, shop, {}, embeddings)
    second = kind.estimate(np.full(LABELS, 30.0), 100, 1.0, shop, first, embeddings)
    np.testing.assert_allclose(second["popularity_mean"], 0.2, rtol=1e-6)
    np.testing.assert_allclose(second["popularity_deviation"], 0.01 / np.sqrt(2), rtol=1e-6)


def test_estimates_stay_usable_under_heavy_noise(
    shop: Catalogue, embeddings: NDArray[np.float32]
) -> None:
    rng = np.random.default_rng(5)
    statistics: dict[str, NDArray[np.float32]] = {}
    for kind in STATISTICS.values():
        noisy = rng.normal(0, 100, kind.dimension(LABELS))
        statistics |= kind.estimate(noisy, 10, 100.0, shop, statistics, embeddings)
    assert all(np.isfinite(value).all() for value in statistics.values())
    assert (statistics["popularity"] > 0).all()
    assert ((statistics["h5"] > 0) & (statistics["h5"] < 1)).all()
