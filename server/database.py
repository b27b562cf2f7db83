"""The one database of a coordinator's registry and tokens, by SQLAlchemy URL; SQLite by default."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from groundswell.shared.errors import InputError

METADATA = MetaData()


def open_database(url: str) -> Engine:
    """Connect and create the tables that are missing.

    Raises:
        InputError: the URL is no database that can be used.
    """
    try:
        engine = create_engine(url, pool_pre_ping=True)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _careful)
        METADATA.create_all(engine)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, SQLAlchemyError) as error:
        masked = url.split("@")[-1]  # no password in a message
        raise InputError(
            "registry",
            masked,
            f"the database can't be used ({type(error).__name__})",
            "give a folder, or a URL such as postgresql+psycopg://user@host/name",
        ) from error
    return engine


def _careful(connection: Any, record: Any) -> None:
    """SQLite: writers wait for each other, and a commit is on disk."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
