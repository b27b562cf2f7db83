"""What tells the next item: each value from the row's own history, the catalogue and statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundswell.shared import next_item
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.features import Family, LabelSpace
from groundswell.shared.habits import habits
from groundswell.shared.histories import MICROSECONDS_PER_DAY as DAY
from groundswell.shared.histories import Histories
from groundswell.shared.next_item import SCORES, TILTS, ItemSpace, worded
from groundswell.shared.transitions import KEPT, NEAR, USERS

Maker = Callable[..., Histories]
Statistics = Mapping[str, NDArray[np.float32]]
LABELS = 5
NAMES = (*SCORES, *TILTS)


@pytest.fixture(scope="module")
def space(shop: Catalogue) -> ItemSpace:
    random = np.random.default_rng(1).normal(size=(LABELS, 8)).astype(np.float32)
    unit = random / np.linalg.norm(random, axis=1, keepdims=True)
    return ItemSpace.of(shop, LabelSpace.of(shop, unit))


@pytest.fixture(scope="module")
def statistics() -> dict[str, NDArray[np.float32]]:
    """0 is followed by 1 and 2, and 3 by itself."""
    near = [[item, *(other for other in range(LABELS) if other != item)] for item in range(LABELS)]
    count = np.zeros((LABELS, LABELS), dtype=np.float32)
    count[0, near[0].index(1)], count[0, near[0].index(2)], count[3, 0] = 30, 10, 20
    return {
        "popularity": np.array([0.3, 0.2, 0.25, 0.15, 0.1], dtype=np.float32),
        NEAR: np.array(near, dtype=np.float32),
        KEPT: count,
        USERS: np.array([1000.0], dtype=np.float32),
    }


def walk(*labels: int) -> list[tuple[float, int]]:
    return [(float(day), label) for day, label in enumerate(labels)]


def evidence(
    h: Histories,
    statistics: Statistics,
    space: ItemSpace,
    families: frozenset[Family] = frozenset(Family),
) -> NDArray[np.float32]:
    seen = habits(h, np.full(len(h), 30 * DAY), LABELS)
    return next_item.evidence(h, seen, statistics, space, families)


def of(name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """One kind of evidence, ``[B, L]``."""
    return np.asarray(values[:, :, NAMES.index(name)])


def test_what_followed_the_last_item_most_is_tilted_most(
    make_histories: Maker, statistics: dict[str, NDArray[np.float32]], space: ItemSpace
) -> None:
    found = evidence(make_histories([walk(4, 0), walk(0, 4)]), statistics, space)
    for name in ("followed", "followed_share"):
        last, before = of(name, found)
        assert last[1] > last[2] > 0
        assert last[[0, 3, 4]].tolist() == [0, 0, 0]
        # One item further back it counts half.
        assert last[1] > before[1] > 0


def test_places_that_hold_no_item_take_nothing_from_the_first_one(
    make_histories: Maker, statistics: dict[str, NDArray[np.float32]], space: ItemSpace
) -> None:
    listed, count = statistics[NEAR].copy(), statistics[KEPT].copy()
    listed[4, 1:], count[4, 1:] = [0, -1, -1, -1], [7, 0, 0, 0]
    known = statistics | {NEAR: listed, KEPT: count}
    found = evidence(make_histories([walk(4)]), known, space)
    assert np.flatnonzero(of("followed", found)[0]).tolist() == [0]


def test_an_item_that_follows_itself_is_told_of_the_last_one_alone(
    make_histories: Maker, statistics: dict[str, NDArray[np.float32]], space: ItemSpace
) -> None:
    found = of("follows_itself", evidence(make_histories([walk(3), walk(3, 0)]), statistics, space))
    assert np.flatnonzero(found[0]).tolist() == [3]
    assert not found[1].any()


def test_group_repetition_and_nearness_follow_the_history(
    make_histories: Maker, space: ItemSpace, shop: Catalogue
) -> None:
    found = evidence(make_histories([walk(1, 4, 2)]), {}, space)
    same = [group == shop.groups[2] and group != "" for group in shop.groups]
    assert of("group", found)[0].tolist() == [float(each) for each in same]
    assert np.flatnonzero(of("earlier", found)[0]).tolist() == [1, 4]
    assert np.flatnonzero(of("last", found)[0]).tolist() == [2]
    assert of("nearest", found)[0, [1, 4, 2]] == pytest.approx([1, 1, 1], abs=1e-5)
    assert of("words", found)[0, [1, 4, 2]] == pytest.approx([1, 1, 1], abs=1e-5)
    assert np.flatnonzero(of("often", found)[0]).tolist() == [1, 2, 4]
    likeness = of("likeness", found)[0]
    assert likeness[2] > likeness[1]


def test_a_group_that_is_not_known_is_shared_by_nobody(
    make_histories: Maker, space: ItemSpace
) -> None:
    nameless = int(np.flatnonzero(space.group < 0)[0])
    assert not of("group", evidence(make_histories([walk(nameless)]), {}, space)).any()


@given(rows=st.lists(st.lists(st.integers(0, LABELS - 1), max_size=20), min_size=2, max_size=5))
@settings(max_examples=25, deadline=None)
def test_rows_do_not_mix(
    make_histories: Maker,
    statistics: dict[str, NDArray[np.float32]],
    space: ItemSpace,
    rows: list[list[int]],
) -> None:
    h = make_histories([walk(*row) for row in rows])
    whole = evidence(h, statistics, space)
    assert np.isfinite(whole).all()
    for row in range(len(rows)):
        assert np.array_equal(evidence(h.take([row]), statistics, space)[0], whole[row])


@pytest.mark.parametrize("off", list(Family))
def test_a_family_that_is_switched_off_gives_zeros(
    off: Family,
    make_histories: Maker,
    statistics: dict[str, NDArray[np.float32]],
    space: ItemSpace,
) -> None:
    h = make_histories([walk(1, 0, 3, 3)])
    on = evidence(h, statistics, space)
    found = evidence(h, statistics, space, frozenset(Family) - {off})
    for name, needs in TILTS.items():
        assert of(name, on).any()
        assert of(name, found).any() == (off not in needs)


def test_a_row_without_events_has_popularity_alone(
    make_histories: Maker, statistics: dict[str, NDArray[np.float32]], space: ItemSpace
) -> None:
    found = evidence(make_histories([[]]), statistics, space)
    assert of("popularity", found).sum() == pytest.approx(10)
    assert not found[:, :, len(SCORES) :].any()


def test_rare_words_make_texts_alike() -> None:
    table = worded(["red ink zx9", "blue ink ZX9", "red ink", "blue pen"])
    likeness = (table @ table.T).toarray()
    assert likeness[0, 1] > likeness[1, 3] > 0
    assert likeness[0, 3] == 0
    assert np.diag(likeness) == pytest.approx(1, abs=1e-6)


def test_texts_without_words_are_like_nothing() -> None:
    assert not worded(["...", "!", "-"]).nnz


def test_a_script_without_spaces_has_words_of_two_characters() -> None:
    table = worded(["红色钢笔墨水", "红色钢笔", "蓝色 pen", "墨水 Pen", "茶"])
    likeness = (table @ table.T).toarray()
    assert likeness[0, 1] > likeness[0, 3] > 0
    assert likeness[2, 3] > 0
    assert likeness[1, 2] == 0
    assert likeness[4, 4] == pytest.approx(1)
