"""Runs both hosts on one event loop until told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from groundswell.server.gateway import grpc_host
from groundswell.server.gateway.federation import FederationView
from groundswell.server.gateway.grpc_host import Security
from groundswell.server.gateway.guard import Guard
from groundswell.server.gateway.http_host import http_app
from groundswell.server.gateway.limits import HEADER_SECONDS
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

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A new connection has ``HEADER_SECONDS`` for its first head."""
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
        self._head = self.loop.call_later(HEADER_SECONDS, self._give_up)

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

    interrupted = False

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Nothing: uvicorn's way would end the process before gRPC has."""
        yield

    def stop(self, number: int) -> None:
        """Ask for the end; a second time, at once."""
        self.interrupted = number == signal.SIGINT
        self.force_exit = self.should_exit
        self.should_exit = True


def run(service: QueryService, federation: FederationView, binding: Binding) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        InputError: a port is taken, or a certificate can't be read.
    """
    configure_logs()
    asyncio.run(_serve(service, federation, binding))


async def _serve(service: QueryService, federation: FederationView, binding: Binding) -> None:
    hosts = _LOCAL_HOSTS if binding.loopback else None
    app = Guard(http_app(service, federation), service.metrics, hosts)
    config = uvicorn.Config(
        app,
        http=TimedHead,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_STOP_SECONDS,
        ssl_certfile=binding.certificate,
        ssl_keyfile=binding.key,
    )
    server = _Server(config)
    listening = _listen(binding)
    grpc_server = await _start_grpc(service, binding)
    scheme = "http" if binding.certificate is None else "https"
    _LOG.info("serving", url=f"{scheme}://{binding.host}:{listening.getsockname()[1]}/")
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, server.stop, number)
    try:
        await server.serve([listening])
    finally:
        if grpc_server is not None:
            await grpc_server.stop(_STOP_SECONDS)
        service.close()
    if server.interrupted:
        raise KeyboardInterrupt


async def _start_grpc(service: QueryService, binding: Binding) -> Any:
    if binding.grpc_port is None:
        return None
    security = None
    if binding.certificate is not None and binding.key is not None:
        security = Security(_read(binding.certificate), _read(binding.key))
    try:
        address = f"{_bracketed(binding.host)}:{binding.grpc_port}"
        server, port = await grpc_host.start(service, address, security)
    except RuntimeError as error:
        if binding.grpc_required:
            raise InputError(
                "--grpc-port", binding.grpc_port, "the port is taken", "name another"
            ) from error
        _LOG.warning("grpc off", port=binding.grpc_port, reason="the port is taken")
        return None
    _LOG.info("serving grpc", address=f"{binding.host}:{port}")
    return server


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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
