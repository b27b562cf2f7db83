"""Between the protobuf messages of ``query.proto`` and the questions and answers behind them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, ValidationError

from groundswell.shared.errors import InputError
from groundswell.shared.questions import (
    MAX_EVENTS,
    Answer,
    ExplainRequest,
    Interest,
    PredictAnswer,
    PredictRequest,
    Privacy,
    RecommendRequest,
    StreamRequest,
    Tier,
    TrendsRequest,
)
from groundswell.shared.wire import query_pb2 as wire

Q = TypeVar("Q", bound=BaseModel)
M = TypeVar("M", bound=Message)
_TIER_FIELDS = tuple(Tier.model_fields)


def predict_request(message: wire.PredictRequest) -> PredictRequest:
    """Raises InputError for what is not a question, as do the others here."""
    return _parsed(PredictRequest, {**_history(message), **_set(top=message.top)})


def stream_request(message: wire.StreamRequest) -> StreamRequest:
    """One event of a session."""
    values = _set(session=message.session, top=message.top, model=message.model)
    if message.HasField("event"):
        values["event"] = _event(message.event)
    return _parsed(StreamRequest, values)


def recommend_request(message: wire.RecommendRequest) -> RecommendRequest:
    """A question for items."""
    filters = message.filters
    chosen = _set(
        labels=tuple(filters.labels),
        groups=tuple(filters.groups),
        exclude_items=tuple(filters.exclude_items),
        only_new=filters.only_new,
        only_rising=filters.only_rising,
        per_label=filters.per_label,
    )
    return _parsed(
        RecommendRequest, {**_history(message), **_set(top=message.top), "filters": chosen}
    )


def explain_request(message: wire.ExplainRequest) -> ExplainRequest:
    """A question for reasons."""
    return _parsed(
        ExplainRequest, {**_history(message), **_set(label=message.label, method=message.method)}
    )


def trends_request(message: wire.TrendsRequest) -> TrendsRequest:
    """A question for demand."""
    values = _set(
        labels=tuple(message.labels),
        region=message.region,
        action=message.action,
        model=message.model,
        top=message.top,
        lead=message.lead,
    )
    return _parsed(TrendsRequest, values)


def predict_answer(answer: PredictAnswer) -> wire.PredictAnswer:
    """The answer that is sent most, field by field."""
    return wire.PredictAnswer(
        model_version=answer.model_version,
        privacy=_privacy(answer.privacy),
        basis=answer.basis,
        interests=interest_messages(answer.interests),
    )


def interest_messages(interests: Iterable[Interest]) -> list[wire.Interest]:
    """Interests, field by field."""
    return [
        wire.Interest(
            label=each.label, probability=each.probability, lift=each.lift, trend=each.trend
        )
        for each in interests
    ]


def from_message(message: Message, kind: type[Q]) -> Q:
    """An answer from the message whose fields have the same names."""
    values = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return kind.model_validate(values)


def to_message(answer: Answer, kind: type[M]) -> M:
    """Any answer as the message whose fields have the same names."""
    return ParseDict(answer.model_dump(mode="json"), kind())


def _history(
    message: wire.PredictRequest | wire.RecommendRequest | wire.ExplainRequest,
) -> dict[str, Any]:
    values = _set(window=message.window, model=message.model)
    if message.HasField("at"):
        values["at"] = _time(message.at)
    return {**values, "events": _events(message.events)}


def _events(events: Collection[wire.Event]) -> tuple[dict[str, Any], ...]:
    if len(events) > MAX_EVENTS:  # told before a million of them are looked at
        raise InputError("events", len(events), f"at most {MAX_EVENTS} events", "send the newest")
    return tuple(_event(event) for event in events)


def _event(event: wire.Event) -> dict[str, Any]:
    values = _set(action=event.action, item=event.item, label=event.label, text=event.text)
    if event.HasField("time"):
        values["time"] = _time(event.time)
    return values


def _time(stamp: Timestamp) -> Any:
    """An aware time; one that no calendar holds stays a number, which the check refuses."""
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(
            "time", stamp.seconds, "no calendar holds the time", "send seconds since 1970"
        ) from error


def _set(**values: Any) -> dict[str, Any]:
    """Those that are set: proto3 does not tell an empty value from none."""
    return {name: value for name, value in values.items() if value}


def _parsed(model: type[Q], values: dict[str, Any]) -> Q:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(
            ".".join(str(part) for part in first["loc"]) or "request",
            first["input"],
            first["msg"].removeprefix("Value error, "),
            "see query.proto",
        ) from error


def _privacy(privacy: Privacy) -> wire.Privacy:
    return wire.Privacy(central=_tier(privacy.central), local=_tier(privacy.local))


def _tier(tier: Tier) -> wire.Tier:
    values = {name: value for name in _TIER_FIELDS if (value := vars(tier)[name]) is not None}
    return wire.Tier(**values)
