"""Frames of events at rest: AES-256-GCM over Arrow IPC, one sealed block after another.

A file is a sequence of blocks, each an 8-byte little-endian length, a 12-byte nonce and the
ciphertext with its tag. The associated data of a block names the file's context, the number of the
block and whether it is the last, so that blocks can't be moved between files, reordered, dropped or
cut off without being noticed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import polars as pl
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from groundswell.shared.errors import InputError

_NONCE = 12


class SealedWriter:
    """Appends frames to one file; the file is readable once the writer was closed.

    Nonces are random, so one key may seal at most 2^32 blocks (NIST SP 800-38D, section 8.3).
    """

    def __init__(self, path: Path, key: bytes, context: str) -> None:
        self._file: BinaryIO = os.fdopen(os.open(path, _FLAGS, 0o600), "wb")
        self._cipher = AESGCM(key)
        self._context = context
        self._blocks = 0

    def write(self, frame: pl.DataFrame) -> None:
        """Seal one frame."""
        buffer = io.BytesIO()
        frame.write_ipc(buffer, compression="lz4")
        self._seal(buffer.getvalue(), last=False)

    def close(self) -> None:
        """Write the closing block and make sure that the file is on the disk."""
        if not self._file.closed:
            self._seal(b"", last=True)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def abandon(self) -> None:
        """Close the file without a closing block: it will not read."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def _seal(self, payload: bytes, *, last: bool) -> None:
        nonce = os.urandom(_NONCE)
        block = self._cipher.encrypt(nonce, payload, _associated(self._context, self._blocks, last))
        self._file.write((_NONCE + len(block)).to_bytes(8, "little"))
        self._file.write(nonce)
        self._file.write(block)
        self._blocks += 1


def read_sealed(path: Path, key: bytes, context: str) -> Iterator[pl.DataFrame]:
    """The frames of one file, in order.

    Raises:
        InputError: the file is missing, cut off, altered, of another context or key.
    """
    cipher = AESGCM(key)
    number = 0
    try:
        with path.open("rb") as file:
            while header := file.read(8):
                block = file.read(int.from_bytes(header, "little"))
                last = file.tell() == path.stat().st_size
                payload = cipher.decrypt(
                    block[:_NONCE], block[_NONCE:], _associated(context, number, last)
                )
                number += 1
                if last:
                    return
                yield pl.read_ipc(io.BytesIO(payload))
    except OSError as error:
        raise InputError(
            "store", path.name, f"the file can't be read ({error.strerror})", "import again"
        ) from error
    except (InvalidTag, ValueError, OverflowError) as error:
        raise _damaged(path) from error
    raise _damaged(path)


_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def _associated(context: str, number: int, last: bool) -> bytes:
    return f"{context}|{number}|{'last' if last else 'more'}".encode()


def _damaged(path: Path) -> InputError:
    return InputError(
        "store",
        path.name,
        "the file was cut off or altered, or the site key is another",
        "import again, or bring back the key",
    )
