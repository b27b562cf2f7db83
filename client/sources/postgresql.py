"""Events from a PostgreSQL table or query, through ADBC."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import polars as pl
from polars.io.plugins import register_io_source

from groundswell.client.sources.base import EventSource
from groundswell.shared.errors import InputError

_KEY = "[data].events"
_TABLE = re.compile(r"[A-Za-z_][\w$]*(\.[A-Za-z_][\w$]*)?")
_READ_ONLY = "options=" + quote("-c default_transaction_read_only=on")


class PostgresqlSource(EventSource):
    """Rows of one SELECT, fetched in Arrow batches; the session may only read.

    Args:
        uri: ``postgresql://USER@HOST/DATABASE``; the password comes from libpq's environment.
        query: a SELECT, or the name of a table.
    """

    def __init__(self, uri: str, query: str) -> None:
        self._uri = uri + ("&" if urlsplit(uri).query else "?") + _READ_ONLY
        self._query = query.strip().rstrip(";")
        if _TABLE.fullmatch(self._query):
            table = ".".join(f'"{part}"' for part in self._query.split("."))
            self._query = f"SELECT * FROM {table}"

    @property
    def name(self) -> str:
        parts = urlsplit(self._uri)
        return f"postgresql://{parts.hostname or ''}{parts.path}"

    def scan(self) -> pl.LazyFrame:
        with self._rows(f"SELECT * FROM ({self._query}) AS events LIMIT 0") as cursor:
            frame = pl.from_arrow(cursor.fetch_arrow_table())
        assert isinstance(frame, pl.DataFrame)
        return register_io_source(self._batches, schema=frame.schema)

    def rows_hint(self) -> int:
        with self._rows(f"SELECT count(*) FROM ({self._query}) AS events") as cursor:
            return int(cursor.fetchone()[0])

    def _batches(
        self,
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        """Polars' seam for a reader of its own: projects, filters and stops as it is told."""
        left = n_rows
        with self._rows(self._query) as cursor:
            for batch in cursor.fetch_record_batch():
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                if left is not None:
                    frame = frame.head(left)
                    left -= len(frame)
                if with_columns is not None:
                    frame = frame.select(with_columns)
                yield frame if predicate is None else frame.filter(predicate)
                if left == 0:
                    return

    @contextmanager
    def _rows(self, query: str) -> Iterator[Any]:
        try:
            from adbc_driver_postgresql import dbapi
        except ModuleNotFoundError as error:
            raise InputError(
                _KEY,
                self.name,
                "the PostgreSQL driver is not installed",
                "pip install 'groundswell[client]'",
            ) from error
        try:
            with dbapi.connect(self._uri) as connection, connection.cursor() as cursor:
                cursor.execute(query)
                yield cursor
        except dbapi.Error as error:
            raise InputError(
                _KEY,
                self.name,
                f"PostgreSQL refuses ({_first_line(error)})",
                "check host, database, user, PGPASSFILE and [data].query",
            ) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "ERROR" in line or "FATAL" in line), lines[0])
