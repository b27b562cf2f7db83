"""The canonical event: the one table form that every source is brought to.

A row is one action of one user at one site. ``time`` is UTC; ``item``, ``label`` and ``text`` name
what the action was about (an item of the catalogue, a label, free text); ``value`` is its amount
(quantity, price or rating), negative for what was taken back.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from groundswell.shared.errors import InputError

SCHEMA = pl.Schema(
    {
        "site": pl.String(),
        "user": pl.String(),
        "time": pl.Datetime("us", "UTC"),
        "action": pl.String(),
        "item": pl.String(),
        "label": pl.String(),
        "text": pl.String(),
        "value": pl.Float64(),
    }
)
COLUMNS = tuple(SCHEMA)
# Ties in time are broken by content, so that the order of rows in a source changes nothing.
ORDER = ("user", "time", "action", "item", "label", "text", "value", "site")
DEFAULT_ACTION = "purchase"
# Says who the user is instead of what the user did: its text is the user's coarse profile.
PROFILE = "profile"


def profile_text(columns: Sequence[str], source: Sequence[str]) -> pl.Expr:
    """The profile of each row as a text, such as "age: 25-34, region: north"; null without any.

    Args:
        columns: those of the profile; one that is not among ``source``'s says nothing.
    """
    parts = [
        pl.format(f"{name}: {{}}", pl.col(name).cast(pl.String))
        for name in columns
        if name in source
    ]
    if not parts:
        return pl.lit(None, pl.String)
    text = pl.concat_str(parts, separator=", ", ignore_nulls=True)
    return pl.when(text.str.len_bytes() > 0).then(text)


def check_events(events: pl.DataFrame | pl.LazyFrame) -> None:
    """Raise InputError where a column is missing, is not canonical or has another type."""
    found = events.collect_schema()
    for column, kind in SCHEMA.items():
        if column not in found:
            raise InputError(
                "events", column, "the canonical column is missing", "map it in [data].columns"
            )
        if found[column] != kind:
            raise InputError(
                f"events.{column}",
                str(found[column]),
                f"the canonical type is {kind}",
                "cast the column before handing the events over",
            )
    extra = [column for column in found if column not in SCHEMA]
    if extra:
        raise InputError(
            "events", extra[0], "the column is not canonical", "drop it, or map it to another"
        )


def sort_events(events: pl.LazyFrame) -> pl.LazyFrame:
    """Canonical columns in canonical order, rows sorted by user and time, then by content."""
    return events.select(COLUMNS).sort(ORDER, nulls_last=False)
