"""Demand in blocks: whatever a user does, one bounded vector, and nobody else's is moved by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from groundswell.client.mechanism import clip_and_round, rounding_keys, scale
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.config_file import load_config
from groundswell.shared.demand_weights import unweighed
from groundswell.shared.errors import InputError
from groundswell.shared.histories import MICROSECONDS_PER_DAY as DAY
from groundswell.shared.histories import Histories
from groundswell.shared.plan import Phase, PlannedRelease
from groundswell.shared.statistics import statistic_of
from groundswell.shared.task import Task

Event = tuple[float, int, int]  # day, label or -1, action or the number of an unknown one
LABELS = 5
ACTIONS = ("search", "view")
TASK = Task(actions={"purchase": 1.0, "search": 0.0, "view": 0.1})
WINDOWS = np.arange(0, 7 * 30, 7, dtype=np.int64) * DAY
KIND = statistic_of("demand", ACTIONS)
SIZE = KIND.dimension(LABELS)
SCALE = scale(0.9, SIZE)
EVENTS = st.tuples(st.floats(0, 210), st.integers(-1, LABELS - 1), st.integers(0, 3))
USERS = st.lists(st.lists(EVENTS, max_size=60), min_size=1, max_size=4)


def integers(h: Histories, shop: Catalogue) -> NDArray[np.int64]:
    """What each user adds to the site's sum."""
    vectors = KIND.user_vectors(h, WINDOWS, TASK, shop, {})
    keys = rounding_keys(b"one attempt", h.users)
    return clip_and_round(vectors, KIND.clip_norm, SCALE, SIZE, keys)


def made(users: Sequence[Sequence[Event]]) -> Histories:
    rows = [sorted(events) for events in users]
    flat = [event for row in rows for event in row]
    label = np.array([label for _, label, _ in flat], dtype=np.int32)
    action = np.array([action for _, _, action in flat], dtype=np.int16)
    weights = np.array([*(TASK.actions[name] for name in TASK.action_names), 0], dtype=np.float32)
    return Histories(
        users=tuple(f"user-{number}" for number in range(len(rows))),
        offsets=np.cumsum([0, *map(len, rows)]).astype(np.int64),
        time=np.array([round(day * DAY) for day, _, _ in flat], dtype=np.int64),
        label=label,
        weight=(weights[action] * (label >= 0)).astype(np.float32),
        action=action,
        token=label.copy(),
        basket=np.zeros(len(flat), dtype=np.int32),
    )


@settings(max_examples=60, deadline=None)
@given(users=USERS)
def test_any_user_moves_the_sum_by_at_most_delta_over_all_blocks_together(
    users: list[list[Event]], shop: Catalogue
) -> None:
    for vector in integers(made(users), shop):
        assert sum(int(value) ** 2 for value in vector) <= SCALE**2


def test_a_user_who_does_everything_always_is_cut_to_the_same_bound(
    shop: Catalogue,
) -> None:
    everything = [
        (day + 0.5, label, action)
        for day in range(210)
        for label in range(5)
        for action in range(3)
    ]
    (vector,) = integers(made([everything]), shop)
    assert (vector != 0).all()
    assert 0.99 * SCALE <= np.linalg.norm(vector.astype(np.float64)) <= SCALE


@pytest.mark.parametrize("weeks", [range(4, 30), range(22, 30), range(29, 30)])
def test_a_user_of_one_label_again_and_again_is_bound_as_well(
    weeks: range, shop: Catalogue
) -> None:
    """Weighing lengthens the vector of a user whose windows are alike; the clip comes after it."""
    often = [(7 * week + 0.5, 2, action) for week in weeks for action in range(3)]
    (vector,) = integers(made([often]), shop)
    assert 0 < np.linalg.norm(vector.astype(np.float64)) <= SCALE
    assert not vector.reshape(3, 26, LABELS)[:, :, [0, 1, 3, 4]].any()


@settings(max_examples=60, deadline=None)
@given(users=USERS, which=st.integers(0, 3))
def test_removing_a_user_leaves_every_other_vector_as_it_was(
    users: list[list[Event]], which: int, shop: Catalogue
) -> None:
    h = made(users)
    others = [row for row in range(len(h)) if row != which % len(h)]
    np.testing.assert_array_equal(integers(h, shop)[others], integers(h.take(others), shop))


def test_an_action_counts_in_its_own_block_and_never_in_anothers(
    shop: Catalogue,
) -> None:
    """The newest window: one search, one view and one thing that the task does not know."""
    day = 7 * 29 + 1.0
    (row,) = KIND.user_vectors(
        made([[(day, 1, 1), (day, 2, 2), (day, 3, 3), (day, -1, 1)]]),
        WINDOWS,
        TASK,
        shop,
        {},
    )
    newest = unweighed(row.reshape(3, 26, LABELS)).round(9)[:, -1]
    assert newest.tolist() == [[0, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]]


@pytest.mark.parametrize(
    ("kind", "actions"), [("popularity", ("search",)), ("demand", ("search", "search"))]
)
def test_a_plan_with_impossible_blocks_can_not_be_read(kind: str, actions: tuple[str, ...]) -> None:
    values = {
        "kind": kind,
        "phases": (Phase.REFRESH,),
        "noise_multiplier": 1.0,
        "sampling_rate": 1.0,
        "clip_norm": 6.0,
        "scale": SCALE,
        "dimension": SIZE,
        "max_nonzero": SIZE,
        "count": 1,
        "retries": 0,
    }
    plain = PlannedRelease.model_validate(values)
    assert "actions" not in plain.model_dump()
    with pytest.raises(ValidationError):
        PlannedRelease.model_validate({**values, "actions": actions})


@pytest.mark.parametrize(
    ("chosen", "rule"),
    [
        ({"model.demand_actions": ["search"]}, "none of \\[task\\].actions"),
        ({"model.demand_actions": ["purchase"]}, "no demand is released"),
        (
            {"model.demand_actions": ["purchase", "purchase"], "model.statistics": ["demand"]},
            "twice",
        ),
    ],
)
def test_actions_without_a_release_of_theirs_are_refused_at_once(
    chosen: dict[str, object], rule: str
) -> None:
    with pytest.raises(InputError, match=rule):
        load_config(None, chosen)
