"""Signed messages: the bytes that were signed travel as they were signed.

Protobuf has no canonical form, so a signature covers a serialised body, never a message object. The
name of the body's message stands before the body under the signature: a signature over one kind of
message can't pass for another.
"""

from __future__ import annotations

from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError, Message

from groundswell.shared.errors import Refusal
from groundswell.shared.wire import groundswell_pb2 as wire

DOMAIN = b"groundswell/v1/"
PUBLIC_KEY_BYTES = 32

MessageT = TypeVar("MessageT", bound=Message)


def signed_bytes(purpose: str, body: bytes) -> bytes:
    """What a signature for ``purpose`` covers."""
    return DOMAIN + purpose.encode() + b"\0" + body


def serialise(message: Message) -> bytes:
    """The bytes of a message, the same for equal messages within one build."""
    return message.SerializeToString(deterministic=True)


def parse(message_type: type[MessageT], data: bytes) -> MessageT:
    """Read a message; raises ``Refusal("malformed")`` when the bytes are not one."""
    try:
        return message_type.FromString(data)
    except DecodeError as error:
        name = message_type.DESCRIPTOR.name
        raise Refusal("malformed", f"the bytes received are no {name}") from error


def verify(public_key: bytes, purpose: str, body: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is the Ed25519 signature of ``body`` for ``purpose``."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        key.verify(signature, signed_bytes(purpose, body))
    except (InvalidSignature, ValueError):
        return False
    return True


def open_signed(signed: wire.Signed, message_type: type[MessageT], public_key: bytes) -> MessageT:
    """Check a signature, then read the body; nothing of an unsigned body is looked at.

    Raises:
        Refusal: ``bad-signature`` or ``malformed``.
    """
    name = message_type.DESCRIPTOR.name
    if not verify(public_key, name, signed.body, signed.signature):
        raise Refusal("bad-signature", f"the signature does not fit the {name}")
    return parse(message_type, signed.body)
