"""Which item follows which: a user's vector, what is made of a noisy sum, and how it is read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.histories import Histories
from groundswell.shared.transitions import (
    KEPT,
    MOST_PAIRS,
    NEAR,
    NEIGHBOURS,
    USERS,
    Followers,
    Transitions,
    nearest,
    of_other_labels,
)

Maker = Callable[..., Histories]
Statistics = dict[str, NDArray[np.float32]]
LABELS = 6
KIND = Transitions()
# Every item is near every other; each row begins with the item itself.
ALL_NEAR: Statistics = {
    NEAR: np.array([[i, *(j for j in range(LABELS) if j != i)] for i in range(LABELS)], np.float32)
}


def walk(*labels: int) -> list[tuple[float, int]]:
    return [(float(day), label) for day, label in enumerate(labels)]


def vectors(h: Histories, earlier: Statistics = ALL_NEAR) -> list[dict[tuple[int, int], float]]:
    """Of each row, value by first and second item."""
    position, value = KIND.user_cells(h, LABELS, earlier)
    near = earlier[NEAR].astype(int)
    return [
        {
            (int(p) // LABELS, int(near[p // LABELS, p % LABELS])): float(v)
            for p, v in zip(*each, strict=True)
            if v
        }
        for each in zip(position, value, strict=True)
    ]


def test_near_steps_make_ordered_pairs_of_which_the_nearer_count_more(
    make_histories: Maker,
) -> None:
    # 3-1, 1-3, 3-3 next to each other; 3-3 and 1-3 two apart at half the weight.
    assert vectors(make_histories([walk(3, 1, 3, 3), walk(2), []])) == [
        {(3, 1): 1.0, (1, 3): 1.5, (3, 3): 1.5},
        {},
        {},
    ]


def test_a_pair_of_items_that_are_not_near_takes_nothing_of_the_clip(
    make_histories: Maker,
) -> None:
    listed = ALL_NEAR[NEAR].copy()
    listed[3, listed[3] == 1] = -1
    found = vectors(make_histories([walk(3, 1, 2)]), {NEAR: listed})
    assert found == [{(1, 2): 1.0, (3, 2): 0.5}]


@pytest.mark.parametrize(
    "listed",
    [
        np.full((LABELS, LABELS), np.nan),
        np.full((LABELS, LABELS), 2.0),
        np.full((LABELS, LABELS), 1e9),
        np.zeros((LABELS, 2)),
        np.zeros(LABELS),
    ],
    ids=["nan", "the same item all over", "no item", "short", "flat"],
)
def test_a_list_that_is_none_keeps_cells_apart(
    listed: NDArray[np.float64], make_histories: Maker
) -> None:
    """The list comes from the coordinator; the clip's bound needs each position once a user."""
    h = make_histories([walk(3, 2, 2, 4, 2)])
    position, value = KIND.user_cells(h, LABELS, {NEAR: listed.astype(np.float32)})
    used = position[0][value[0] != 0]
    assert len(np.unique(used)) == len(used)
    assert (used < KIND.dimension(LABELS)).all()


def test_no_more_than_the_newest_pairs_count(make_histories: Maker) -> None:
    old, new = walk(*[0] * 50), [(100.0 + day, 1 + day % 5) for day in range(50)]
    found = vectors(make_histories([old + new]))[0]
    assert sum(found.values()) <= MOST_PAIRS
    assert (0, 0) not in found


@given(st.lists(st.lists(st.integers(0, LABELS - 1), max_size=40), min_size=2, max_size=4))
@settings(max_examples=30, deadline=None)
def test_a_users_cells_are_different_ones_and_nobody_elses_concern(
    make_histories: Maker, rows: list[list[int]]
) -> None:
    h = make_histories([walk(*row) for row in rows])
    position, value = KIND.user_cells(h, LABELS, ALL_NEAR)
    assert position.shape == value.shape == (len(rows), KIND.max_nonzero(LABELS))
    for cells, values in zip(position, value, strict=True):
        used = cells[values != 0]
        assert len(np.unique(used)) == len(used)
    alone = KIND.user_cells(h.take([1]), LABELS, ALL_NEAR)
    assert np.array_equal(alone[0][0], position[1])
    assert np.array_equal(alone[1][0], value[1])


def test_the_sum_grows_with_the_items_and_not_with_their_pairs() -> None:
    assert KIND.dimension(50_000) == 50_000 * (NEIGHBOURS + 1)
    assert KIND.dimension(20) == 400


def test_the_nearest_items_are_the_likest_ones_after_the_item_itself() -> None:
    likeness = np.array([[0.2, 0.9, 0.1], [0.9, 1.0, 0.5], [0.1, 0.5, 0.0]])
    assert nearest(likeness).tolist() == [[0, 1, 2], [1, 0, 2], [2, 1, 0]]


@pytest.fixture(scope="module")
def items() -> Catalogue:
    """Sixty items without groups; what they are called says nothing."""
    names = tuple(f"item {n}" for n in range(60))
    return Catalogue("items", names, names, ("",) * 60, np.ones(60, dtype=np.float32), {})


@pytest.fixture(scope="module")
def near() -> Statistics:
    """Texts on a circle: neighbours by number are neighbours by text."""
    angle = 2 * np.pi * np.arange(60) / 60
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return {NEAR: nearest(unit @ unit.T)}


@pytest.fixture(scope="module")
def neighbourly() -> NDArray[np.float64]:
    """Every item is followed by the next one, now and then."""
    total = np.zeros((60, 60))
    total[np.arange(60), (np.arange(60) + 1) % 60] = 3.0
    return total


