"""The quarantine file: every row that a step set aside, with the reason."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from groundswell.client.clean import REASON
from groundswell.client.preparation_report import StepReport
from groundswell.client.sources.mapping import RAW_TIME, RAW_VALUE
from groundswell.shared.events import COLUMNS

ORIGIN = "source"  # number of the row's source among those of the preparation


class Quarantine:
    """Collects rejected rows in small files, so that any number of them passes."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.files: list[Path] = []

    def keep(self, rows: pl.DataFrame, step: StepReport, sources: tuple[str, ...]) -> pl.LazyFrame:
        """The rows without a reason, lazily; the others are counted and written down."""
        rejected = rows.filter(pl.col(REASON).is_not_null())
        if rejected.is_empty():
            return rows.lazy()
        for reason, count in rejected[REASON].value_counts().iter_rows():
            step.rejected[reason] += count
        if self._folder is not None:
            path = self._folder / f"{len(self.files):06d}.parquet"
            _report_rows(rejected, step.name, sources).write_parquet(path)
            self.files.append(path)
        return rows.lazy().filter(pl.col(REASON).is_null())


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
def open_quarantine(path: Path | None) -> Iterator[Quarantine]:
    """Rejected rows appear in ``path`` when the block ends without an error."""
    if path is None:
        yield Quarantine(None)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".quarantine-", dir=path.parent))
    rejects = Quarantine(folder)
    try:
        yield rejects
        if rejects.files:
            whole = folder / "all.parquet"
            pl.scan_parquet(rejects.files).sink_parquet(whole)
            whole.chmod(0o600)
            whole.replace(path)
        else:
            path.unlink(missing_ok=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def forget_in_quarantine(path: Path, users: set[str]) -> None:
    """Take the rows of users (as in the data, not pseudonyms) out of a quarantine file."""
    if not path.exists():
        return
    rows = pl.scan_parquet(path).filter(~pl.col("user").is_in(list(users)))
    beside = path.with_name(f".{path.name}.new")
    rows.sink_parquet(beside)
    beside.chmod(0o600)
    beside.replace(path)
