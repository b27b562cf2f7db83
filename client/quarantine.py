"""The quarantine: every row that a step set aside, with the reason.

For ``check`` it is a Parquet file that its caller asked for. At a data site it holds raw events
beside the store, and so it is sealed like the store, under the site's key.
"""

from __future__ import annotations

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from groundswell.client.clean import REASON
from groundswell.client.preparation_report import StepReport
from groundswell.client.pseudonyms import SiteKey, pseudonym
from groundswell.client.sealed import SealedWriter, read_sealed
from groundswell.client.sources.mapping import RAW_TIME, RAW_VALUE
from groundswell.shared.errors import InputError
from groundswell.shared.events import COLUMNS

ORIGIN = "source"  # number of the row's source among those of the preparation
_CONTEXT = "quarantine"


@dataclass(frozen=True)
class Seal:
    """How a site keeps its quarantine: under its key, and without the users that it forgot.

    Attributes:
        forgotten: pseudonyms.
    """

    key: SiteKey
    forgotten: frozenset[str] = frozenset()

    def spared(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows without those of forgotten users; column ``user`` as in the data."""
        if not self.forgotten:
            return rows
        users = rows["user"].drop_nulls().unique()
        gone = [user for user in users if pseudonym(user, self.key.pseudonym_key) in self.forgotten]
        return rows.filter(~pl.col("user").is_in(gone) | pl.col("user").is_null())


class Quarantine:
    """Counts rejected rows; what else becomes of them is for those that derive from it."""

    def keep(self, rows: pl.DataFrame, step: StepReport, sources: tuple[str, ...]) -> pl.LazyFrame:
        """The rows without a reason, lazily; the others are counted and written down."""
        rejected = rows.filter(pl.col(REASON).is_not_null())
        if rejected.is_empty():
            return rows.lazy()
        for reason, count in rejected[REASON].value_counts().iter_rows():
            step.rejected[reason] += count
        self._write(_report_rows(rejected, step.name, sources))
        return rows.lazy().filter(pl.col(REASON).is_null())

    def _write(self, rows: pl.DataFrame) -> None:
        """Nowhere."""


class _Kept(Quarantine, ABC):
    """A quarantine in a file."""

    @abstractmethod
    def complete(self) -> None:
        """Put the file in its place; without rows there is none."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing else behind."""


class _Plain(_Kept):
    """Small files, so that any number of rows passes, and one Parquet file of them in the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = Path(tempfile.mkdtemp(prefix=".quarantine-", dir=path.parent))
        self._files: list[Path] = []

    def _write(self, rows: pl.DataFrame) -> None:
        path = self._folder / f"{len(self._files):06d}.parquet"
        rows.write_parquet(path)
        self._files.append(path)

    def complete(self) -> None:
        if not self._files:
            self._path.unlink(missing_ok=True)
            return
        whole = self._folder / "all.parquet"
        pl.scan_parquet(self._files).sink_parquet(whole)
        whole.chmod(0o600)
        whole.replace(self._path)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


class _Sealed(_Kept):
    """One sealed file, written beside its place."""

    def __init__(self, path: Path, seal: Seal) -> None:
        self._path = path
        self._seal = seal
        self._beside = path.with_name(f".{path.name}.new")
        self._writer = SealedWriter(self._beside, seal.key.store_key, _CONTEXT)
        self._rows = 0

    def _write(self, rows: pl.DataFrame) -> None:
        rows = self._seal.spared(rows)
        if len(rows):
            self._writer.write(rows)
        self._rows += len(rows)

    def complete(self) -> None:
        self._writer.close()
        if self._rows:
            self._beside.replace(self._path)
        else:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        self._writer.abandon()
        self._beside.unlink(missing_ok=True)


def _report_rows(rejected: pl.DataFrame, step: str, sources: tuple[str, ...]) -> pl.DataFrame:
    """Rejected rows as the operator reads them: step, reason, source, then the row itself."""
    raw = {name: rejected[name] for name in (RAW_TIME, RAW_VALUE) if name in rejected.columns}
    none = pl.lit(None, pl.String)
    return rejected.select(
        pl.lit(step).alias("step"),
        REASON,
        pl.col(ORIGIN).replace_strict(range(len(sources)), sources, return_dtype=pl.String),
        *COLUMNS,
        *(pl.col(name) if name in raw else none.alias(name) for name in (RAW_TIME, RAW_VALUE)),
    )


@contextmanager
def open_quarantine(path: Path | None, seal: Seal | None = None) -> Iterator[Quarantine]:
    """Rejected rows appear in ``path`` when the block ends without an error.

    Args:
        path: None counts them only.
        seal: of a data site; None writes a Parquet file, readable by its owner.
    """
    if path is None:
        yield Quarantine()
        return
    fresh = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    rejects = _Plain(path) if seal is None else _Sealed(path, seal)
    try:
        yield rejects
        rejects.complete()
    finally:
        rejects.close()
        if fresh and not any(path.parent.iterdir()):
            path.parent.rmdir()


def read_quarantine(path: Path, key: SiteKey) -> pl.DataFrame:
    """All rows of a site's quarantine, with the users as in the data.

    Raises:
        InputError: there is none, or it was altered or is under another key.
    """
    if not path.exists():
        raise InputError("quarantine", str(path), "no row was rejected", "nothing is to be done")
    return pl.concat(read_sealed(path, key.store_key, _CONTEXT))


def forget_in_quarantine(path: Path, key: SiteKey, pseudonyms: Collection[str]) -> int:
    """Take users' rows out of a site's quarantine; returns how many went."""
    if not path.exists():
        return 0
    removed = 0
    seal = Seal(key, frozenset(pseudonyms))
    frames = read_sealed(path, key.store_key, _CONTEXT)
    beside = path.with_name(f".{path.name}.new")
    with SealedWriter(beside, key.store_key, _CONTEXT) as writer:
        for frame in frames:
            kept = seal.spared(frame)
            removed += len(frame) - len(kept)
            writer.write(kept)
    beside.replace(path)
    return removed
