"""Divide a stream of rows by user, so that each part fits into memory.

Parts go to files that are sealed under a key that lives in memory only: what a crash leaves behind
can't be read by anybody.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from groundswell.client.sealed import SealedWriter, read_sealed

_CONTEXT = "spill"


class Spill:
    """Rows in ``parts`` files by a hash of the column ``user``; a context that leaves no file."""

    def __init__(self, parts: int, beside: Path | None = None) -> None:
        self.parts = parts
        self._key = secrets.token_bytes(32)
        self._folder = tempfile.TemporaryDirectory(prefix=".spill-", dir=beside)
        self._writers = [SealedWriter(self._path(i), self._key, _CONTEXT) for i in range(parts)]

    def add(self, rows: pl.DataFrame) -> None:
        """Send each row to its user's part."""
        part = pl.col("user").hash(0) % self.parts
        for frame in rows.with_columns(part.alias("part")).partition_by("part"):
            self._writers[frame["part"][0]].write(frame.drop("part"))

    def read(self) -> Iterator[pl.DataFrame]:
        """Each part as one frame; empty ones are left out. Nothing may be added afterwards."""
        for number, writer in enumerate(self._writers):
            writer.close()
            frames = list(read_sealed(self._path(number), self._key, _CONTEXT))
            self._path(number).unlink()
            if frames:
                yield pl.concat(frames, rechunk=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for writer in self._writers:
            writer.abandon()
        self._folder.cleanup()

    def _path(self, number: int) -> Path:
        return Path(self._folder.name) / f"{number:04d}"
