"""The HTTP face answers as the contract says, and its client understands it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from groundswell.query_client import AsyncClient, Client
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.questions import Basis

EVENTS = [
    {"time": "2025-01-01T10:00:00Z", "action": "purchase", "label": "COFFEE"},
    {"time": "2025-01-08T10:00:00", "action": "purchase", "item": "espresso pods"},
    {"time": "2025-01-09T10:00:00+08:00", "action": "search", "text": "智能手表"},
]


@pytest.fixture
def url(gateway: object) -> str:
    found: str = vars(gateway)["url"]
    return found


def post(url: str, path: str, body: object) -> httpx.Response:
    return httpx.post(url + path, json=body, timeout=30)


def test_predict(url: str) -> None:
    response = post(url, "/v1/predict", {"events": EVENTS, "window": "7d", "top": 3})
    assert response.status_code == 200
    answer = response.json()
    assert set(answer) == {"model_version", "privacy", "basis", "interests"}
    assert answer["basis"] == "history"
    assert set(answer["privacy"]) == {"central", "local"}
    assert answer["privacy"]["central"]["epsilon"] == 2.9
    keys = {"label", "probability", "lift", "trend"}
    assert [set(each) for each in answer["interests"]] == [keys] * 3


def test_no_history_is_the_prior(url: str) -> None:
    assert post(url, "/v1/predict", {}).json()["basis"] == "prior"


def test_a_time_that_utc_can_not_say_is_422(url: str) -> None:
    refused = post(url, "/v1/predict/batch", {"requests": [{"at": "0001-01-01T00:00:00+22:44"}]})
    assert refused.status_code == 422
    assert "outside the years 1 to 9999" in refused.text


def test_another_window_is_422_and_names_the_allowed_one(url: str) -> None:
    refused = post(url, "/v1/predict", {"window": "30d"})
    assert refused.status_code == 422
    assert "7d" in refused.json()["detail"]


def test_health_and_models(url: str) -> None:
    health = httpx.get(url + "/healthz").json()
    models = httpx.get(url + "/v1/models").json()
    assert health == {"status": "ok", "model_version": models["default"]}
    (version,) = models["models"]
    assert (version["labels"], version["window"]) == (5, "7d")


def test_the_client_asks_everything(url: str) -> None:
    with Client(url) as client:
        answer = client.predict(EVENTS, top=2)
        assert answer.interests[0].label == "COFFEE"
        many = client.predict_many([EVENTS, []])
        assert [each.basis for each in many] == [Basis.HISTORY, Basis.PRIOR]
        items = client.recommend(EVENTS, only_new=True, labels=["COFFEE"]).items
        assert [each.item for each in items] == ["coffee beans"]
        explained = client.explain(EVENTS, label="COFFEE")
        parts = sum(each.contribution for each in explained.contributions)
        assert explained.baseline + parts == pytest.approx(explained.probability, abs=1e-6)
        assert "智能手表" in {each.what for each in explained.contributions}
        assert client.models().default == answer.model_version
        with pytest.raises(Refusal, match="no federated demand"):
            client.trends()
        with pytest.raises(InputError, match="window of 7d"):
            client.predict(EVENTS, window="3d")


def test_a_session_grows_event_by_event(url: str) -> None:
    with Client(url) as client:
        first = client.stream("visit-1", EVENTS[0], top=5)
        second = client.stream("visit-1", EVENTS[1], top=5)
        whole = client.predict(EVENTS[:2], top=5)
        assert second == whole
        assert first != second
        assert client.stream("visit-2", EVENTS[1], top=5) != second


def test_the_coroutines_answer_alike(url: str) -> None:
    async def ask() -> tuple[object, ...]:
        async with AsyncClient(url) as client:
            answers = await asyncio.gather(*(client.predict(EVENTS) for _ in range(20)))
            assert len({answer.model_dump_json() for answer in answers}) == 1
            return answers[0], await client.models(), await client.recommend(EVENTS)

    with Client(url) as client:
        alike = (client.predict(EVENTS), client.models(), client.recommend(EVENTS))
    assert asyncio.run(ask()) == alike


def test_a_folder_answers_like_the_gateway(url: str, model_folder: Path) -> None:
    local = Client.local(model_folder)
    with Client(url) as client:
        assert local.predict(EVENTS).interests == client.predict(EVENTS).interests
    assert len(local.predict_many([EVENTS, EVENTS[:1]])) == 2
    assert local.explain(EVENTS).label == "COFFEE"
    with pytest.raises(Refusal, match="gateway"):
        local.trends()


def test_the_client_says_what_it_can_not_reach() -> None:
    with pytest.raises(Refusal, match="unreachable"):
        Client("http://127.0.0.1:9", timeout=2).models()
    with pytest.raises(InputError, match="no web address"):
        Client("localhost:8080")


def test_a_token_does_not_show_in_the_client() -> None:
    client = Client("http://127.0.0.1:9", token="gsw_abc_topsecret")
    assert "topsecret" not in repr(vars(client))


def test_security_headers_stand_on_every_answer(url: str) -> None:
    for path in ("/", "/healthz", "/nothing", "/openapi.json"):
        headers = httpx.get(url + path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_metrics_count_by_route_and_hold_no_content(url: str) -> None:
    post(url, "/v1/predict", {"events": EVENTS})
    httpx.get(url + "/secret-path-in-nobody's-metrics")
    text = httpx.get(url + "/metrics").text
    assert 'groundswell_requests_total{method="/v1/predict",protocol="http",status="200"}' in text
    assert "secret-path" not in text
    assert "COFFEE" not in text


def test_texts_in_a_script_that_the_model_hardly_knows_are_named(url: str) -> None:
    """But for a label that is named exactly: that needs no reading."""
    asked = {"text": "searched 智能手表; bought 手机; viewed green tea; searched 智能手表"}
    answer = post(url, "/v1/typed", asked).json()
    assert answer["unread"] == ["智能手表"]
    assert answer["events"][1]["label"] == "手机"
    english = {"text": "searched smartwatch; viewed green tea"}
    assert post(url, "/v1/typed", english).json()["unread"] == []
