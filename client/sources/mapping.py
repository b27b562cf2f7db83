"""Columns of a source to canonical events: names, types and time zones, one row at a time."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import polars as pl

from groundswell.client.sources.times import (
    localised,
    read_formatted,
    read_times,
    since_1970,
)
from groundswell.shared.config_data import Source
from groundswell.shared.errors import InputError
from groundswell.shared.events import DEFAULT_ACTION, PROFILE, SCHEMA, profile_text

# What a row carries beyond the canonical columns until ``clean`` has looked at it.
RAW_TIME = "raw_time"  # the time as it was written, where it could not be read
RAW_VALUE = "raw_value"  # likewise
ZONED = "zoned"  # whether the time carried a time zone of its own
MAPPED = pl.Schema({**SCHEMA, RAW_TIME: pl.String(), RAW_VALUE: pl.String(), ZONED: pl.Boolean()})


def canonical(raw: pl.LazyFrame, source: Source, name: str) -> pl.LazyFrame:
    """Bring the rows of one source to the columns ``MAPPED``.

    Nothing is dropped: a time or value that can't be read is null, and stands as it was written in
    ``raw_time`` or ``raw_value``. Every value depends on its own row and on the configuration.

    Raises:
        InputError: a mapped column is missing or has a type that can't hold what it is mapped to.
    """
    schema = raw.collect_schema()
    columns = {key: column for key, column in source.columns if column is not None}
    _check_names(columns, schema, name)
    texts = [
        _text(columns, schema, key) for key in ("site", "user", "action", "item", "label", "text")
    ]
    if "action" not in columns:
        texts[2] = pl.lit(DEFAULT_ACTION).alias("action")
    time, raw_time, zoned = _time(columns["time"], schema[columns["time"]], source)
    value, raw_value = _value(columns, schema)
    return raw.select(*texts[:2], time, *texts[2:], value, raw_time, raw_value, zoned).select(
        pl.col(column).cast(kind) for column, kind in MAPPED.items()
    )


def profiles(raw: pl.LazyFrame, source: Source, name: str) -> pl.LazyFrame:
    """The profiles in the rows of one source as events of their own, with the columns ``MAPPED``.

    Each row tells its own; ``news`` leaves those that say what was known already. A row whose user
    or time can't be read tells none.

    Raises:
        InputError: as for ``canonical``; a column of the profile is missing.
    """
    schema = raw.collect_schema()
    for column in source.profile:
        if column not in schema:
            raise InputError(
                "[data].profile",
                column,
                f"{name} has no column of that name",
                f"there are: {', '.join(schema)}",
            )
    told = canonical(
        raw.with_columns(profile_text(source.profile, list(schema)).alias(PROFILE)),
        source.model_copy(
            update={
                "columns": source.columns.model_copy(
                    update={"action": None, "item": None, "label": None, "value": None}
                    | {"text": PROFILE}
                )
            }
        ),
        name,
    ).filter(pl.all_horizontal(pl.col("user", "time", "text").is_not_null()))
    return told.with_columns(pl.lit(PROFILE).alias("action"))


def news(rows: pl.DataFrame) -> pl.DataFrame:
    """All rows but the profiles that repeat what the user's profile was before."""
    is_profile = pl.col("action").eq_missing(PROFILE)
    told = rows.filter(is_profile).sort("user", "time", "text")
    before = pl.col("text").shift(1).over("user")
    return pl.concat([rows.filter(~is_profile), told.filter(pl.col("text").ne_missing(before))])


def _check_names(columns: Mapping[str, str], schema: pl.Schema, name: str) -> None:
    for key, column in columns.items():
        if column not in schema:
            close = difflib.get_close_matches(column, list(schema), n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(schema)}"
            raise InputError(
                f"[data].columns.{key}", column, f"{name} has no column of that name", hint
            )
    if not {"item", "label", "text"} & set(columns):
        raise InputError(
            "[data].columns",
            ", ".join(columns),
            "no column says what an action was about",
            "map one of item, label and text",
        )


