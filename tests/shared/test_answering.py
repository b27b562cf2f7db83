"""From questions to answers on a small real model."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from groundswell.shared import answering
from groundswell.shared.answering import ServedModel
from groundswell.shared.errors import InputError
from groundswell.shared.predict import load_model
from groundswell.shared.questions import (
    Basis,
    Event,
    PredictAnswer,
    PredictRequest,
    RecommendRequest,
    Trend,
    microseconds,
)

NOW = datetime(2026, 1, 31, tzinfo=UTC)
NOW_US = microseconds(NOW)


def event(days: float, **values: str) -> Event:
    return Event.model_validate({"time": NOW - timedelta(days=days), **values})


HISTORY = (event(21, label="COFFEE"), event(14, item="espresso pods"), event(7, label="COFFEE"))


def ask(served: ServedModel, *requests: PredictRequest) -> list[PredictAnswer]:
    times = [answering.check(served, request, NOW_US) for request in requests]
    return answering.predict(served, requests, times)


def ask_all(served: ServedModel) -> PredictAnswer:
    return ask(served, PredictRequest(events=HISTORY, at=NOW, top=1000))[0]


def test_all_labels_sum_to_one_and_come_most_probable_first(served: ServedModel) -> None:
    (answer,) = ask(served, PredictRequest(events=HISTORY, top=1000))
    shares = [each.probability for each in answer.interests]
    assert len(shares) == 5
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert shares == sorted(shares, reverse=True)
    assert answer.basis is Basis.HISTORY
    assert answer.interests[0].label == "COFFEE"


def test_no_history_gives_the_prior_and_steady_interests(served: ServedModel) -> None:
    (answer,) = ask(served, PredictRequest(top=1000))
    assert answer.basis is Basis.PRIOR
    assert [each.label for each in answer.interests][:2] == ["COFFEE", "SOUP"]
    assert {each.trend for each in answer.interests} == {Trend.STEADY}


def test_events_at_or_after_the_time_are_not_seen(served: ServedModel) -> None:
    at = NOW - timedelta(days=10)
    later = PredictRequest(events=HISTORY, at=at, top=1000)
    cut = PredictRequest(events=HISTORY[:2], at=at, top=1000)
    first, second = ask(served, later, cut)
    assert first == second
    assert ask(served, PredictRequest(events=HISTORY[2:], at=at))[0].basis is Basis.PRIOR


def test_an_answer_does_not_depend_on_its_neighbours_in_the_batch(served: ServedModel) -> None:
    alone = ask(served, PredictRequest(events=HISTORY, top=1000))[0]
    others = [PredictRequest(events=HISTORY[: i % 4]) for i in range(7)]
    together = ask(served, *others, PredictRequest(events=HISTORY, top=1000))[-1]
    for one, other in zip(alone.interests, together.interests, strict=True):
        assert one.label == other.label
        assert one.probability == pytest.approx(other.probability, abs=1e-5)


def test_the_gateway_forecasts_as_the_batch_command_does(
    served: ServedModel, model_folder: str
) -> None:
    rows = [
        {"user": "u", "time": e.time, "label": e.label, "item": e.item, "action": "purchase"}
        for e in HISTORY
    ]
    frame = load_model(model_folder).predict(rows, at=NOW)
    (answer,) = ask(served, PredictRequest(events=HISTORY, at=NOW, top=1000))
    assert [each.label for each in answer.interests] == frame["label"].to_list()
    np.testing.assert_allclose(
        [each.probability for each in answer.interests], frame["probability"], atol=1e-5
    )
    np.testing.assert_allclose([e.lift for e in answer.interests], frame["lift"], rtol=1e-4)


def test_a_label_outside_the_catalogue_counts_by_its_text_alone(served: ServedModel) -> None:
    known, unknown, text = ask(
        served,
        PredictRequest(events=(event(1, label="TEA"),), at=NOW),
        PredictRequest(events=(event(1, label="oolong"),), at=NOW),
        PredictRequest(events=(event(1, text="oolong"),), at=NOW),
    )
    assert unknown == text
    assert unknown.basis is Basis.HISTORY
    assert unknown != known


def test_chinese_words_move_the_forecast(served: ServedModel) -> None:
    (answer,) = ask(served, PredictRequest(events=(event(1, item="智能手机"),), at=NOW))
    assert answer.interests[0].label == "手机"
    assert "手机" in answer.model_dump_json()


def test_another_window_is_refused_and_the_allowed_one_named(served: ServedModel) -> None:
    with pytest.raises(InputError, match="window of 7d"):
        ask(served, PredictRequest.model_validate({"window": "3d"}))
    assert ask(served, PredictRequest.model_validate({"window": "1w"}))


@pytest.mark.parametrize("days", [-30, -400 * 365])
def test_impossible_times_are_refused(served: ServedModel, days: float) -> None:
    with pytest.raises(InputError):
        ask(served, PredictRequest(events=(event(days, label="TEA"),)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), st.integers(1, 40))
def test_the_top_is_the_head_of_the_whole_order(values: list[float], top: int) -> None:
    array = np.array(values, dtype=np.float32)
    assert answering.most(array, top) == np.argsort(-array, kind="stable")[:top].tolist()


def test_items_of_the_strongest_interest_come_first_and_the_used_ones_before_the_new(
    served: ServedModel,
) -> None:
    request = RecommendRequest(events=HISTORY, at=NOW, top=1000)
    answer = answering.recommend(served, request, NOW_US)
    shares = {each.label: each.probability for each in ask_all(served).interests}
    assert [each.item for each in answer.items[:2]] == ["espresso pods", "coffee beans"]
    assert answer.items[0].reason.startswith("used 1 time before")
    assert answer.items[0].score == pytest.approx(shares["COFFEE"])
    assert all(each.score <= shares[each.label] + 1e-9 for each in answer.items)
    assert len(answer.items) == 10


def test_filters_hold(served: ServedModel) -> None:
    def items(**filters: object) -> list[str]:
        request = RecommendRequest.model_validate({"events": HISTORY, "filters": filters})
        return [each.item for each in answering.recommend(served, request, NOW_US).items]

    assert "espresso pods" not in items(only_new=True)
    assert "coffee beans" not in items(exclude_items=["coffee beans"])
    assert set(items(labels=["TEA"])) == {"green tea", "black tea"}
    assert set(items(groups=["drinks"], per_label=1)) <= {"espresso pods", "black tea"}
    with pytest.raises(InputError, match="no such label"):
        items(labels=["nothing"])


def test_answers_are_plain_json(served: ServedModel) -> None:
    (answer,) = ask(served, PredictRequest(events=HISTORY))
    plain = json.loads(answer.model_dump_json())
    assert set(plain) == {"model_version", "privacy", "basis", "interests"}
    assert set(plain["interests"][0]) == {"label", "probability", "lift", "trend"}
    assert "secure aggregation" in plain["privacy"]["local"]["note"]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+22:44", "9999-12-31T23:59:59-10:00"])
def test_a_time_that_utc_can_not_say_is_refused(at: str) -> None:
    with pytest.raises(ValidationError, match="outside the years 1 to 9999"):
        PredictRequest.model_validate({"at": at})
