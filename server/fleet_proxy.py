"""The coordinator's one door for sites: it passes ``/v1/fleet/*`` to the SuperLink, nothing else.

Flower serves Fleet, Control and Runtime on one port, and Control takes orders from whoever reaches
it. So the SuperLink listens on loopback, and this proxy (or nginx, in the compose files) stands in
front. Nodes sign their requests; the proxy leaves headers and bodies as they are.
"""

from __future__ import annotations

import logging
import re
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import uvicorn

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger(__name__)

# The whole path, before any decoding: no dots, no escapes, no second slash.
_ALLOWED = re.compile(rb"/v1/fleet/[a-z][a-z-]{0,63}")
_HEALTH = b"/healthz"
_HEADERS = re.compile(
    rb"content-type|content-length|accept|user-agent|x-flwr-client|flwr-[a-z0-9-]+"
)
_ANSWERED = re.compile(rb"content-type|content-length|flwr-[a-z0-9-]+")
MAX_BODY_BYTES = 1 << 30
_TIMEOUT_SECONDS = 120.0


class FleetProxy:
    """An ASGI application.

    Args:
        upstream: of the SuperLink, ``https://127.0.0.1:PORT``.
        verify: checks the SuperLink's certificate; False for plain HTTP.
        transport: replaced in tests.
    """

    def __init__(
        self,
        upstream: str,
        verify: ssl.SSLContext | bool,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._upstream = upstream
        self._client = httpx.AsyncClient(
            verify=verify,
            timeout=_TIMEOUT_SECONDS,
            transport=transport,
            follow_redirects=False,
            trust_env=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        path = scope.get("raw_path") or scope["path"].encode()
        if scope["method"] == "GET" and path == _HEALTH:
            await _answer(send, 200, b"ok")
        elif scope["method"] != "POST" or not _ALLOWED.fullmatch(path) or scope["query_string"]:
            await _answer(send, 404, b"not found")
        elif _declared(scope) > MAX_BODY_BYTES:
            await _answer(send, 413, b"too large")
        else:
            await self._pass_on(path.decode("ascii"), scope, receive, send)

    async def _pass_on(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        request = self._client.build_request(
            "POST",
            self._upstream + path,
            headers=[each for each in scope["headers"] if _HEADERS.fullmatch(each[0])],
            content=_body(receive),
        )
        try:
            response = await self._client.send(request, stream=True)
        except (httpx.HTTPError, _TooLargeError) as error:
            log.warning("%s: %s", path, type(error).__name__)
            too_large = isinstance(error, _TooLargeError)
            await _answer(send, 413 if too_large else 502, b"")
            return
        try:
            headers = [
                each for each in response.headers.raw if _ANSWERED.fullmatch(each[0].lower())
            ]
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status_code,
                    "headers": [(name.lower(), value) for name, value in headers],
                }
            )
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._client.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return


class _TooLargeError(Exception):
    """More bytes came than a message may have."""


def _declared(scope: Scope) -> int:
    """The length that the request claims; 0 where it claims none."""
    claimed = dict(scope["headers"]).get(b"content-length", b"0")
    return int(claimed) if claimed.isdigit() else MAX_BODY_BYTES + 1


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    carried = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        chunk = message.get("body", b"")
        carried += len(chunk)
        if carried > MAX_BODY_BYTES:
            raise _TooLargeError
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            return


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main(arguments: list[str]) -> None:
    """``HOST PORT SUPERLINK_PORT TLS_FOLDER``: serve until ended."""
    from groundswell.server.tls import TlsFiles

    host, port, superlink, folder = arguments
    tls = TlsFiles(Path(folder))
    verify = ssl.create_default_context(cafile=str(tls.root))
    uvicorn.run(
        FleetProxy(f"https://127.0.0.1:{superlink}", verify),
        host=host,
        port=int(port),
        ssl_certfile=str(tls.certificate),
        ssl_keyfile=str(tls.key),
        access_log=False,
        log_level="warning",
        server_header=False,
        lifespan="on",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
