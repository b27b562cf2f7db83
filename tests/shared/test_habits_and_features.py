"""Habits and scores of a row depend on that row's own events before its time, and on constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.features import (
    SCORES,
    TILTS,
    Family,
    LabelSpace,
    evidence,
    facts,
    scores,
    tilts,
)
from groundswell.shared.habits import NEVER, Habits, habits
from groundswell.shared.histories import MICROSECONDS_PER_DAY as DAY
from groundswell.shared.histories import Histories
from groundswell.shared.pairs import directions
from groundswell.shared.smoothing import similarity

Maker = Callable[..., Histories]
LABELS = 5
AT = 100
EVENT = st.tuples(st.integers(0, 130).map(float), st.integers(0, LABELS - 1))
ROWS = st.lists(st.lists(EVENT, max_size=12), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def space(shop: Catalogue) -> LabelSpace:
    random = np.random.default_rng(1).normal(size=(LABELS, 8)).astype(np.float32)
    return LabelSpace.of(shop, random / np.linalg.norm(random, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def released(shop: Catalogue, space: LabelSpace) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(2)
    popularity = np.array([0.3, 0.2, 0.25, 0.15, 0.1], dtype=np.float32)
    basis = directions(popularity, similarity(space.embeddings, shop))
    return {
        "popularity": popularity,
        "h5": rng.uniform(0, 1, (LABELS, 6)).astype(np.float32),
        "pairs": (basis @ rng.normal(size=(LABELS, 3))).astype(np.float32),
        "pairs_popularity": popularity,
    }


def at(rows: int) -> NDArray[np.int64]:
    return np.full(rows, AT * DAY, dtype=np.int64)


def test_an_occasion_is_a_label_in_a_basket(make_histories: Maker) -> None:
    found = habits(make_histories([[(90, 1), (90, 1), (96, 1)]]), at(1), LABELS)
    assert found.count[0, 1] == 2
    assert (found.since[0, 1], found.span[0, 1], found.level[0, 1]) == (4, 6, 2)
    assert found.since[0, 0] == NEVER
    np.testing.assert_allclose(found.decayed[0, 0, 1], 2 ** (-10 / 7) + 2 ** (-4 / 7), rtol=1e-6)
    assert (found.baskets[0], found.idle[0], found.tenure[0]) == (2, 4, 10)


def test_a_gap_runs_from_day_to_day(make_histories: Maker) -> None:
    bought = [(70.2, 1), (70.9, 1), (80.0, 1), (94.5, 1), (95.0, 2)]
    found = habits(make_histories([bought]), at(1), LABELS)
    assert found.gap[0, 1] == (10 + 14) / 2
    assert found.gap[0, 2] == found.gap[0, 0] == 0


def test_the_hazard_is_that_of_the_own_gaps_that_lasted_until_now(make_histories: Maker) -> None:
    """Days 60, 70, 74 and 95: the open gap is 5 days, so 10 and 21 lasted, and 10 ended by 12."""
    found = habits(make_histories([[(day, 1) for day in (60.0, 70.0, 74.0, 95.0)]]), at(1), LABELS)
    rate = 1 - np.exp(-7 * 4 / (40 + 7))
    assert found.hazard[0, 1] == pytest.approx((1 + 3 * rate) / (2 + 3), rel=1e-6)
    assert found.hazard[0, 0] == 0


def test_the_hazard_looks_as_far_ahead_as_the_window(make_histories: Maker) -> None:
    h = make_histories([[(day, 1) for day in (60.0, 70.0, 74.0, 95.0)]])
    week, month = (habits(h, at(1), LABELS, days * DAY).hazard[0, 1] for days in (7, 28))
    assert month > week


def test_tilts_tell_late_from_early_and_say_nothing_without_a_rhythm(
    make_histories: Maker,
) -> None:
    weekly = [(day, 0) for day in (40.0, 47.0, 54.0)]
    monthly = [(day, 1) for day in (40.0, 68.0, 96.0)]
    found = tilts(habits(make_histories([[*weekly, *monthly, (50.0, 2)]]), at(1), LABELS))
    lateness = found[0, :, TILTS.index("lateness")]
    assert lateness[0] > 0 > lateness[1]
    assert lateness[2] == lateness[3] == 0
    assert not found[0, 3].any()


def test_without_habits_nothing_is_tilted(
    make_histories: Maker, space: LabelSpace, released: dict[str, NDArray[np.float32]]
) -> None:
    seen = habits(make_histories([[(40, 1), (60, 1), (95, 2)]]), at(1), LABELS)
    on = evidence(seen, released, space)
    off = evidence(seen, released, space, frozenset({Family.STATISTICS, Family.BERT}))
    assert on[:, :, len(SCORES) :].any()
    assert not off[:, :, len(SCORES) :].any()
    np.testing.assert_array_equal(on[:, :, : len(SCORES)], scores(seen, released, space))


def test_the_level_counts_the_last_five_baskets(make_histories: Maker) -> None:
    h = make_histories([[(float(day), day % 2) for day in range(10)]])
    assert habits(h, at(1), LABELS).level[0].tolist() == [2, 3, 0, 0, 0]


@given(rows=ROWS)
@settings(max_examples=40, deadline=None)
def test_rows_do_not_mix(make_histories: Maker, rows: list[list[tuple[float, int]]]) -> None:
    h = make_histories(rows)
    together = habits(h, at(len(h)), LABELS)
    for i in range(len(h)):
        alone = habits(h.take([i]), at(1), LABELS)
        assert _differing(together, i, alone) == []


@given(row=st.lists(EVENT, max_size=15))
@settings(max_examples=40, deadline=None)
def test_nothing_at_or_after_the_time_is_seen(
    make_histories: Maker,
    space: LabelSpace,
    released: dict[str, NDArray[np.float32]],
    row: list[tuple[float, int]],
) -> None:
    whole = habits(make_histories([row]), at(1), LABELS)
    before = habits(make_histories([[e for e in row if e[0] < AT]]), at(1), LABELS)
    assert _differing(whole, 0, before) == []
    found = scores(whole, released, space)
    np.testing.assert_array_equal(found, scores(before, released, space))
    assert (found >= 0).all()
    assert np.isfinite(found).all()
    assert np.isfinite(facts(whole)).all()
    np.testing.assert_array_equal(tilts(whole), tilts(before))
    assert np.isfinite(tilts(whole)).all()


def test_a_switched_off_family_gives_zeros(
    make_histories: Maker, space: LabelSpace, released: dict[str, NDArray[np.float32]]
) -> None:
    seen = habits(make_histories([[(90, 1), (95, 2)]]), at(1), LABELS)
    for family in Family:
        on = scores(seen, released, space, frozenset(Family) - {family})
        for k, needs in enumerate(SCORES.values()):
            if family in needs:
                assert not on[:, :, k].any()
    uniform = scores(seen, released, space, frozenset({Family.HABIT}))
    popularity = uniform[0, :, list(SCORES).index("popularity")]
    np.testing.assert_allclose(popularity, popularity[0])


def test_scores_do_without_statistics(make_histories: Maker, space: LabelSpace) -> None:
    seen = habits(make_histories([[(90, 1)], []]), at(2), LABELS)
    assert np.isfinite(scores(seen, {}, space)).all()


def _differing(together: Habits, row: int, alone: Habits) -> list[str]:
    """Names of the habits in which a row differs from the same row alone."""
    names = []
    for name, many, one in zip(
        Habits.__annotations__, astuple(together), astuple(alone), strict=True
    ):
        axis = 1 if name == "decayed" else 0
        if not np.array_equal(np.take(many, [row], axis=axis), one):
            names.append(name)
    return names
