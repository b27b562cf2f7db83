"""Annotate: canonical events become integers, weights and baskets, ready for features and targets.

Every value of a row comes from that row, from earlier events of the same user, and from constants
(task and catalogue), so a prefix of a history is annotated exactly as the whole: no feature of a
time t can see what happened at t or later.
"""

from __future__ import annotations

import polars as pl

from groundswell.client.integrate import CatalogueIndex, resolve
from groundswell.client.prepared import PreparedSite, assemble, split_users
from groundswell.client.runs import run_starts, running_count
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.events import check_events
from groundswell.shared.histories import Histories
from groundswell.shared.task import Task


def annotate(events: pl.LazyFrame, task: Task) -> pl.LazyFrame:
    """Columns ``ANNOTATED`` (``prepared.py``) of events with a ``label_index``.

    Rows must be sorted by user and time, and keep their order. ``weight`` is 0 for an action that
    the task does not know and for an event outside the catalogue; ``text`` is null where the label
    speaks for the event; ``basket`` counts from 0 within the user.
    """
    names = task.action_names
    action = pl.col("action")
    known = pl.col("label_index").is_not_null()
    weight = action.replace_strict(task.actions, default=0.0, return_dtype=pl.Float32)
    number = action.replace_strict(
        {name: i for i, name in enumerate(names)}, default=len(names), return_dtype=pl.Int16
    )
    apart = pl.col("time").diff().fill_null(0) > task.session_gap_us
    new_user = run_starts("user")
    return events.with_columns(pl.col("time").dt.epoch("us")).select(
        "user",
        "time",
        pl.col("label_index").fill_null(-1).alias("label"),
        pl.when(known).then(weight).otherwise(0.0).cast(pl.Float32).alias("weight"),
        number.alias("action"),
        pl.when(~known).then(pl.coalesce("text", "label")).alias("text"),
        running_count(apart & ~new_user, new_user).cast(pl.Int32).alias("basket"),
    )


def encode_site(events: pl.DataFrame, catalogue: Catalogue, task: Task) -> PreparedSite:
    """Annotated histories of canonical events, and the texts that lie outside the catalogue.

    Events that are not sorted by user and time are sorted first; ties keep their order.
    """
    check_events(events)
    user, time = pl.col("user"), pl.col("time")
    later = (user > user.shift(1)) | ((user == user.shift(1)) & (time >= time.shift(1)))
    if not events.select(later.all()).item():
        events = events.sort("user", "time", maintain_order=True)
    resolved = resolve(events.lazy(), CatalogueIndex.of(catalogue))
    users, rows = split_users(annotate(resolved, task).collect())
    return assemble([users], [rows], len(catalogue))


def encode(events: pl.DataFrame, catalogue: Catalogue, task: Task) -> Histories:
    """The histories of ``encode_site``: one row a user, users in alphabetical order."""
    return encode_site(events, catalogue, task).histories
