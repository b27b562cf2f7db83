"""Running counts over rows that are sorted into runs, in one pass and without grouping.

Used where rows are sorted by user and time: a run is one user, one day of a user, one minute. A
value at a row depends on rows of its own run up to that row, and on no later one.
"""

from __future__ import annotations

import polars as pl


def run_starts(*columns: str) -> pl.Expr:
    """True where any of the columns differs from the row before, and in the first row."""
    changes = [pl.col(column).ne_missing(pl.col(column).shift(1)) for column in columns]
    return pl.any_horizontal(*changes) | (pl.int_range(pl.len()) == 0)


def running_count(counted: pl.Expr, starts: pl.Expr) -> pl.Expr:
    """How many rows of the run, up to and with this one, are ``counted``."""
    total = counted.cast(pl.Int64).cum_sum()
    before_run = pl.when(starts).then(total - counted.cast(pl.Int64)).forward_fill()
    return total - before_run
