"""Where events come from: one small class a kind of source, and how its columns are mapped."""

from __future__ import annotations

from groundswell.client.sources.base import EventSource
from groundswell.client.sources.files import CsvSource, ParquetSource, expand
from groundswell.client.sources.postgresql import PostgresqlSource
from groundswell.shared.config_data import Source
from groundswell.shared.errors import InputError

__all__ = ["CsvSource", "EventSource", "ParquetSource", "PostgresqlSource", "open_sources"]


def open_sources(source: Source) -> list[EventSource]:
    """The sources that one table of the configuration names.

    Raises:
        InputError: nothing is named, a pattern matches no file, or a file is of no known kind.
    """
    if not source.events:
        raise InputError("[data].events", "", "no source of events is named", "name files")
    opened: list[EventSource] = []
    for name in source.events:
        if name.startswith(("postgresql://", "postgres://")):
            opened.append(PostgresqlSource(name, source.query or "events"))
            continue
        files = expand(name)
        tables = [file for file in files if file.suffix == ".parquet"]
        texts = [file for file in files if file.suffix in (".csv", ".tsv", ".txt")]
        unknown = sorted(set(files) - set(tables) - set(texts))
        if unknown:
            raise InputError(
                "[data].events",
                str(unknown[0]),
                "the file is neither .csv nor .parquet",
                "convert it, or narrow the pattern",
            )
        opened += [ParquetSource(tables)] if tables else []
        opened += [CsvSource(texts, source.separator)] if texts else []
    return opened
