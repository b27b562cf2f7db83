"""The seam of a source: a lazy frame of its rows, as they are."""

from __future__ import annotations

from abc import ABC, abstractmethod

import polars as pl


class EventSource(ABC):
    """One source of raw rows; columns and types are the source's own.

    A source only reads. It may be scanned several times and gives the same rows each time, as long
    as what it reads from does not change.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What the report and the quarantine file call the source; holds no secret."""

    @abstractmethod
    def scan(self) -> pl.LazyFrame:
        """The rows, lazily.

        Raises:
            InputError: the source can't be opened, is damaged, or has no columns.
        """

    @abstractmethod
    def rows_hint(self) -> int:
        """About how many rows there are; only decides how finely the work is divided."""
