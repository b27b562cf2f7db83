"""Preparation: sources -> clean -> integrate -> annotate -> pseudonyms -> store, part by part.

Rows are first divided by user (``spill.py``); then each part goes through all steps by itself, so
memory stays flat however large the sources are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl

from groundswell.client.annotate import annotate
from groundswell.client.clean import (
    REASON,
    SCRUBBED,
    CleanRules,
    clean_histories,
    clean_rows,
    ordered,
)
from groundswell.client.integrate import CatalogueIndex, integrate
from groundswell.client.preparation_report import PreparationReport
from groundswell.client.pseudonyms import SiteKey, pseudonymise
from groundswell.client.quarantine import ORIGIN, Quarantine, Seal, open_quarantine
from groundswell.client.sources import EventSource, open_sources
from groundswell.client.sources.mapping import RAW_TIME, RAW_VALUE, ZONED, canonical, news, profiles
from groundswell.client.spill import Spill
from groundswell.client.store import Store
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.config_data import Data
from groundswell.shared.errors import InputError
from groundswell.shared.events import COLUMNS
from groundswell.shared.roster import most_users
from groundswell.shared.task import Task

_BATCH = 500_000  # rows that are divided at once
_ROWS_PER_PART = 300_000
_PARTS = (1, 512)
_ENGINE: Final = "in-memory"  # several times faster than streaming at the size of one part


class Preparation:
    """One pass over the sources of a configuration.

    Args:
        data: sources and the constants of ``clean``.
        catalogue: the public catalogue; None keeps every label as it is (``integrate`` then
            rejects nothing, and the events can't be annotated).
        now: when the import began; later events have a wrong time.
        site: name of the site, for sources without a column of it.
    """

    def __init__(
        self,
        data: Data,
        catalogue: Catalogue | None,
        *,
        now: datetime | None = None,
        site: str | None = None,
    ) -> None:
        self._rules = CleanRules.of(data, now or datetime.now(UTC))
        self._index = CatalogueIndex.of(catalogue) if catalogue else None
        self._site = site
        self._opened = [(table, opened) for table in data.sources for opened in open_sources(table)]
        # Columns and types are checked before the first row is read.
        self._frames = [
            (kind(opened.scan(), table, opened.name), table, opened)
            for table, opened in self._opened
            for kind in ((canonical, profiles) if table.profile else (canonical,))
        ]
        self._profiled = any(table.profile for table in data.sources)
        self.report = PreparationReport(tuple(opened.name for _, opened in self._opened))

    def events(
        self,
        quarantine: Path | None = None,
        work: Path | None = None,
        seal: Seal | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Cleaned and integrated events, one frame a part; no user stands in two parts.

        Columns: the canonical ones and, with a catalogue, ``label_index``; sorted by user and time.

        Args:
            quarantine: file for rejected rows; None: only counted.
            work: folder for temporary files (sealed); None: the system's.
            seal: of the quarantine file; None: Parquet, readable by its owner.

        Raises:
            InputError: a source can't be read to its end, zones are mixed, or no row is left.
        """
        with ExitStack() as stack:
            spill = stack.enter_context(Spill(self._parts(), work))
            rejects = stack.enter_context(open_quarantine(quarantine, seal))
            self._divide(spill)
            for part in spill.read():
                yield from self._prepare(part, rejects)
        # Outside the block, so that the quarantine file that tells the reasons is there.
        self.report.integrate.rows = self.report.clean.kept
        if not self.report.integrate.kept:
            raise self._nothing_left()

    def _parts(self) -> int:
        rows = sum(opened.rows_hint() for _, opened in self._opened)
        return min(max(-(-rows // _ROWS_PER_PART), _PARTS[0]), _PARTS[1])

    def _divide(self, spill: Spill) -> None:
        zoned: set[bool] = set()
        names = self.report.sources
        for frame, table, opened in self._frames:
            number = names.index(opened.name)
            labelled = frame.with_columns(pl.lit(number, pl.UInt16).alias(ORIGIN))
            if self._site is not None and table.columns.site is None:
                labelled = labelled.with_columns(pl.lit(self._site).alias("site"))
            for batch in _batches(labelled, opened):
                if table.timezone is None:
                    timed = pl.col(ZONED).filter(pl.col("time").is_not_null())
                    zoned.update(batch.select(timed.unique()).to_series())
                if len(zoned) > 1:
                    raise InputError(
                        "[data].timezone",
                        opened.name,
                        "some times carry a time zone and some do not",
                        "set [data].timezone to the zone of those that carry none",
                    )
                self.report.clean.rows += len(batch)
                spill.add(batch.drop(ZONED))

    def _prepare(self, part: pl.DataFrame, rejects: Quarantine) -> Iterator[pl.DataFrame]:
        report, sources = self.report, self.report.sources
        if self._profiled:
            told = news(part)
            report.clean.rows -= len(part) - len(told)
            part = told
        rows = clean_rows(part.lazy(), self._rules).collect(engine=_ENGINE)
        report.clean.changed["scrubbed"] += int(rows[SCRUBBED].sum())
        lazy = rejects.keep(rows, report.clean, sources).drop(SCRUBBED, RAW_TIME, RAW_VALUE, REASON)
        rows = clean_histories(ordered(lazy), self._rules).collect(engine=_ENGINE)
        lazy = rejects.keep(rows, report.clean, sources).drop(REASON)
        if self._index is not None:
            rows = integrate(lazy, self._index).collect(engine=_ENGINE)
            lazy = rejects.keep(rows, report.integrate, sources)
        columns = (*COLUMNS, *(["label_index"] if self._index else []))
        kept = lazy.select(columns).collect(engine=_ENGINE)
        if kept.is_empty():
            return
        report.users += kept["user"].n_unique()
        span = kept.select(first=pl.col("time").min(), last=pl.col("time").max()).row(0)
        report.first = min(filter(None, (report.first, span[0])))
        report.last = max(filter(None, (report.last, span[1])))
        yield kept

    def _nothing_left(self) -> InputError:
        counts = self.report.clean.rejected + self.report.integrate.rejected
        if not counts:
            return InputError(
                "[data].events",
                ", ".join(self.report.sources),
                "there are no rows",
                "check the files",
            )
        reason, rows = counts.most_common(1)[0]
        return InputError(
            "[data].events",
            ", ".join(self.report.sources),
            f"no row is left; {rows} were rejected as {reason}",
            "see them with `groundswell check --quarantine FILE`; mend [data].columns or .timezone",
        )


def import_site(
    preparation: Preparation,
    catalogue: Catalogue,
    task: Task,
    store: Store,
    key: SiteKey,
    *,
    declared_users: int | None = None,
    quarantine: Path | None = None,
) -> PreparationReport:
    """Run the whole preparation into the site's store; the old store stays until it is complete.

    Args:
        preparation: made with the same catalogue.
        declared_users: N of the enrolment; None where the site has not declared it yet.
        quarantine: file for rejected rows, sealed like the store; None: only counted.

    Raises:
        InputError: as for ``Preparation.events``; or there are more than 1.05 N users, so that
            rounds could tell (the operator must declare N anew).
    """
    report = preparation.report
    store.folder.mkdir(parents=True, exist_ok=True)
    names = store.forgotten()
    forgotten = pl.Series(sorted(names), dtype=pl.String).implode()
    with store.replace(catalogue.hash, len(catalogue), task) as writer:
        for events in preparation.events(quarantine, store.folder, Seal(key, names)):
            annotated = annotate(events.lazy(), task).collect(engine=_ENGINE)
            prepared = pseudonymise(annotated, key.pseudonym_key)
            report.annotate.rows += len(prepared)
            kept = prepared.filter(~pl.col("user").is_in(forgotten))
            report.annotate.rejected["forgotten"] += len(prepared) - len(kept)
            writer.write(kept)
        if declared_users is not None and writer.users > (most := most_users(declared_users)):
            raise InputError(
                "declared users",
                declared_users,
                f"the store would hold {writer.users} users, and may hold {most}",
                "declare the number of users anew, then import again",
            )
    return report


def _batches(frame: pl.LazyFrame, opened: EventSource) -> Iterator[pl.DataFrame]:
    try:
        yield from frame.collect_batches(chunk_size=_BATCH, maintain_order=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(
            "[data].events",
            opened.name,
            f"the source can't be read to its end ({str(error).splitlines()[0]})",
            "write the file again, or leave it out",
        ) from error
