"""Signed messages and public keys as text files that people can send, read and compare.

-----BEGIN GROUNDSWELL CERTIFICATE-----
base64, 64 characters a line
-----END GROUNDSWELL CERTIFICATE-----
"""

from __future__ import annotations

import base64
import textwrap
from pathlib import Path

from groundswell.shared.envelopes import PUBLIC_KEY_BYTES, parse, serialise
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.wire import groundswell_pb2 as wire

CERTIFICATE = "CERTIFICATE"
REQUEST = "ENROLMENT REQUEST"
REVOCATIONS = "REVOCATION LIST"
PUBLIC_KEY = "PUBLIC KEY"

# Far above any of these files: a wrong file is refused before it is read whole.
_LARGEST_FILE = 1 << 20


def encode(kind: str, data: bytes) -> str:
    """Bytes as text."""
    lines = textwrap.wrap(base64.b64encode(data).decode(), 64)
    return "\n".join([_line("BEGIN", kind), *lines, _line("END", kind), ""])


def decode(kind: str, text: str) -> bytes:
    """The bytes behind a text; raises ``ValueError`` when it holds nothing of that kind."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) < 2 or lines[0] != _line("BEGIN", kind) or lines[-1] != _line("END", kind):
        raise ValueError(f"no {kind.lower()}")
    try:
        return base64.b64decode("".join(lines[1:-1]), validate=True)
    except ValueError as error:
        raise ValueError(f"damaged {kind.lower()}") from error


def read_signed(path: Path, kind: str) -> wire.Signed:
    """Read an envelope from a file; its signature is not checked here.

    Raises:
        InputError: no such file, or nothing of that kind in it.
    """
    try:
        return parse(wire.Signed, _read(path, kind))
    except Refusal as error:
        raise _wrong(path, kind) from error


def write_signed(path: Path, kind: str, signed: wire.Signed) -> None:
    """Write an envelope; a file that exists is replaced."""
    path.write_text(encode(kind, serialise(signed)))


def read_public_key(path: Path) -> bytes:
    """Read an Ed25519 public key; raises ``InputError``."""
    key = _read(path, PUBLIC_KEY)
    if len(key) != PUBLIC_KEY_BYTES:
        raise _wrong(path, PUBLIC_KEY)
    return key


def write_public_key(path: Path, key: bytes) -> None:
    """Write an Ed25519 public key."""
    path.write_text(encode(PUBLIC_KEY, key))


def _read(path: Path, kind: str) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _wrong(path, kind)
        return decode(kind, path.read_text())
    except OSError as error:
        raise InputError(
            "file", str(path), f"can't be read ({error.strerror})", f"name the {kind.lower()}"
        ) from error
    except ValueError as error:
        raise _wrong(path, kind) from error


def _wrong(path: Path, kind: str) -> InputError:
    return InputError(
        "file", str(path), f"holds no {kind.lower()} of Groundswell", f"name the {kind.lower()}"
    )


def _line(word: str, kind: str) -> str:
    return f"-----{word} GROUNDSWELL {kind}-----"
