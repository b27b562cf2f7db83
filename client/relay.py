"""The Flower ClientApp of a data site: it passes opaque bytes between Flower and the vault.

A Flower server can replace the code that runs here, so nothing here holds data, a key or torch, and
nothing here looks into the bytes. An exception's text would reach the server word for word, so a
failure is answered with a code; the detail stays in the site's own log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points

import grpc
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

__all__ = ["app"]

Connector = Callable[[bytes], bytes]

MAX_MESSAGE_BYTES = 1 << 30
_TIMEOUT_SECONDS = 600.0

log = logging.getLogger(__name__)
app = ClientApp()


def unix_socket_connector(node_config: tuple[tuple[str, str], ...]) -> Connector:
    """Bytes to the vault's relay socket, named by the node's own ``relay-socket`` setting."""
    channel = grpc.insecure_channel(
        f"unix:{dict(node_config)['relay-socket']}",
        options=[
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ],
    )
    # No serialisers: the relay has no business knowing what the bytes say.
    call = channel.unary_unary(
        "/groundswell.wire.v1.Vault/Handle", request_serializer=None, response_deserializer=None
    )
    return lambda request: bytes(call(request, timeout=_TIMEOUT_SECONDS))


@cache
def _connector_kind(name: str) -> Callable[[tuple[tuple[str, str], ...]], Connector]:
    """The installed connector of that name; looking one up takes milliseconds."""
    (found,) = entry_points(group="groundswell.connectors", name=name)
    made: Callable[[tuple[tuple[str, str], ...]], Connector] = found.load()
    return made


@cache
def connector(node_config: tuple[tuple[str, str], ...]) -> Connector:
    """The connector that the *site* configured; a server has no say in it."""
    settings = dict(node_config)
    # Flower's simulation engine sets the partition of its virtual nodes, and nothing else does.
    simulated = "ray" if "partition-id" in settings else "unix"
    name = settings.get("connector", simulated)
    return _connector_kind(name)(node_config)


@app.query("vault")
def pass_on(message: Message, context: Context) -> Message:
    """Hand the request's bytes to the vault and its reply's bytes back."""
    node_config = tuple(sorted((key, str(value)) for key, value in context.node_config.items()))
    request = message.content.config_records["vault"]["request"]
    if not isinstance(request, bytes):
        return Message(RecordDict({"vault": ConfigRecord({"code": "malformed"})}), reply_to=message)
    try:
        answer = ConfigRecord({"reply": connector(node_config)(request)})
    except grpc.RpcError as error:
        log.error("the vault did not answer: %s", error.code())
        answer = ConfigRecord({"code": "vault-unreachable"})
    return Message(RecordDict({"vault": answer}), reply_to=message)
