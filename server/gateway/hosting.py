"""Runs both hosts on one event loop until told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from groundswell.server.gateway import grpc_host
from groundswell.server.gateway.federation import FederationView
from groundswell.server.gateway.grpc_host import Security
from groundswell.server.gateway.guard import Guard
from groundswell.server.gateway.http_host import http_app
from groundswell.server.gateway.limits import BODY_SECONDS, HEADER_SECONDS
from groundswell.server.gateway.service import QueryService
from groundswell.shared.errors import InputError

_LOG = structlog.get_logger("groundswell.gateway")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
MOST_CONNECTIONS = 2048
_STOP_SECONDS = 10


@dataclass(frozen=True)
class Binding:
    """Where to listen, and how.

    Attributes:
        grpc_port: None: gRPC is off.
        grpc_required: whether a taken gRPC port is an error, or switches gRPC off.
        certificate, key: PEM files; both or none.
    """

    host: str
    port: int
    grpc_port: int | None = None
    grpc_required: bool = False
    certificate: Path | None = None
    key: Path | None = None

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK


class TimedHead(HttpToolsProtocol):
    """Closes a connection whose request head does not come in time (slow loris)."""

    head_seconds = HEADER_SECONDS
    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A new connection has ``head_seconds`` for its first head."""
        super().connection_made(transport)
        self._expect_head()

    def on_message_begin(self) -> None:
        """The next head on the same connection has as long."""
        super().on_message_begin()
        if self._head is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._forget_head()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """No timer outlives its connection."""
        self._forget_head()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head = self.loop.call_later(self.head_seconds, self._give_up)

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _give_up(self) -> None:
        self._head = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
            self.transport.close()


class _Server(uvicorn.Server):
    """Uvicorn, with signals left to the task that runs both hosts."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Nothing: uvicorn's way would end the process before gRPC has."""
        yield


class Gateway:
    """Both hosts of one service.

    Args:
        federation: what the dashboard shows of it.
        binding: where to listen.
        header_seconds, body_seconds: within which a request's head and body must come.
    """

    def __init__(
        self,
        service: QueryService,
        federation: FederationView,
        binding: Binding,
        *,
        header_seconds: float = HEADER_SECONDS,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._service = service
        self._federation = federation
        self._binding = binding
        self._header_seconds = header_seconds
        self._body_seconds = body_seconds
        self._server: _Server | None = None
        self.http_port = 0
        self.grpc_port: int | None = None

    async def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until ``stop``; ``ready`` is called when both hosts listen.

        Raises:
            InputError: a port is taken, or a certificate can't be read.
        """
        binding = self._binding
        listening = _listen(binding)
        self.http_port = listening.getsockname()[1]
        grpc_server = await self._start_grpc()
        self._server = _Server(self._config())
        scheme = "http" if binding.certificate is None else "https"
        _LOG.info("serving", url=f"{scheme}://{_bracketed(binding.host)}:{self.http_port}/")
        try:
            # The socket listens already: who connects now waits for the first turn of the loop.
            ready()
            await self._server.serve([listening])
        finally:
            if grpc_server is not None:
                await grpc_server.stop(_STOP_SECONDS)
            self._service.close()

    def stop(self) -> None:
        """End after the requests in hand; a second time, at once."""
        if self._server is not None:
            self._server.force_exit = self._server.should_exit
            self._server.should_exit = True

    def _config(self) -> uvicorn.Config:
        hosts = _LOCAL_HOSTS if self._binding.loopback else None
        app = Guard(
            http_app(self._service, self._federation),
            self._service.metrics,
            hosts,
            body_seconds=self._body_seconds,
        )
        seconds = self._header_seconds

        class Timed(TimedHead):
            head_seconds = seconds

        return uvicorn.Config(
            app,
            http=Timed,
            ws="none",
            proxy_headers=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_STOP_SECONDS,
            ssl_certfile=self._binding.certificate,
            ssl_keyfile=self._binding.key,
        )

    async def _start_grpc(self) -> Any:
        binding = self._binding
        if binding.grpc_port is None:
            return None
        security = None
        if binding.certificate is not None and binding.key is not None:
            security = Security(_read(binding.certificate), _read(binding.key))
        try:
            address = f"{_bracketed(binding.host)}:{binding.grpc_port}"
            server, self.grpc_port = await grpc_host.start(self._service, address, security)
        except RuntimeError as error:
            if binding.grpc_required:
                raise InputError(
                    "--grpc-port", binding.grpc_port, "the port is taken", "name another"
                ) from error
            _LOG.warning("grpc off", port=binding.grpc_port, reason="the port is taken")
            return None
        _LOG.info("serving grpc", address=f"{_bracketed(binding.host)}:{self.grpc_port}")
        return server


@contextmanager
def in_background(gateway: Gateway) -> Generator[Gateway, None, None]:
    """Serve in a thread of this process while the block runs.

    Raises:
        InputError: a port is taken.
    """
    loop = uvloop.new_event_loop()
    listening = threading.Event()

    def work() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(gateway.serve(listening.set))

    with ThreadPoolExecutor(1, "gateway") as pool:
        served = pool.submit(work)
        while not listening.wait(0.05):
            if served.done():
                served.result()
        try:
            yield gateway
        finally:
            loop.call_soon_threadsafe(gateway.stop)
            served.result()
            loop.close()


def run(service: QueryService, federation: FederationView, binding: Binding) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        InputError: a port is taken, or a certificate can't be read.
    """
    configure_logs()
    gateway = Gateway(service, federation, binding)
    # What is loaded by now stays: without this each full collection walks through all of it, which
    # holds up every request for some hundred milliseconds about once a second.
    gc.collect()
    gc.freeze()
    interrupted = uvloop.run(_until_signal(gateway))
    if interrupted:
        raise KeyboardInterrupt


async def _until_signal(gateway: Gateway) -> bool:
    """Serve; returns whether it was SIGINT that ended it."""
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        gateway.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    await gateway.serve()
    return signal.SIGINT in received


def _listen(binding: Binding) -> socket.socket:
    family = socket.AF_INET6 if ":" in binding.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((binding.host, binding.port))
        listening.listen(MOST_CONNECTIONS)
    except OSError as error:
        listening.close()
        raise InputError(
            "--port", binding.port, f"can't be listened on ({error.strerror})", "name another"
        ) from error
    listening.setblocking(False)
    return listening


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            "--tls-cert", str(path), f"can't be read ({error.strerror})", "name a PEM file"
        ) from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def configure_logs() -> None:
    """One JSON object a line on standard error; nothing of a request but method and outcome."""
    # Uvicorn would print an unforeseen error with its message; the hosts log it without.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
