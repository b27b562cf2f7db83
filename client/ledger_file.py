"""The ledger's SQLite file: append-only, one full flush to disk a write, records as they stand."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from groundswell.client.ledger_rows import Record
from groundswell.shared.errors import LedgerError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    row INTEGER PRIMARY KEY, body TEXT NOT NULL, hash BLOB NOT NULL, signature BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
"""


class LedgerFile:
    """One open ledger file. A failed write closes it for good: the site fails closed."""

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open the file.

        Raises:
            LedgerError: it is missing (or, with ``create``, there already), or no ledger.
        """
        self._path = path
        if path.exists() == create:
            raise LedgerError(f"ledger {path} {'exists already' if create else 'does not exist'}")
        try:
            if create:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=10
            )
            self._connection.execute("PRAGMA synchronous=FULL")
            if create:
                self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"ledger {path} can't be opened: {error}") from error

    def records(self) -> list[Record]:
        """All records in the order of their numbers."""
        return _select(self._connection, self._path)

    def append(self, last: int, record: Record) -> None:
        """Write one record after row ``last`` and flush it to the disk.

        Raises:
            LedgerError: another process wrote meanwhile, or the write failed.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            (found,) = self._connection.execute("SELECT max(row) FROM events").fetchone()
            if (found or 0) != last:
                raise LedgerError(
                    f"ledger {self._path} ends at row {found}, not {last}: another process wrote it"
                )
            self._connection.execute(
                "INSERT INTO events (row, body, hash, signature) VALUES (?, ?, ?, ?)",
                (record.number, record.body, record.hash, record.signature),
            )
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise LedgerError(f"ledger {self._path} can't be written: {error}") from error
        finally:
            if self._connection.in_transaction:
                self._connection.rollback()

    def note(self, name: str) -> dict[str, object]:
        """What the site noted beside its ledger (heads of others); empty where nothing."""
        try:
            found = self._connection.execute(
                "SELECT body FROM notes WHERE name = ?", (name,)
            ).fetchone()
            return dict(json.loads(found[0])) if found else {}
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise LedgerError(f"ledger {self._path}: note {name!r} is damaged: {error}") from error

    def keep_note(self, name: str, body: dict[str, object]) -> None:
        """Replace a note."""
        try:
            self._connection.execute(
                "INSERT INTO notes VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET body = excluded.body",
                (name, json.dumps(body, sort_keys=True)),
            )
        except sqlite3.Error as error:
            raise LedgerError(f"ledger {self._path} can't be written: {error}") from error

    def close(self) -> None:
        """Close the file; the ledger can't be used afterwards."""
        self._connection.close()


def read_records(path: Path) -> list[Record]:
    """All records of a ledger file, which is opened for reading only.

    Raises:
        LedgerError: no such file, or not a ledger.
    """
    if not path.is_file():
        raise LedgerError(f"ledger {path} does not exist")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
    except sqlite3.Error as error:
        raise LedgerError(f"ledger {path} can't be opened: {error}") from error
    try:
        return _select(connection, path)
    finally:
        connection.close()


def _select(connection: sqlite3.Connection, path: Path) -> list[Record]:
    try:
        found: Sequence[tuple[object, object, object, object]] = connection.execute(
            "SELECT rowid, body, hash, signature FROM events ORDER BY rowid"
        ).fetchall()
    except sqlite3.Error as error:
        raise LedgerError(f"{path} is not a sound ledger file: {error}") from error
    records = []
    for number, body, digest, signature in found:
        if not (
            isinstance(number, int)
            and isinstance(body, str)
            and isinstance(digest, bytes)
            and isinstance(signature, bytes)
        ):
            raise LedgerError(f"{path}: row {number} holds values of a wrong type")
        records.append(Record(number, body, digest, signature))
    return records
