"""A question in any form is understood, or there is one clear error."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from groundswell.shared import messages
from groundswell.shared.envelopes import parse
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.questions import ExplainRequest, PredictRequest, RecommendRequest
from groundswell.shared.wire import query_pb2 as query

pytestmark = pytest.mark.fuzz

QUESTION = {
    "events": [{"time": "2025-01-06T10:00:00Z", "action": "view", "label": "TEA", "text": "tea"}],
    "at": "2025-01-08T00:00:00Z",
    "window": "7d",
    "top": 3,
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
EVENTS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("time", "action", "item", "label", "text", "more"), VALUES)
)
DOCUMENTS = st.fixed_dictionaries(
    {"events": st.lists(EVENTS, max_size=3) | VALUES},
    optional=dict.fromkeys(("at", "window", "top", "model", "filters", "label"), VALUES),
).map(lambda document: json.dumps(document).encode())
EDITS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 40), st.binary(max_size=20)),
    min_size=1,
    max_size=4,
)


def changed(sound: bytes, change: Any) -> bytes:
    """Other bytes, or the sound ones with some cut out and others put in."""
    if isinstance(change, bytes):
        return change
    for position, length, new in change:
        at = position % (len(sound) + 1)
        sound = sound[:at] + new + sound[at + length :]
    return sound


def assert_told(error: Exception) -> None:
    assert str(error)


@settings(max_examples=200, deadline=None)
@given(st.one_of(DOCUMENTS, EDITS, st.binary(max_size=200)))
def test_questions_as_json(change: object) -> None:
    data = changed(json.dumps(QUESTION).encode(), change)
    for kind in (PredictRequest, RecommendRequest, ExplainRequest):
        try:
            kind.model_validate_json(data)
        except ValidationError as error:
            assert_told(error)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=200), EDITS))
def test_questions_as_protobuf(change: object) -> None:
    sound = query.PredictRequest(window="7d", top=3)
    sound.events.add(action="view", label="TEA").time.FromJsonString("2025-01-06T10:00:00Z")
    data = changed(sound.SerializeToString(), change)
    readers: Mapping[type[Any], Callable[[Any], object]] = {
        query.PredictRequest: messages.predict_request,
        query.RecommendRequest: messages.recommend_request,
        query.ExplainRequest: messages.explain_request,
        query.TrendsRequest: messages.trends_request,
        query.StreamRequest: messages.stream_request,
    }
    for kind, read in readers.items():
        try:
            read(parse(kind, data))
        except (Refusal, InputError) as error:
            assert_told(error)
