"""Which item follows which: a user's vector, what is made of a noisy sum, and how it is read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError
from groundswell.shared.histories import Histories
from groundswell.shared.transitions import (
    KEPT,
    LARGEST,
    MOST_PAIRS,
    USERS,
    Followers,
    Transitions,
    of_other_labels,
)

Maker = Callable[..., Histories]
LABELS = 6
KIND = Transitions()


def walk(*labels: int) -> list[tuple[float, int]]:
    return [(float(day), label) for day, label in enumerate(labels)]


def vectors(h: Histories) -> list[dict[int, float]]:
    """Of each row, value by position."""
    position, value = KIND.user_cells(h, LABELS)
    return [
        {int(p): float(v) for p, v in zip(*each, strict=True) if v}
        for each in zip(position, value, strict=True)
    ]


def test_near_steps_make_ordered_pairs_of_which_the_nearer_count_more(
    make_histories: Maker,
) -> None:
    # 3-1, 1-3, 3-3 next to each other; 3-3 and 1-3 two apart at half the weight.
    assert vectors(make_histories([walk(3, 1, 3, 3), walk(2), []])) == [
        {3 * LABELS + 1: 1.0, 1 * LABELS + 3: 1.5, 3 * LABELS + 3: 1.5},
        {},
        {},
    ]


def test_no_more_than_the_newest_pairs_count(make_histories: Maker) -> None:
    old, new = walk(*[0] * 50), [(100.0 + day, 1 + day % 5) for day in range(50)]
    found = vectors(make_histories([old + new]))[0]
    assert sum(found.values()) <= MOST_PAIRS
    assert 0 not in found


@given(st.lists(st.lists(st.integers(0, LABELS - 1), max_size=40), min_size=2, max_size=4))
@settings(max_examples=30, deadline=None)
def test_a_users_cells_are_different_ones_and_nobody_elses_concern(
    make_histories: Maker, rows: list[list[int]]
) -> None:
    h = make_histories([walk(*row) for row in rows])
    position, value = KIND.user_cells(h, LABELS)
    assert position.shape == value.shape == (len(rows), KIND.max_nonzero(LABELS))
    for cells, values in zip(position, value, strict=True):
        used = cells[values != 0]
        assert len(np.unique(used)) == len(used)
    alone = KIND.user_cells(h.take([1]), LABELS)
    assert np.array_equal(alone[0][0], position[1])
    assert np.array_equal(alone[1][0], value[1])


def test_too_many_items_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"transitions.*5000 labels"):
        KIND.dimension(5000)
    assert KIND.dimension(4096) == LARGEST


@pytest.fixture(scope="module")
def items() -> Catalogue:
    """Sixty items without groups; what they are called says nothing."""
    names = tuple(f"item {n}" for n in range(60))
    return Catalogue("items", names, names, ("",) * 60, np.ones(60, dtype=np.float32), {})


@pytest.fixture(scope="module")
def unit() -> NDArray[np.float32]:
    """Texts on a circle: neighbours by number are neighbours by text."""
    angle = 2 * np.pi * np.arange(60) / 60
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def released(
    total: NDArray[np.float64], noise: float, items: Catalogue, unit: NDArray[np.float32], seed: int
) -> dict[str, NDArray[np.float32]]:
    draw = np.random.default_rng(seed)
    noisy = total.ravel() + noise * draw.standard_normal(total.size)
    return KIND.estimate(noisy, 1000.0, noise, items, {}, unit)


def matrix(statistics: dict[str, NDArray[np.float32]]) -> NDArray[np.float64]:
    found = np.zeros((60, 60))
    first, second = statistics[KEPT][:, :2].astype(np.int64).T
    found[first, second] = statistics[KEPT][:, 2] * statistics[USERS]
    return found


@pytest.fixture(scope="module")
def neighbourly() -> NDArray[np.float64]:
    """Every item is followed by the next one, now and then."""
    total = np.zeros((60, 60))
    total[np.arange(60), (np.arange(60) + 1) % 60] = 3.0
    return total


def test_a_pair_of_alike_texts_is_believed_sooner(
    items: Catalogue, unit: NDArray[np.float32], neighbourly: NDArray[np.float64]
) -> None:
    with_texts = matrix(released(neighbourly, 1.0, items, unit, 0))
    without = matrix(released(neighbourly, 1.0, items, np.zeros_like(unit), 0))
    error = ((with_texts - neighbourly) ** 2).sum()
    assert error < 0.8 * ((without - neighbourly) ** 2).sum()
    assert error < 0.6 * (neighbourly**2).sum()


def test_a_second_release_is_averaged_with_the_first(
    items: Catalogue, unit: NDArray[np.float32], neighbourly: NDArray[np.float64]
) -> None:
    errors: dict[str, float] = {"alone": 0.0, "averaged": 0.0}
    for seed in range(5):
        first = released(neighbourly, 1.0, items, unit, seed)
        noisy = neighbourly.ravel() + np.random.default_rng(100 + seed).standard_normal(3600)
        for name, earlier in (("alone", {}), ("averaged", first)):
            found = matrix(KIND.estimate(noisy, 1000.0, 1.0, items, earlier, unit))
            errors[name] += ((found - neighbourly) ** 2).sum()
    assert errors["averaged"] < 0.8 * errors["alone"]


def test_followers_are_what_was_released(
    items: Catalogue, unit: NDArray[np.float32], neighbourly: NDArray[np.float64]
) -> None:
    total = neighbourly + 2.0 * np.eye(60)
    followers = Followers.of(released(total, 1e-6, items, unit, 0), 60)
    after, count = followers.after(59)
    assert (after.tolist(), count.tolist()) == ([0], [pytest.approx(3.0, rel=1e-4)])
    assert followers.itself == pytest.approx(np.full(60, 2.0), rel=1e-4)
    assert followers.scale(59) == pytest.approx(1 / 13, rel=1e-4)


@pytest.mark.parametrize(
    "listed",
    [
        [[np.nan, 1, 0.1]],
        [[1, 99, 0.1]],
        [[-1, 2, 0.1]],
        [[1, 2, np.inf]],
        [[1, 2, -0.5]],
        [[1.0, 2.0]],
        [],
    ],
)
def test_what_is_no_pair_is_left_out(listed: list[list[float]]) -> None:
    """Statistics come from the coordinator, and a site must compute with any."""
    statistics = {KEPT: np.array(listed, dtype=np.float32), USERS: np.array([10.0], np.float32)}
    followers = Followers.of(statistics, LABELS)
    assert followers.begins.tolist() == [0] * (LABELS + 1)
    assert not followers.itself.any()


def test_transitions_go_over_to_the_labels_that_another_catalogue_shares() -> None:
    statistics = {
        KEPT: np.array([[0, 1, 0.5], [1, 2, 0.25]], dtype=np.float32),
        USERS: np.array([8.0], dtype=np.float32),
    }
    # The other catalogue holds the known labels 1 and 0, and one that is new.
    moved = of_other_labels(statistics, np.array([1, -1, 0]))
    assert moved[KEPT].tolist() == [[2.0, 0.0, 0.5]]
    assert moved[USERS].tolist() == [8.0]
