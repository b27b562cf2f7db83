"""Explanations: the parts add up, the first one matters most, the words are right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from groundswell.shared import answering
from groundswell.shared.answering import ServedModel
from groundswell.shared.errors import InputError
from groundswell.shared.explain import explain_question
from groundswell.shared.questions import Event, ExplainAnswer, ExplainRequest, microseconds

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def event(days: float, **values: str) -> Event:
    return Event.model_validate({"time": NOW - timedelta(days=days), **values})


EVENTS = (
    event(40, label="TEA"),
    event(26, label="COFFEE"),
    event(12, label="COFFEE"),
    event(9, text="running shoes", action="search"),
    event(3, label="SOUP"),
    event(2, item="smartwatch", action="view"),
)


def explained(
    served: ServedModel,
    events: tuple[Event, ...],
    label: str | None = None,
    method: Literal["shapley", "lime"] = "shapley",
) -> ExplainAnswer:
    request = ExplainRequest(events=events, label=label, at=NOW, method=method)
    return explain_question(served, request, answering.check(served, request, microseconds(NOW)))


@pytest.mark.parametrize("label", ["COFFEE", "SOUP", "手机"])
def test_the_parts_add_up(served: ServedModel, label: str) -> None:
    answer = explained(served, EVENTS, label)
    total = answer.baseline + sum(each.contribution for each in answer.contributions)
    assert total == pytest.approx(answer.probability, abs=1e-6)
    assert sum(each.events for each in answer.contributions) == len(EVENTS)


@pytest.mark.parametrize("method", ["shapley", "lime"])
def test_removing_the_top_event_moves_the_score_most(
    served: ServedModel, method: Literal["shapley", "lime"]
) -> None:
    answer = explained(served, EVENTS, "SOUP", method)
    moved = {}
    for left_out in EVENTS:
        rest = tuple(each for each in EVENTS if each is not left_out)
        moved[left_out.time] = abs(explained(served, rest, "SOUP").probability - answer.probability)
    assert answer.contributions[0].time == max(moved, key=lambda time: moved[time])


def test_long_histories_are_summed_up_and_still_add_up(served: ServedModel) -> None:
    texts = [event(100 + i, text=f"thing {i}", action="view") for i in range(30)]
    answer = explained(served, (*EVENTS, *texts), "COFFEE")
    total = answer.baseline + sum(each.contribution for each in answer.contributions)
    assert total == pytest.approx(answer.probability, abs=1e-6)
    assert len(answer.contributions) <= 16
    assert sum(each.events for each in answer.contributions) == len(EVENTS) + 30
    assert answer.contributions[0].what == "COFFEE"
    assert answer.contributions[0].events == 2


def test_habits_in_plain_words(served: ServedModel) -> None:
    answer = explained(served, EVENTS, "COFFEE")
    assert answer.habit.words == "bought 2 times, last 12 days ago, usually every 14 days"
    assert explained(served, EVENTS, "TEA").habit.words == "bought once, last 40 days ago"
    assert explained(served, EVENTS, "手机").habit.words == "never bought before"


def test_without_history_there_is_nothing_to_explain(served: ServedModel) -> None:
    answer = explained(served, ())
    assert answer.contributions == ()
    assert answer.probability == pytest.approx(answer.baseline)


def test_the_same_question_gets_the_same_answer(served: ServedModel) -> None:
    assert explained(served, EVENTS) == explained(served, EVENTS)


def test_an_unknown_label_is_refused(served: ServedModel) -> None:
    with pytest.raises(InputError, match="no such label"):
        explained(served, EVENTS, "nothing")
