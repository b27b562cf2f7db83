"""Events from CSV and Parquet files."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from groundswell.client.sources.base import EventSource
from groundswell.shared.errors import InputError

_KEY = "[data].events"
_BYTES_PER_CSV_ROW = 60


def expand(pattern: str) -> list[Path]:
    """Files that a path, a folder or a glob names, sorted.

    Raises:
        InputError: there is none, or a folder on the way may not be read.
    """
    path = Path(pattern)
    if path.is_dir():
        found = [entry for entry in _entries(path) if entry.suffix in (".csv", ".parquet")]
    elif glob.has_magic(pattern):
        fixed = _before_magic(path.parts)
        folder = Path(*fixed) if fixed else Path()
        rest = Path(*path.parts[len(fixed) :])
        found = [] if not folder.is_dir() or not _entries(folder) else list(folder.glob(str(rest)))
        found = [entry for entry in found if entry.is_file()]
    else:
        found = [path] if path.is_file() else []
    if not found:
        raise InputError(
            _KEY, pattern, "no file of that name", "check the path; it is relative to the file"
        )
    for file in found:
        if not os.access(file, os.R_OK):
            raise InputError(_KEY, str(file), "the file may not be read", "change its permissions")
    return sorted(found)


def _before_magic(parts: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for part in parts:
        if glob.has_magic(part):
            break
        kept.append(part)
    return kept


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            _KEY,
            str(folder),
            f"the folder can't be read ({error.strerror})",
            "change its permissions",
        ) from error


class _Files(EventSource):
    """Files of one kind that are read as one table."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = tuple(files)

    @property
    def name(self) -> str:
        first = self.files[0].name
        return first if len(self.files) == 1 else f"{first} and {len(self.files) - 1} more"


class ParquetSource(_Files):
    """Parquet files with the same columns; a column that only some have is null in the others."""

    def scan(self) -> pl.LazyFrame:
        frames = []
        for file in self.files:
            try:
                pl.read_parquet_schema(file)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise InputError(
                    _KEY,
                    str(file),
                    "the file is damaged, half-written or no Parquet file",
                    "write it again, or leave it out",
                ) from error
            frames.append(pl.scan_parquet(file, glob=False))
        return pl.concat(frames, how="diagonal_relaxed") if len(frames) > 1 else frames[0]

    def rows_hint(self) -> int:
        return int(self.scan().select(pl.len()).collect().item())


class CsvSource(_Files):
    """CSV files with a header, UTF-8; every value is read as text and typed by the mapping."""

    def __init__(self, files: Sequence[Path], separator: str = ",") -> None:
        super().__init__(files)
        self.separator = "\t" if files[0].suffix == ".tsv" else separator

    def scan(self) -> pl.LazyFrame:
        frames = []
        for file in self.files:
            frame = pl.scan_csv(file, separator=self.separator, infer_schema=False, glob=False)
            try:
                frame.collect_schema()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise InputError(
                    _KEY,
                    str(file),
                    f"the file is empty or no CSV ({str(error).splitlines()[0]})",
                    "write it again with a header, or leave it out",
                ) from error
            frames.append(frame)
        return pl.concat(frames, how="diagonal") if len(frames) > 1 else frames[0]

    def rows_hint(self) -> int:
        return sum(file.stat().st_size for file in self.files) // _BYTES_PER_CSV_ROW
