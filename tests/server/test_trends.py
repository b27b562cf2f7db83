"""Trends of a released demand through the gateway's source, and users' vectors behind it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import pytest

from groundswell.server.trends import ModelTrends
from groundswell.shared.answering import Region, ServedModel
from groundswell.shared.demand_release import (
    ALL_ACTIONS,
    DemandBlock,
    DemandRelease,
    released_demand,
)
from groundswell.shared.demand_weights import covariance, unweighed
from groundswell.shared.errors import InputError, ModelError, Refusal
from groundswell.shared.event_input import histories_of
from groundswell.shared.questions import Event, TrendsRequest, microseconds
from groundswell.shared.statistics import WeeklyDemand

AS_OF = datetime(2025, 7, 7, tzinfo=UTC)


def _same(model: ServedModel, name: str | None) -> ServedModel:
    return model


def with_demand(served: ServedModel, weeks: int = 26) -> ServedModel:
    values = np.random.default_rng(2).poisson(300.0, (len(served.labels), weeks)).astype(float)
    return replace(
        served, demand={ALL_ACTIONS: DemandRelease(values, 16 * np.eye(weeks), microseconds(AS_OF))}
    )


def test_a_released_demand_is_answered(served: ServedModel) -> None:
    source = ModelTrends(lambda _: model)
    model = with_demand(served)
    answer = source.trends(TrendsRequest())
    assert answer.as_of == AS_OF
    assert answer.window == "7d"
    assert {each.label for each in answer.trends} == set(served.labels)
    assert all(len(each.history) == 26 and len(each.horizons) == 4 for each in answer.trends)
    assert answer.privacy == served.privacy
    only = source.trends(TrendsRequest(labels=("TEA", "手机"), lead=4))
    assert {each.label for each in only.trends} == {"TEA", "手机"}
    assert len(source.trends(TrendsRequest(top=2)).trends) == 2


def test_what_was_not_released_is_refused(served: ServedModel) -> None:
    for model, code in ((served, "no-trends"), (with_demand(served, weeks=8), "no-trends")):
        with pytest.raises(Refusal) as caught:
            ModelTrends(partial(_same, model)).trends(TrendsRequest())
        assert caught.value.code == code
    source = ModelTrends(lambda _: with_demand(served))
    with pytest.raises(Refusal, match="of no region did") as refused:
        source.trends(TrendsRequest(region="north"))
    assert refused.value.code == "unknown-region"
    with pytest.raises(InputError, match="no such label"):
        source.trends(TrendsRequest(labels=("nothing",)))


def test_a_users_vector_marks_what_was_acted_on_in_each_window(served: ServedModel) -> None:
    kind, task = WeeklyDemand(), served.forecaster.task
    catalogue = served.forecaster.catalogue
    start = AS_OF - timedelta(days=7 * 30)
    windows = np.array([microseconds(start) + i * task.window_us for i in range(30)])
    events = [
        Event.model_validate(
            {"time": start + timedelta(days=day), "label": label, "action": action}
        )
        for day, label, action in (
            (3, "TEA", "purchase"),  # window 0: older than the last 26
            (7 * 4 + 1, "TEA", "purchase"),
            (7 * 29, "COFFEE", "purchase"),
            (7 * 29 + 1, "COFFEE", "purchase"),
            (7 * 29 + 2, "SOUP", "search"),  # weighs nothing in the target
        )
    ]
    h, _ = histories_of([events, []], catalogue, task)
    vectors = kind.user_vectors(h, windows, task, catalogue, {})
    grid = unweighed(vectors.reshape(2, kind.WINDOWS, len(catalogue))).round(9)
    assert np.argwhere(grid[0]).tolist() == [
        [0, catalogue.index["TEA"]],
        [25, catalogue.index["COFFEE"]],
    ]
    assert grid.max() == 1
    assert not grid[1].any()


def test_fewer_windows_fill_the_newest_places(served: ServedModel) -> None:
    kind, task = WeeklyDemand(), served.forecaster.task
    catalogue = served.forecaster.catalogue
    event = Event.model_validate({"time": AS_OF, "label": "TEA"})
    h, _ = histories_of([[event]], catalogue, task)
    vectors = kind.user_vectors(h, np.array([microseconds(AS_OF)]), task, catalogue, {})
    grid = unweighed(vectors.reshape(kind.WINDOWS, -1)).round(9)
    assert np.argwhere(grid).tolist() == [[25, catalogue.index["TEA"]]]
    found = kind.estimate(vectors[0], 10.0, 3.0, catalogue, {}, np.zeros((5, 4), np.float32))
    assert found["demand"].shape == (26, 5)
    np.testing.assert_array_equal(found["demand_noise"], covariance(3.0).astype(np.float32))


def with_searches(served: ServedModel) -> ServedModel:
    """Searches for soup double in the last week; what is bought goes on as ever."""
    model = with_demand(served)
    values = np.full((len(served.labels), 26), 200.0)
    values[served.forecaster.catalogue.index["SOUP"], -1] *= 4
    searches = DemandRelease(values, 16 * np.eye(26), microseconds(AS_OF))
    return replace(model, demand={**model.demand, DemandBlock("search"): searches})


def test_an_action_is_answered_from_its_own_block(served: ServedModel) -> None:
    source = ModelTrends(lambda _: model)
    model = with_searches(served)
    searched, all_actions = (
        source.trends(TrendsRequest(labels=("SOUP",), action=action)) for action in ("search", None)
    )
    assert (searched.action, all_actions.action) == ("search", None)
    assert searched.trends[0].history[-4:] == (200, 200, 200, 800)
    assert max(all_actions.trends[0].history) < 400
    assert searched.trends[0].surge != all_actions.trends[0].surge


def test_an_action_that_the_run_did_not_release_is_refused_with_what_there_is(
    served: ServedModel,
) -> None:
    source = ModelTrends(lambda _: with_searches(served))
    with pytest.raises(Refusal, match="all actions together, search") as caught:
        source.trends(TrendsRequest(action="view"))
    assert caught.value.code == "unknown-action"


def test_an_answer_names_what_else_can_be_asked(served: ServedModel) -> None:
    north = [DemandBlock(action, "north") for action in (None, "view")]
    model = with_searches(served)
    release = model.demand[ALL_ACTIONS]
    model = replace(
        model,
        demand={**model.demand, **dict.fromkeys(north, release)},
        regions={"north": Region(3, served.privacy)},
    )
    source = ModelTrends(lambda _: model)
    everywhere, north_alone = (
        source.trends(TrendsRequest(region=region)) for region in (None, "north")
    )
    assert (everywhere.regions, everywhere.actions) == (("north",), ("search",))
    assert (north_alone.regions, north_alone.actions) == (("north",), ("view",))
    alone = ModelTrends(lambda _: with_demand(served)).trends(TrendsRequest())
    assert (alone.regions, alone.actions) == ((), ())


def test_a_vector_has_a_block_for_each_action_that_is_asked_for(served: ServedModel) -> None:
    kind, catalogue = WeeklyDemand(("search", "view")), served.forecaster.catalogue
    task = served.forecaster.task.model_copy(
        update={"actions": {"purchase": 1.0, "search": 0.0, "view": 0.0}}
    )
    events = [
        Event.model_validate({"time": AS_OF, "label": label, "action": action})
        for label, action in (("TEA", "purchase"), ("SOUP", "search"), ("SOUP", "search"))
    ]
    h, _ = histories_of([events], catalogue, task)
    (vector,) = kind.user_vectors(h, np.array([microseconds(AS_OF)]), task, catalogue, {})
    assert len(vector) == kind.dimension(len(catalogue))
    grid = unweighed(vector.reshape(3, kind.WINDOWS, len(catalogue))).round(9)
    assert np.argwhere(grid).tolist() == [
        [0, 25, catalogue.index["TEA"]],
        [1, 25, catalogue.index["SOUP"]],
    ]
    assert grid.max() == 1
    tensors = kind.estimate(vector, 10.0, 3.0, catalogue, {}, np.zeros((5, 4), np.float32))
    assert set(tensors) == {"demand", "demand:search", "demand:view", "demand_noise"}
    assert tensors["demand:search"][25, catalogue.index["SOUP"]] == pytest.approx(1)


def test_all_blocks_begin_where_the_data_does() -> None:
    """A block may hold nothing at first; its windows still stand beside those of the others."""
    values = np.zeros((26, 5), np.float32)
    values[6:] = 90
    searches = np.zeros((26, 5), np.float32)
    searches[20:] = 50
    noise = 9 * np.eye(26, dtype=np.float32)
    tensors = {"demand": values, "demand:search": searches, "demand_noise": noise}
    found = released_demand({**tensors, "popularity": values[0]}, 7)
    assert set(found) == {ALL_ACTIONS, DemandBlock("search")}
    assert {each.values.shape for each in found.values()} == {(5, 20)}
    assert released_demand({"popularity": values[0]}, 7) == {}
    assert {each.noise.shape for each in found.values()} == {(20, 20)}
    assert released_demand(tensors, None) == {}
    with pytest.raises(ModelError, match="no covariance of 26 windows; release"):
        released_demand({**tensors, "demand_noise": noise[0]}, 7)
    with pytest.raises(ModelError, match="no covariance of 26 windows; release"):
        released_demand({"demand": values}, 7)
