"""The vault behind its relay socket: one gRPC method, bytes to bytes, one request at a time."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import grpc

from groundswell.client.sockets import listen
from groundswell.client.vault import Vault, refused

log = logging.getLogger(__name__)

SERVICE = "groundswell.wire.v1.Vault"


class VaultHandler:
    """Hands each request to the vault; what goes wrong inside never travels as text."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        # The ledger and the attempts are one state: two requests at once would race on it.
        self._lock = threading.Lock()

    def handle(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """One request, one reply."""
        with self._lock:
            try:
                return self._vault.handle(request)
            except Exception:  # house: the last wall; gRPC would send the exception's text
                log.exception("a request failed")
                return refused("failed")


def serve_relay(vault: Vault, socket: Path, group: str | None) -> grpc.Server:
    """Start serving the relay; ``group`` may open the socket."""
    handler = VaultHandler(vault)

    def register(server: grpc.Server) -> None:
        method = grpc.unary_unary_rpc_method_handler(handler.handle)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"Handle": method}),)
        )

    return listen(socket, register, group=group, workers=4)
