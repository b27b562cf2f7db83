"""Trends of a released demand through the gateway's source, and users' vectors behind it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import pytest

from groundswell.server.trends import ModelTrends
from groundswell.shared.answering import ServedModel
from groundswell.shared.demand_release import DemandRelease
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.event_input import histories_of
from groundswell.shared.questions import Event, TrendsRequest, microseconds
from groundswell.shared.statistics import WeeklyDemand

AS_OF = datetime(2025, 7, 7, tzinfo=UTC)


def _same(model: ServedModel) -> ServedModel:
    return model


def with_demand(served: ServedModel, weeks: int = 26) -> ServedModel:
    values = np.random.default_rng(2).poisson(300.0, (len(served.labels), weeks)).astype(float)
    return replace(served, demand=DemandRelease(values, 4.0, microseconds(AS_OF)))


def test_a_released_demand_is_answered(served: ServedModel) -> None:
    source = ModelTrends(lambda: model)
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
    source = ModelTrends(lambda: with_demand(served))
    with pytest.raises(Refusal, match="no region north"):
        source.trends(TrendsRequest(region="north"))
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
    grid = vectors.reshape(2, kind.WINDOWS, len(catalogue))
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
    grid = vectors.reshape(kind.WINDOWS, -1)
    assert np.argwhere(grid).tolist() == [[25, catalogue.index["TEA"]]]
    found = kind.estimate(vectors[0], 10.0, 3.0, catalogue, {}, np.zeros((5, 4), np.float32))
    assert found["demand"].shape == (26, 5)
    assert found["demand_noise"].tolist() == [3.0]
