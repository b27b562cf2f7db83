"""The proxy lets the Fleet path through, byte for byte, and nothing else."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from groundswell.server import fleet_proxy
from groundswell.server.fleet_proxy import FleetProxy

FLEET = "/v1/fleet/pull-messages"


class Upstream(httpx.AsyncBaseTransport):
    """Remembers what came, and answers with it."""

    def __init__(self) -> None:
        self.seen: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        self.seen.append(request)
        headers = {"flwr-x": "1", "server": "uvicorn"}
        return httpx.Response(200, stream=httpx.ByteStream(b"echo:" + body), headers=headers)


def ask(
    upstream: httpx.AsyncBaseTransport,
    path: str,
    method: str = "POST",
    content: bytes = b"",
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    proxy = FleetProxy("https://127.0.0.1:1", True, transport=upstream)

    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(app=proxy)
        async with httpx.AsyncClient(transport=transport, base_url="https://fleet") as client:
            return await client.request(method, path, content=content, headers=headers)

    return asyncio.run(once())


def test_a_fleet_request_passes_with_its_signature_and_body() -> None:
    upstream = Upstream()
    answer = ask(upstream, FLEET, content=b"\x00\xff", headers={"flwr-signature": "s"})
    assert answer.status_code == 200
    assert answer.content == b"echo:\x00\xff"
    assert answer.headers["flwr-x"] == "1"
    assert "server" not in answer.headers
    (seen,) = upstream.seen
    assert seen.url.path == FLEET
    assert seen.headers["flwr-signature"] == "s"


def test_other_headers_stay_outside() -> None:
    upstream = Upstream()
    ask(upstream, FLEET, headers={"authorization": "Bearer x", "flwr-task-token": "t"})
    (seen,) = upstream.seen
    assert "authorization" not in seen.headers


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/start-run",
        "/v1/runtime/acquire-task",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/%2e%2e/control/start-run",
        "/v1/fleet//control/start-run",
        "/v1/fleet/a/b",
        "/v1/fleet/",
        "/V1/FLEET/pull-messages",
        "/v1/fleet/pull-messages?x=1",
        "/health",
        "/",
    ],
)
def test_nothing_else_passes(path: str) -> None:
    upstream = Upstream()
    assert ask(upstream, path).status_code == 404
    assert upstream.seen == []


def test_only_posts_pass_and_health_is_the_proxys_own() -> None:
    upstream = Upstream()
    assert ask(upstream, FLEET, method="GET").status_code == 404
    assert ask(upstream, "/healthz", method="GET").content == b"ok"
    assert upstream.seen == []


def test_a_body_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_proxy, "MAX_BODY_BYTES", 10)
    upstream = Upstream()
    assert ask(upstream, FLEET, content=b"x" * 11).status_code == 413
    assert upstream.seen == []


def test_a_superlink_that_is_away_is_a_bad_gateway() -> None:
    class Away(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("away")

    assert ask(Away(), FLEET).status_code == 502
