"""An append-only file of signed lines, each chained to the one before by its hash.

A line is JSON ``{"body": base64, "signature": base64}``; the body is JSON with an ``action``, a
time ``at`` (Unix seconds), its ``fields``, and ``previous``, the SHA-256 of the line before.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from groundswell.shared.envelopes import verify
from groundswell.shared.errors import InputError
from groundswell.shared.identity import SigningKey

_PURPOSE = "RegisterLine"


@dataclass(frozen=True)
class Line:
    """One line: what was done, when, and to what."""

    action: str
    at: int
    fields: dict[str, str]


class Register:
    """The register of one key's owner.

    Args:
        path: a file that exists, or is made by the first line.
    """

    def __init__(self, path: Path, key: SigningKey) -> None:
        self._path = path
        self._key = key

    def lines(self) -> list[Line]:
        """All lines in order, checked.

        Raises:
            InputError: a line was altered, removed or put in.
        """
        previous = ""
        lines = []
        for number, raw in enumerate(self._raw(), start=1):
            try:
                envelope = json.loads(raw)
                body = base64.b64decode(envelope["body"], validate=True)
                signature = base64.b64decode(envelope["signature"], validate=True)
            except (ValueError, KeyError, TypeError) as error:
                raise self.altered(number) from error
            if not verify(self._key.public, _PURPOSE, body, signature):
                raise self.altered(number)
            content = json.loads(body)
            if content["previous"] != previous:
                raise self.altered(number)
            previous = _hash(raw)
            lines.append(Line(content["action"], content["at"], content["fields"]))
        return lines

    def append(self, action: str, at: int, **fields: str) -> None:
        """Add a line and wait until it is on disk."""
        raws = self._raw()
        body = json.dumps(
            {
                "action": action,
                "at": at,
                "fields": fields,
                "previous": _hash(raws[-1]) if raws else "",
            },
            sort_keys=True,
        ).encode()
        envelope = {
            "body": base64.b64encode(body).decode(),
            "signature": base64.b64encode(self._key.sign_bytes(_PURPOSE, body)).decode(),
        }
        with self._path.open("a") as file:
            file.write(json.dumps(envelope) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def altered(self, number: int) -> InputError:
        """The error for a register that can't be trusted from line ``number`` on."""
        return InputError(
            "register",
            f"{self._path}:{number}",
            "was altered, or lines are missing",
            "restore the register from a copy",
        )

    def _raw(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []


def _hash(raw: str) -> str:
    return hashlib.sha256(raw.encode()).hexdigest()
