"""The gRPC face: the same answers as HTTP, health, reflection, deadlines, streams, statuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundswell.shared.wire import query_pb2 as wire

SERVICE = "groundswell.query.v1.Query"
Call = Callable[..., Any]
CONNECTION_OF_ITS_OWN = [("grpc.use_local_subchannel_pool", 1)]


@pytest.fixture
def call(gateway: Any) -> Iterator[Call]:
    """Calls a unary method by name: ``call("Models", request, answer type)``."""
    with grpc.insecure_channel(gateway.grpc) as channel:
        yield unary(channel)


def unary(channel: grpc.Channel) -> Call:
    def work(method: str, request: Any, kind: Any, **options: Any) -> Any:
        made = channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=kind.FromString,
        )
        return made(request, **{"timeout": 30, **options})

    return work


def event(day: int, **values: str) -> wire.Event:
    made = wire.Event()
    for name, value in values.items():
        setattr(made, name, value)
    made.time.FromJsonString(f"2025-01-{day:02d}T10:00:00Z")
    return made


EVENTS = [event(1, label="COFFEE"), event(8, item="espresso pods"), event(9, text="智能手表")]


def test_the_same_answer_as_over_http(gateway: Any, call: Call) -> None:
    answer = call("PredictInterest", wire.PredictRequest(events=EVENTS), wire.PredictAnswer)
    events = [
        {
            "time": each.time.ToJsonString(),
            **{
                name: getattr(each, name)
                for name in ("label", "item", "text")
                if getattr(each, name)
            },
        }
        for each in EVENTS
    ]
    plain = httpx.post(gateway.url + "/v1/predict", json={"events": events}, timeout=30).json()
    assert [each.label for each in answer.interests] == [e["label"] for e in plain["interests"]]
    assert [each.probability for each in answer.interests] == pytest.approx(
        [e["probability"] for e in plain["interests"]]
    )
    assert answer.basis == plain["basis"]
    assert answer.privacy.local.note == plain["privacy"]["local"]["note"]
    assert not answer.privacy.central.HasField("note")


def test_every_other_method(call: Call) -> None:
    models = call("Models", wire.ModelsRequest(), wire.ModelsAnswer)
    assert models.models[0].window == "7d"
    items = call("Recommend", wire.RecommendRequest(events=EVENTS), wire.RecommendAnswer)
    assert items.items[0].item == "espresso pods"
    why = call("Explain", wire.ExplainRequest(events=EVENTS, label="手机"), wire.ExplainAnswer)
    parts = sum(each.contribution for each in why.contributions)
    assert why.baseline + parts == pytest.approx(why.probability, abs=1e-6)
    with pytest.raises(grpc.RpcError) as caught:
        call("Trends", wire.TrendsRequest(), wire.TrendsAnswer)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_batch_is_answered_in_its_order(gateway: Any) -> None:
    labels = ["COFFEE", "TEA", "手机", "SOUP"] * 50
    with grpc.insecure_channel(gateway.grpc) as channel:
        batch = channel.stream_stream(
            f"/{SERVICE}/PredictBatch",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=wire.PredictAnswer.FromString,
        )
        requests = (wire.PredictRequest(events=[event(1, label=label)]) for label in labels)
        answers = [each.interests[0].label for each in batch(requests, timeout=60)]
    assert answers == labels


def test_a_batch_ends_at_a_failed_request_after_the_answers_before_it(gateway: Any) -> None:
    """Often: a call that is ended beside an answer left one caller in thousands waiting."""
    good, bad = wire.PredictRequest().SerializeToString(), b"/^\xdaYy\xb7"
    for _ in range(100):
        with grpc.insecure_channel(gateway.grpc) as channel:
            raw: Any = channel.stream_stream(f"/{SERVICE}/PredictBatch", bytes, bytes)
            call = raw(iter([good, good, bad, bad, good]), timeout=30)
            answers: list[bytes] = []
            with pytest.raises(grpc.RpcError) as ended:
                answers.extend(call)
        assert (len(answers), ended.value.code()) == (2, grpc.StatusCode.INVALID_ARGUMENT)


def test_a_stream_answers_after_each_event(gateway: Any, call: Call) -> None:
    with grpc.insecure_channel(gateway.grpc) as channel:
        stream = channel.stream_stream(
            f"/{SERVICE}/StreamInterest",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=wire.PredictAnswer.FromString,
        )
        requests = [wire.StreamRequest(session="grpc", event=each) for each in EVENTS]
        answers = list(stream(iter(requests), timeout=60))
    whole = call("PredictInterest", wire.PredictRequest(events=EVENTS), wire.PredictAnswer)
    assert len(answers) == 3
    assert answers[-1] == whole


def test_health_and_reflection(gateway: Any) -> None:
    with grpc.insecure_channel(gateway.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert SERVICE in services


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (wire.PredictRequest(window="3d"), "INVALID_ARGUMENT", "7d"),
        (wire.PredictRequest(events=[wire.Event(text="tea")]), "INVALID_ARGUMENT", "time"),
        (wire.PredictRequest(events=[event(1)]), "INVALID_ARGUMENT", "item, a label or a text"),
        (wire.PredictRequest(top=10**6), "INVALID_ARGUMENT", "top"),
        (wire.PredictRequest(model="v9"), "NOT_FOUND", "v9"),
        (wire.PredictRequest(model="a b"), "INVALID_ARGUMENT", "model"),
        (wire.PredictRequest(events=EVENTS[:1] * 10_001), "INVALID_ARGUMENT", "events"),
    ],
)
def test_wrong_requests(call: Call, request_: Any, code: str, words: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call("PredictInterest", request_, wire.PredictAnswer)
    assert caught.value.code().name == code
    assert words in str(caught.value.details())


def test_a_deadline_that_has_passed_is_told(call: Call) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call("Explain", wire.ExplainRequest(events=EVENTS * 20), wire.ExplainAnswer, timeout=0.01)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_too_large_a_message_is_refused(call: Call) -> None:
    request = wire.PredictRequest(events=[wire.Event(text="x" * 1000)] * 50_000)
    with pytest.raises(grpc.RpcError) as caught:
        call("PredictInterest", request, wire.PredictAnswer)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_million_events_are_refused_before_they_are_looked_at(gateway: Any) -> None:
    empty_event = b"\x0a\x00"
    with grpc.insecure_channel(gateway.grpc) as channel:
        raw = channel.unary_unary(f"/{SERVICE}/PredictInterest", bytes, bytes)
        began = time.monotonic()
        code, details = outcome(partial(raw, empty_event * 10**6, timeout=30))
    assert (code, time.monotonic() - began < 3) == ("INVALID_ARGUMENT", True), details


def test_200_clients_at_once(gateway: Any) -> None:
    def ask(number: int) -> str:
        with grpc.insecure_channel(gateway.grpc, CONNECTION_OF_ITS_OWN) as channel:
            request = wire.PredictRequest(events=EVENTS * (number % 5))
            work = partial(unary(channel), "PredictInterest", request, wire.PredictAnswer)
            return outcome(partial(work, timeout=60))[0]

    with ThreadPoolExecutor(200) as pool:
        assert set(pool.map(ask, range(200))) == {"OK"}


def test_tokens_and_scopes(guarded: Any, token: Callable[..., str]) -> None:
    with grpc.insecure_channel(guarded.grpc) as channel:
        call = unary(channel)

        def code(secret: str | None, method: str, request: Any, kind: Any) -> str:
            metadata = (("authorization", f"Bearer {secret}"),) if secret else ()
            try:
                call(method, request, kind, metadata=metadata)
            except grpc.RpcError as error:
                return str(error.code().name)
            return "OK"

        predict = ("PredictInterest", wire.PredictRequest(), wire.PredictAnswer)
        assert code(None, *predict) == "UNAUTHENTICATED"
        assert code("gsw_0_0", *predict) == "UNAUTHENTICATED"
        secret = token("predict")
        assert code(secret, *predict) == "OK"
        models = ("Models", wire.ModelsRequest(), wire.ModelsAnswer)
        assert code(secret, *models) == "PERMISSION_DENIED"


ALLOWED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}
METHODS = ("PredictInterest", "Recommend", "Explain", "Trends", "Models")


def outcome(work: Callable[[], Any]) -> tuple[str, str]:
    """Status and details of a call."""
    try:
        work()
    except grpc.RpcError as error:
        return str(error.code().name), str(error.details())
    return "OK", ""


@pytest.mark.fuzz
@pytest.mark.parametrize("method", ["PredictBatch", "StreamInterest"])
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.lists(st.binary(max_size=100), max_size=4))
def test_any_stream_of_bytes_gets_a_status(gateway: Any, method: str, data: list[bytes]) -> None:
    with grpc.insecure_channel(gateway.grpc) as channel:
        raw = channel.stream_stream(f"/{SERVICE}/{method}", bytes, bytes)
        code, details = outcome(lambda: list(raw(iter(data), timeout=30)))
    assert code in ALLOWED, details


@pytest.mark.fuzz
@pytest.mark.parametrize("method", METHODS)
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.binary(max_size=200))
def test_any_bytes_get_a_status(gateway: Any, method: str, data: bytes) -> None:
    with grpc.insecure_channel(gateway.grpc) as channel:
        raw = channel.unary_unary(f"/{SERVICE}/{method}", bytes, bytes)
        code, details = outcome(partial(raw, data, timeout=30))
    assert code in ALLOWED, details


TEXTS = st.text(max_size=20) | st.sampled_from(["COFFEE", "手机", "7d", "latest", "lime"])
EVENT_MESSAGES = st.builds(
    lambda seconds, nanos, action, item, label, text: wire.Event(
        time={"seconds": seconds, "nanos": nanos}, action=action, item=item, label=label, text=text
    ),
    st.integers(-(2**63), 2**63 - 1) | st.integers(0, 1_700_000_000),
    st.integers(-(2**31), 2**31 - 1) | st.just(0),
    *[TEXTS] * 4,
)


@pytest.mark.fuzz
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(EVENT_MESSAGES, max_size=6),
    TEXTS,
    TEXTS,
    TEXTS,
    st.integers(0, 2**32 - 1) | st.integers(0, 20),
)
def test_any_message_gets_a_status(
    call: Call, events: list[wire.Event], window: str, model: str, label: str, top: int
) -> None:
    requests = (
        ("PredictInterest", wire.PredictRequest(), wire.PredictAnswer),
        ("Explain", wire.ExplainRequest(label=label), wire.ExplainAnswer),
        ("Recommend", wire.RecommendRequest(top=top), wire.RecommendAnswer),
    )
    for method, request, kind in requests:
        request.events.extend(events)
        request.window, request.model = window, model
        code, details = outcome(partial(call, method, request, kind))
        assert code in ALLOWED, details
