"""The prepared events of a site in memory: what the vault computes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from groundswell.shared.histories import Histories, Int32

# The columns in which ``annotate`` hands events over, and in which the store keeps them.
ANNOTATED = pl.Schema(
    {
        "user": pl.String(),
        "time": pl.Int64(),
        "label": pl.Int32(),
        "weight": pl.Float32(),
        "action": pl.Int16(),
        "text": pl.String(),
        "basket": pl.Int32(),
    }
)


@dataclass(frozen=True)
class PreparedSite:
    """One site's histories, one row a user, sorted by user key.

    Attributes:
        histories: ``token`` below the number of labels is that label's text; from there on it
            counts through ``texts``.
        texts: texts of events outside the catalogue (searches, unknown items), each once.
    """

    histories: Histories
    texts: tuple[str, ...]


def split_users(annotated: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Users with their numbers of events (columns user, events), and the events without users.

    ``annotated`` has the columns ``ANNOTATED``; rows of one user follow each other.
    """
    users = annotated.select(pl.col("user").rle()).unnest("user")
    events = annotated.select(column for column in ANNOTATED if column != "user")
    return users.select(user="value", events="len"), events


def assemble(
    users: Sequence[pl.DataFrame], events: Sequence[pl.DataFrame], labels: int
) -> PreparedSite:
    """Join what ``split_users`` split, one or several times, into one site.

    Args:
        users: no user stands in two of them.
        events: those of the users, in their order.
        labels: number of labels of the catalogue.
    """
    none = pl.DataFrame(schema=ANNOTATED)
    owners = pl.concat([split_users(none)[0], *users], how="vertical_relaxed")
    rows = pl.concat([split_users(none)[1], *events], rechunk=True)
    texts = rows.select(pl.col("text").drop_nulls().unique().sort()).to_series()
    label = rows["label"].to_numpy()
    token = np.where(label >= 0, label, _text_rows(rows, texts, labels)).astype(np.int32)
    offsets = np.zeros(len(owners) + 1, dtype=np.int64)
    np.cumsum(owners["events"].to_numpy(), out=offsets[1:])
    histories = Histories(
        users=tuple(owners["user"]),
        offsets=offsets,
        time=rows["time"].to_numpy(),
        label=label,
        weight=rows["weight"].to_numpy(),
        action=rows["action"].to_numpy(),
        token=token,
        basket=rows["basket"].to_numpy(),
    )
    if not owners["user"].is_sorted():
        histories = histories.take(owners["user"].arg_sort().cast(pl.Int64).to_numpy())
    return PreparedSite(histories, tuple(texts))


def _text_rows(rows: pl.DataFrame, texts: pl.Series, labels: int) -> Int32:
    """Row of each event's text in the table of label texts and extra texts, -1 without a text."""
    if texts.is_empty():
        return np.full(len(rows), -1, dtype=np.int32)
    numbers = pl.Series(np.arange(labels, labels + len(texts), dtype=np.int32))
    extra = rows["text"].replace_strict(texts, numbers, default=-1, return_dtype=pl.Int32)
    return extra.fill_null(-1).to_numpy()
