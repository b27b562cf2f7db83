"""What stands before the HTTP application: size and time of bodies, hosts, headers, metrics, log.

One plain ASGI class. A request's head is timed by the protocol class in ``hosting``, since ASGI
begins when the head is complete.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from groundswell.server.gateway.faults import STATUSES
from groundswell.server.gateway.limits import BODY_SECONDS, MAX_BODY, SLOW_SECONDS
from groundswell.server.gateway.metrics import Metrics
from groundswell.shared.errors import Refusal
from groundswell.shared.questions import Fault

_LOG = structlog.get_logger("groundswell.gateway")
_SECURITY = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


@dataclass
class _Seen:
    status: int = 0


class Guard:
    """Wraps the application.

    Args:
        hosts: host names that may be asked for; None: any. On loopback without tokens it keeps a
            page of another origin from reaching the gateway by a name of its own (DNS rebinding).
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        hosts: Iterable[str] | None = None,
        *,
        max_body: int = MAX_BODY,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._hosts = frozenset(hosts) if hosts is not None else None
        self._max_body = max_body
        self._body_seconds = body_seconds
        self._too_large = f"a body holds at most {max_body} bytes"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event; only HTTP is guarded."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        seen = _Seen()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), *_SECURITY]}
            await send(message)

        headers = dict(scope["headers"])
        if not self._known_host(headers.get(b"host", b"")):
            await _refuse(sending, "wrong-host", "ask for localhost or 127.0.0.1")
        elif not _length(headers) <= self._max_body:
            await _refuse(sending, "too-large", self._too_large)
        else:
            await self._guarded(scope, receive, sending)
        self._record(scope, seen.status, time.monotonic() - began)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = self._max_body
        until = asyncio.get_running_loop().time() + self._body_seconds
        complete = False

        async def receiving() -> Message:
            nonlocal left, complete
            if complete:
                return await receive()  # only a disconnection can come now
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                rule = f"a body must come within {self._body_seconds:.0f} s"
                raise Refusal("too-slow", rule) from error
            left -= len(message.get("body", b""))
            if left < 0:
                raise Refusal("too-large", self._too_large)
            complete = not message.get("more_body", False)
            return message

        await self._app(scope, receiving, send)

    def _known_host(self, host: bytes) -> bool:
        if self._hosts is None:
            return True
        text = host.decode("latin-1")
        name = text[: text.find("]") + 1] if text.startswith("[") else text.partition(":")[0]
        return name in self._hosts

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        method = route.path if route is not None else "other"
        self._metrics.request("http", method, str(status), seconds)
        # Answers are counted by the metrics; a line each would cost more than many an answer.
        tell = _LOG.info if status >= 400 or seconds > SLOW_SECONDS else _LOG.debug
        tell("request", protocol="http", method=method, status=status, ms=_ms(seconds))


def _length(headers: dict[bytes, bytes]) -> int:
    told = headers.get(b"content-length", b"0")
    return int(told) if told.isdigit() else 0


async def _refuse(send: Send, code: str, rule: str) -> None:
    body = Fault(code=code, detail=rule).model_dump_json(exclude_none=True).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": STATUSES[code].http, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