def _text(columns: Mapping[str, str], schema: pl.Schema, key: str) -> pl.Expr:
    """Trimmed text, null where it is empty."""
    if key not in columns:
        return pl.lit(None, pl.String).alias(key)
    column, kind = columns[key], schema[columns[key]]
    known = kind.is_integer() or isinstance(
        kind, pl.String | pl.Categorical | pl.Enum | pl.Boolean | pl.Null
    )
    if not known or (key == "user" and isinstance(kind, pl.Boolean)):
        remedy = "store it as text or as whole numbers"
        raise InputError(f"[data].columns.{key}", f"{column} ({kind})", "the type is wrong", remedy)
    if isinstance(kind, pl.String):
        stripped = pl.col(column).str.strip_chars()
        return pl.when(stripped.str.len_bytes() > 0).then(stripped).alias(key)
    return pl.col(column).cast(pl.String).alias(key)


def _time(column: str, kind: pl.DataType, source: Source) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """The time in UTC, the unread text, and whether the time had a zone."""
    zone = source.timezone or "UTC"
    none, no = pl.lit(None, pl.String).alias(RAW_TIME), pl.lit(False).alias(ZONED)
    if isinstance(kind, pl.Datetime):
        moment = pl.col(column).cast(pl.Datetime("us", kind.time_zone))
        if kind.time_zone is not None:
            moment = moment.dt.convert_time_zone("UTC")
            return moment.alias("time"), none, pl.lit(True).alias(ZONED)
        unread = _unread(pl.col(column).cast(pl.String), localised(moment, zone))
        return localised(moment, zone).alias("time"), unread, no
    if isinstance(kind, pl.Date):
        return localised(pl.col(column).cast(pl.Datetime("us")), zone).alias("time"), none, no
    if kind.is_integer():
        # Seconds since 1970 mean UTC, whatever the zone of written times.
        return since_1970(pl.col(column)).alias("time"), none, pl.lit(True).alias(ZONED)
    if not isinstance(kind, pl.String):
        raise InputError(
            "[data].columns.time",
            f"{column} ({kind})",
            "the type is wrong",
            "give a time, a day, text such as 2026-01-31 12:00, or whole seconds since 1970",
        )
    return _written_time(pl.col(column).str.strip_chars(), source, zone)


def _written_time(written: pl.Expr, source: Source, zone: str) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    if source.time_format is not None:
        read = read_formatted(written, source.time_format, zone)
    else:
        read = read_times(written, zone)
    moment, zoned = read.struct.field("time"), read.struct.field("zoned")
    return moment.alias("time"), _unread(written, moment), zoned.alias(ZONED)


def _unread(written: pl.Expr, read: pl.Expr) -> pl.Expr:
    return pl.when(read.is_null()).then(written).alias(RAW_TIME)


def _value(columns: Mapping[str, str], schema: pl.Schema) -> tuple[pl.Expr, pl.Expr]:
    none = pl.lit(None, pl.String).alias(RAW_VALUE)
    if "value" not in columns:
        return pl.lit(None, pl.Float64).alias("value"), none
    column, kind = columns["value"], schema[columns["value"]]
    if kind.is_numeric() or isinstance(kind, pl.Null):
        number = pl.col(column).cast(pl.Float64)
        odd = number.is_nan() | number.is_infinite()
        raw = pl.when(odd).then(pl.col(column).cast(pl.String))
        return pl.when(~odd).then(number).alias("value"), raw.alias(RAW_VALUE)
    if not isinstance(kind, pl.String):
        raise InputError(
            "[data].columns.value", f"{column} ({kind})", "the type is wrong", "give a number"
        )
    written = pl.col(column).str.strip_chars()
    number = written.cast(pl.Float64, strict=False)
    number = pl.when(number.is_finite()).then(number)
    unread = number.is_null() & (written.str.len_bytes() > 0)
    return number.alias("value"), pl.when(unread).then(written).alias(RAW_VALUE)
