"""Counts, features and head of the Amazon benchmark, on a handful of invented items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from groundswell.simulation.benchmarks import amazon_counts, amazon_head
from groundswell.simulation.benchmarks.amazon_counts import Counts
from groundswell.simulation.benchmarks.amazon_data import Department, word_likeness
from groundswell.simulation.benchmarks.amazon_scores import FEATURES, PRIOR, features
from groundswell.simulation.benchmarks.quality_amazon import measure_text_alone

ITEMS = 10


def a_department(learned: list[list[int]]) -> Department:
    """Items that share no text; brand 0 for the first five."""
    histories = tuple(np.array(history) for history in learned)
    return Department(
        "invented",
        np.eye(ITEMS, dtype=np.float32),
        np.eye(ITEMS, dtype=np.float32),
        np.eye(ITEMS, dtype=np.float32),
        np.array([0] * 5 + [-1] * 5),
        histories,
        histories,
        np.zeros(len(histories), dtype=np.int64),
        np.arange(len(histories)),
    )


@pytest.fixture(scope="module")
def walks() -> Department:
    """300 users who walk up the items, round and round."""
    draw = np.random.default_rng(0)
    starts = draw.integers(ITEMS, size=300)
    return a_department([[(int(start) + k) % ITEMS for k in range(4)] for start in starts])


def test_the_peer_reads_texts_as_they_are_the_latest_most() -> None:
    shop = a_department([[2, 5], [5, 2]])
    flat = replace(shop, unit=np.ones_like(shop.unit), target=np.array([5, 5]))
    found = measure_text_alone(flat)
    assert found["ndcg@10"][0] > found["ndcg@10"][1] > 0


def of(name: str, values: np.ndarray) -> np.ndarray:
    """One feature, ``[B, L]``."""
    found: np.ndarray = values[:, :, FEATURES.index(name)]
    return found


def test_a_user_gives_ordered_pairs_of_near_steps_and_repeats() -> None:
    position, weight = amazon_counts.user_pairs(np.array([3, 1, 3, 3]), ITEMS, clip=False)
    # 3-1, 1-3, 3-3 next to each other; 3-3 and 1-3 two apart at half the weight.
    assert dict(zip(position.tolist(), weight.tolist(), strict=True)) == {
        31: 1.0,
        13: 1.5,
        33: 1.5,
    }


def test_an_items_newest_occurrence_counts_most() -> None:
    position, weight = amazon_counts.user_items(np.array([2, 5, 2]), clip=False)
    recency = amazon_counts.RECENCY
    assert position.tolist() == [2, 5]
    assert weight == pytest.approx([1 + recency**2, recency])


@pytest.mark.parametrize("history", [[4], [1, 2, 3, 4, 5, 6, 7, 8, 9], [3] * 10])
def test_a_clipped_vector_has_norm_one_at_most(history: list[int]) -> None:
    array = np.array(history)
    for _, value in (
        amazon_counts.user_items(array, clip=True),
        amazon_counts.user_pairs(array, ITEMS, clip=True),
    ):
        assert np.linalg.norm(value) <= 1 + 1e-12


def test_a_pair_is_scored_in_its_direction(walks: Department) -> None:
    found = features(walks, [np.array([3])], amazon_counts.exact(walks))
    for name in ("lift", "share"):
        assert of(name, found)[0].argmax() == 4
        assert of(name, found)[0, 2] == 0


@pytest.mark.parametrize("clip", [False, True])
def test_a_users_own_part_is_taken_out_of_what_they_learn_from(clip: bool) -> None:
    own = np.array([0, 1, 1, 2])
    department = a_department([own.tolist(), [5, 6]])
    popularity, pairs = amazon_counts.sums(department, clip=clip)
    counts = Counts(popularity, sparse.csr_matrix(pairs), clip)
    left = features(department, [own[:-1]], counts, own=[own])
    for name in ("lift", "share", "repeat"):
        assert of(name, features(department, [own[:-1]], counts)).max() > 0
        assert of(name, left).max() == pytest.approx(0, abs=1e-4)
    assert of("popularity", left)[0, 2] == pytest.approx(np.log(PRIOR), abs=1e-6)


def test_brand_repetition_and_nearness_follow_the_history() -> None:
    department = a_department([[0, 1]])
    found = features(department, [np.array([2, 7, 3])], amazon_counts.nothing(ITEMS))
    assert of("brand", found)[0].tolist() == [1.0] * 5 + [0.0] * 5
    assert np.flatnonzero(of("in_history", found)[0]).tolist() == [2, 7]
    assert np.flatnonzero(of("is_last", found)[0]).tolist() == [3]
    assert np.flatnonzero(of("nearest", found)[0]).tolist() == [2, 3, 7]
    # Text of older items counts less.
    decayed = of("decayed", found)[0]
    assert decayed[3] > decayed[7] > decayed[2] > 0


def test_a_brand_that_is_not_known_is_shared_by_nobody() -> None:
    found = features(a_department([[0]]), [np.array([7])], amazon_counts.nothing(ITEMS))
    assert of("brand", found).max() == 0


def test_rare_words_make_titles_alike() -> None:
    likeness = word_likeness(["red ink zx9", "blue ink ZX9", "red ink", "blue pen"])
    assert likeness[0, 1] > likeness[1, 3] > 0
    assert likeness[0, 3] == 0
    assert np.diag(likeness) == pytest.approx(1, abs=1e-6)


def test_training_learns_that_pairs_tell_the_next_item(walks: Department) -> None:
    counts = amazon_counts.exact(walks)
    weights = amazon_head.train(walks, counts, None)
    assert weights[FEATURES.index("share")] > 0.5
    found = features(walks, [np.array([3, 4])], counts) @ weights
    assert found[0].argmax() == 5


def test_private_training_depends_on_noise_and_seed(walks: Department) -> None:
    counts = amazon_counts.released(walks, 8.0, 0)

    def trained(seed: int, deviation: float) -> np.ndarray:
        noise = amazon_head.Noise(deviation, np.random.default_rng(seed))
        return amazon_head.train(walks, counts, noise)

    assert np.array_equal(trained(0, 5.0), trained(0, 5.0))
    assert not np.array_equal(trained(0, 5.0), trained(1, 5.0))
    # Without noise the seed tells nothing.
    assert np.array_equal(trained(0, 0.0), trained(1, 0.0))


def test_the_head_pays_its_steps_out_of_the_same_budget() -> None:
    noise = amazon_counts.deviations(8.0)
    share = amazon_counts.SHARES["pairs"] / amazon_counts.SHARES["head"]
    steps = amazon_counts.HEAD_STEPS
    assert noise["head"] / noise["pairs"] == pytest.approx((share * steps) ** 0.5, rel=1e-3)
