"""Annotate: canonical events become integers, weights and baskets, ready for features and targets.

Every value of a row comes from that row, from earlier events of the same user, and from constants
(task and catalogue), so a prefix of a history is annotated exactly as the whole: no feature of a
time t can see what happened at t or later.
"""

from __future__ import annotations

import polars as pl

from groundswell.client.prepared import PreparedSite, assemble
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.events import ORDER, check_events
from groundswell.shared.histories import Histories
from groundswell.shared.task import Task


def annotate(events: pl.LazyFrame, catalogue: Catalogue, task: Task) -> pl.LazyFrame:
    """Add label index, weight, action index, free text and basket to canonical events.

    Columns out: user, time (int64 microseconds), label (int32, -1 none), weight (float32), action
    (int16, ``len(task.action_names)`` unknown), text (null where the label speaks for the event),
    basket (int32, from 0 within the user). Rows come out sorted by user and time.
    """
    names = task.action_names
    items = pl.LazyFrame(
        {
            "item": list(catalogue.item_to_label),
            "item_label": list(catalogue.item_to_label.values()),
        },
        schema={"item": pl.String, "item_label": pl.String},
    )
    labels = pl.LazyFrame(
        {"label": list(catalogue.labels), "label_index": range(len(catalogue))},
        schema={"label": pl.String, "label_index": pl.Int32},
    )
    actions = pl.LazyFrame(
        {
            "action": names,
            "action_index": range(len(names)),
            "weight": [task.actions[name] for name in names],
        },
        schema={"action": pl.String, "action_index": pl.Int16, "weight": pl.Float32},
    )
    known = pl.col("label_index") >= 0
    gap = pl.col("time") - pl.col("time").shift(1).over("user") > task.session_gap_us
    return (
        events.sort(ORDER, nulls_last=False)
        .join(items, on="item", how="left", maintain_order="left")
        # The public catalogue decides an item's label; the event's own word serves elsewhere.
        .with_columns(pl.coalesce("item_label", "label").alias("label"))
        .join(labels, on="label", how="left", maintain_order="left")
        .join(actions, on="action", how="left", maintain_order="left")
        .select(
            "user",
            pl.col("time").dt.epoch("us"),
            pl.col("label_index").fill_null(-1).alias("label"),
            pl.when(known)
            .then("weight")
            .otherwise(0.0)
            .fill_null(0.0)
            .cast(pl.Float32)
            .alias("weight"),
            pl.col("action_index").fill_null(len(names)).alias("action"),
            # Outside the catalogue an event counts by its text alone.
            pl.when(known.fill_null(False))
            .then(None)
            .otherwise(pl.coalesce("text", "label"))
            .alias("text"),
        )
        .with_columns(gap.fill_null(False).cast(pl.Int32).cum_sum().over("user").alias("basket"))
    )


def encode_site(events: pl.DataFrame, catalogue: Catalogue, task: Task) -> PreparedSite:
    """Annotated histories of canonical events and the texts that lie outside the catalogue."""
    check_events(events)
    return assemble(annotate(events.lazy(), catalogue, task).collect(), len(catalogue))


def encode(events: pl.DataFrame, catalogue: Catalogue, task: Task) -> Histories:
    """The histories of ``encode_site``: one row a user, users in alphabetical order."""
    return encode_site(events, catalogue, task).histories