UNUSED = np.zeros((60, 1), dtype=np.float32)  # texts are in the list already


def released(
    total: NDArray[np.float64],
    noise: float,
    items: Catalogue,
    near: Statistics,
    seed: int,
    earlier: Statistics | None = None,
) -> Statistics:
    draw = np.random.default_rng(seed)
    listed = np.take_along_axis(total, near[NEAR].astype(int), axis=1).ravel()
    noisy = listed + noise * draw.standard_normal(listed.size)
    return near | KIND.estimate(noisy, 1000.0, noise, items, near | (earlier or {}), UNUSED)


def matrix(statistics: Statistics) -> NDArray[np.float64]:
    found = np.zeros((60, 60))
    np.put_along_axis(found, statistics[NEAR].astype(int), statistics[KEPT], axis=1)
    return found


def test_a_pair_of_alike_texts_is_believed_sooner(
    items: Catalogue, near: Statistics, neighbourly: NDArray[np.float64]
) -> None:
    draw = np.random.default_rng(5)
    anyhow = {
        NEAR: np.stack([[i, *draw.permutation(np.delete(np.arange(60), i))] for i in range(60)])
    }
    with_texts = matrix(released(neighbourly, 1.0, items, near, 0))
    without = matrix(released(neighbourly, 1.0, items, anyhow, 0))
    error = ((with_texts - neighbourly) ** 2).sum()
    assert error < 0.8 * ((without - neighbourly) ** 2).sum()
    assert error < 0.6 * (neighbourly**2).sum()


def test_a_second_release_is_averaged_with_the_first(
    items: Catalogue, near: Statistics, neighbourly: NDArray[np.float64]
) -> None:
    errors = {"alone": 0.0, "averaged": 0.0}
    for seed in range(5):
        first = released(neighbourly, 1.0, items, near, seed)
        for name, earlier in (("alone", None), ("averaged", first)):
            found = matrix(released(neighbourly, 1.0, items, near, 100 + seed, earlier))
            errors[name] += ((found - neighbourly) ** 2).sum()
    assert errors["averaged"] < 0.8 * errors["alone"]


def test_followers_are_what_was_released(
    items: Catalogue, near: Statistics, neighbourly: NDArray[np.float64]
) -> None:
    total = neighbourly + 2.0 * np.eye(60)
    followers = Followers.of(released(total, 1e-6, items, near, 0), 60)
    after, count = followers.after(59)
    assert after[np.flatnonzero(count)].tolist() == [0]
    assert count.sum() == pytest.approx(3.0, rel=1e-4)
    assert followers.itself(7) == pytest.approx(2.0, rel=1e-4)
    assert followers.scale(59) == pytest.approx(1 / 13, rel=1e-4)


def test_without_a_list_nothing_is_made_of_the_sum(items: Catalogue) -> None:
    assert KIND.estimate(np.ones(3600), 10.0, 1.0, items, {}, UNUSED) == {}


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.5, 0.0])
def test_what_is_no_count_counts_nothing(wrong: float) -> None:
    """Statistics come from the coordinator, and a site must compute with any."""
    count = np.full((LABELS, LABELS), wrong, dtype=np.float32)
    statistics = ALL_NEAR | {KEPT: count, USERS: np.array([10.0], np.float32)}
    assert not Followers.of(statistics, LABELS).count.any()


def test_no_item_is_followed_by_more_users_than_there_are() -> None:
    count = np.full((LABELS, LABELS), 1e9, dtype=np.float32)
    statistics = ALL_NEAR | {KEPT: count, USERS: np.array([10.0], np.float32)}
    assert Followers.of(statistics, LABELS).count.max() == 10


def test_transitions_go_over_to_the_labels_that_another_catalogue_shares() -> None:
    statistics = {
        NEAR: np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1]], dtype=np.float32),
        KEPT: np.array([[0, 5, 0], [2, 4, 3], [0, 0, 0]], dtype=np.float32),
        USERS: np.array([8.0], dtype=np.float32),
    }
    # The other catalogue holds the known labels 1 and 0, and one that is new.
    moved = Followers.of(of_other_labels(statistics, np.array([1, -1, 0]), 3), 3)
    pairs = {
        (first, int(second)): float(count)
        for first in range(3)
        for second, count in zip(moved.item[first], moved.count[first], strict=True)
        if count
    }
    assert pairs == {(0, 0): 2.0, (0, 2): 3.0, (2, 0): 5.0}
    assert moved.users == 8


@pytest.mark.parametrize(("known", "wanted"), [(50, 60), (60, 50), (150, 120), (90, 130)])
def test_a_catalogue_that_grows_or_shrinks_keeps_the_transitions_of_its_items(
    known: int, wanted: int
) -> None:
    place = np.arange(known)
    near = nearest(-np.abs(place[:, None] - place[None]).astype(np.float64))
    count = np.where(near == (place[:, None] + 1) % known, 7.0, 0.0).astype(np.float32)
    statistics = {NEAR: near, KEPT: count, USERS: np.array([100.0], dtype=np.float32)}
    source = np.where(np.arange(wanted) < known, np.arange(wanted), -1)
    moved = Followers.of(of_other_labels(statistics, source, known), wanted)
    for item in range(min(known, wanted) - 1):
        after, often = moved.after(item)
        assert after[np.argmax(often)] == item + 1
        assert often.sum() == 7
    assert not moved.count[known:].any()
