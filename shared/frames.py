"""From a caller's events (dicts, pandas, Polars) to histories; each user from own rows alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError
from groundswell.shared.events import DEFAULT_ACTION, PROFILE, profile_text
from groundswell.shared.histories import Histories
from groundswell.shared.task import Task

OPTIONAL = ("action", "item", "label", "text", "value")


def events_frame(
    events: Any,
    columns: Mapping[str, str],
    timezone: str = "UTC",
    profile: Sequence[str] = (),
) -> pl.DataFrame:
    """Canonical columns user, time (UTC), action, item, label, text, value from a caller's events.

    Args:
        events: a Polars frame, a pandas frame, or a list of dicts.
        columns: canonical name to the caller's name; a canonical name stands for itself too.
        timezone: of times that carry none.
        profile: columns of the users' profiles, which become events of their own.

    Raises:
        InputError: no table, or a column is missing or has values of the wrong kind.
    """
    table = _table(events)
    named = {}
    for name in ("user", "time", *OPTIONAL):
        source = columns.get(name, name)
        found = source if source in table.columns else name if name in table.columns else None
        if found is None and name in ("user", "time"):
            raise InputError(
                f"[data].columns.{name}",
                source,
                f"the events have no such column (they have: {', '.join(table.columns)})",
                "rename the column, or map it",
            )
        named[name] = found
    table = _of_somebody(table, str(named["user"]))
    user = table[str(named["user"])].cast(pl.String)
    texts = {
        name: table[str(found)].cast(pl.String) if (found := named[name]) else None
        for name in ("action", "item", "label", "text")
    }
    frame = pl.DataFrame({"user": user, "time": _times(table[str(named["time"])], timezone)})
    frame = frame.with_columns(
        (values if values is not None else pl.lit(None, pl.String)).alias(name)
        for name, values in texts.items()
    )
    value = named["value"]
    frame = frame.with_columns(
        (table[value].cast(pl.Float64) if value else pl.lit(None, pl.Float64)).alias("value")
    )
    frame = frame.with_columns(pl.col("action").fill_null(DEFAULT_ACTION))
    if not profile:
        return frame
    nothing = [pl.lit(None, frame.schema[name]).alias(name) for name in ("item", "label", "value")]
    told = frame.with_columns(
        pl.lit(PROFILE).alias("action"),
        *nothing,
        table.select(profile_text(profile, table.columns).alias("text")).to_series(),
    ).filter(pl.col("text").is_not_null())
    return pl.concat([frame, told.unique(["user", "text", "time"], maintain_order=True)])


def _of_somebody(table: pl.DataFrame, user: str) -> pl.DataFrame:
    """The rows with a user; those of nobody would become one history of several people."""
    known = table[user].cast(pl.String).str.strip_chars().fill_null("") != ""
    missing = len(table) - int(known.sum())
    if missing and missing == len(table):
        raise InputError("[data].columns.user", user, "no row has a user", "map another column")
    if missing:
        warnings.warn(f"{missing} of {len(table)} rows have no user: left out", stacklevel=3)
    return table.filter(known) if missing else table


def histories_of(
    frame: pl.DataFrame, catalogue: Catalogue, task: Task
) -> tuple[Histories, tuple[str, ...]]:
    """Histories of the users of a canonical frame, in order of first appearance, and further texts.

    An event outside the catalogue keeps its text and counts 0 in the target; so does an action that
    the task does not know. An event that takes back (negative value) is left out.
    """
    users = frame["user"].unique(maintain_order=True)
    rows = frame.with_row_index("order").join(
        pl.DataFrame({"user": users, "row": np.arange(len(users))}), on="user"
    )
    rows = rows.filter(pl.col("value").is_null() | (pl.col("value") >= 0))
    rows = rows.sort("row", "time", "order")
    label = _labels(rows, catalogue)
    known = label >= 0
    names = task.action_names
    weight = rows["action"].replace_strict(task.actions, default=0.0, return_dtype=pl.Float32)
    action = rows["action"].replace_strict(
        {name: i for i, name in enumerate(names)}, default=len(names), return_dtype=pl.Int16
    )
    text = rows.select(pl.coalesce("text", "label"))["text"].to_list()
    extra = sorted({t for t, k in zip(text, known, strict=True) if t and not k})
    place = {t: len(catalogue) + i for i, t in enumerate(extra)}
    token = [int(i) if i >= 0 else place.get(t or "", -1) for i, t in zip(label, text, strict=True)]
    row = rows["row"].to_numpy()
    time = rows["time"].dt.epoch("us").to_numpy()
    offsets = np.r_[0, np.cumsum(np.bincount(row, minlength=len(users)))].astype(np.int64)
    starts = np.ones(len(row), dtype=bool)
    starts[1:] = (np.diff(row) > 0) | (np.diff(time) > task.session_gap_us)
    number = np.cumsum(starts)
    first = number[offsets[:-1].clip(max=max(len(row) - 1, 0))] if len(row) else number
    basket = number - first[row] if len(row) else number
    histories = Histories(
        tuple(users),
        offsets,
        time.astype(np.int64),
        label,
        np.where(known, weight.to_numpy(), 0).astype(np.float32),
        action.to_numpy().astype(np.int16),
        np.asarray(token, dtype=np.int32),
        basket.astype(np.int32),
    )
    return histories, tuple(extra)


def _table(events: Any) -> pl.DataFrame:
    if isinstance(events, pl.LazyFrame):
        return events.collect()
    if isinstance(events, pl.DataFrame):
        return events
    if isinstance(events, Sequence):
        if not all(isinstance(event, Mapping) for event in events):
            raise InputError(
                "events", type(events), "is no list of dicts", "give one dict an event"
            )
        return pl.DataFrame(list(events), infer_schema_length=None)
    try:
        table: pl.DataFrame = pl.from_pandas(events)
        return table
    except TypeError as error:
        raise InputError(
            "events", type(events).__name__, "is no table", "give dicts, pandas or Polars"
        ) from error


def _times(times: pl.Series, timezone: str) -> pl.Series:
    """UTC microseconds of a column of times; text is read as ISO 8601."""
    try:
        if times.dtype == pl.String:
            times = times.str.to_datetime(time_unit="us", strict=True)
        elif times.dtype == pl.Date:
            times = times.cast(pl.Datetime("us"))
        if not isinstance(times.dtype, pl.Datetime):
            raise InputError(
                "events.time", str(times.dtype), "is no time", "give times or ISO 8601 text"
            )
        if times.dtype.time_zone is None:
            times = times.dt.replace_time_zone(timezone, ambiguous="earliest")
        return times.dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC"))
    except pl.exceptions.PolarsError as error:
        raise InputError(
            "events.time",
            timezone,
            f"a time can't be read ({str(error).splitlines()[0]})",
            "give times or ISO 8601 text",
        ) from error


def _labels(rows: pl.DataFrame, catalogue: Catalogue) -> np.ndarray[Any, np.dtype[np.int32]]:
    """int32 per event: by item, else by label, -1 outside the catalogue."""
    index = catalogue.index
    by_item = {item: index[label] for item, label in catalogue.item_to_label.items()}
    columns = []
    for name, places in (("item", by_item), ("label", dict(index)), ("item", dict(index))):
        if places:
            columns.append(rows[name].replace_strict(places, default=None, return_dtype=pl.Int32))
        else:
            columns.append(pl.Series(name, [None] * len(rows), dtype=pl.Int32))
    found = pl.DataFrame({str(i): column for i, column in enumerate(columns)})
    return found.select(pl.coalesce("0", "1", "2").fill_null(-1))["0"].to_numpy().astype(np.int32)
