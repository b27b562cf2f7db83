"""Columns of a source to canonical events: names, types and time zones, one row at a time."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import polars as pl

from groundswell.shared.config import Source
from groundswell.shared.errors import InputError
from groundswell.shared.events import DEFAULT_ACTION, SCHEMA

# What a row carries beyond the canonical columns until ``clean`` has looked at it.
RAW_TIME = "raw_time"  # the time as it was written, where it could not be read
RAW_VALUE = "raw_value"  # likewise
ZONED = "zoned"  # whether the time carried a time zone of its own
MAPPED = pl.Schema({**SCHEMA, RAW_TIME: pl.String(), RAW_VALUE: pl.String(), ZONED: pl.Boolean()})

_OFFSET = r"(?:[zZ]|[+-]\d{2}(?::?\d{2})?)$"
_DAY_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_INTEGER = r"^-?\d+$"


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
        unread = _unread(pl.col(column).cast(pl.String), _zoned(moment, zone))
        return _zoned(moment, zone).alias("time"), unread, no
    if isinstance(kind, pl.Date):
        return _zoned(pl.col(column).cast(pl.Datetime("us")), zone).alias("time"), none, no
    if kind.is_integer():
        # Seconds since 1970 mean UTC, whatever the zone of written times.
        return _since_1970(pl.col(column)).alias("time"), none, pl.lit(True).alias(ZONED)
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
        moment = _formatted_time(written, source.time_format, zone)
        zoned = pl.lit("%z" in source.time_format)
        return moment.alias("time"), _unread(written, moment), zoned.alias(ZONED)
    whole = written.str.contains(_INTEGER)
    # An offset follows a clock time, so the dashes of a bare day are none.
    has_offset = written.str.contains(r":\d.*" + _OFFSET)
    offset = pl.when(has_offset).then(written.str.extract("(" + _OFFSET + ")", 1))
    bare = pl.when(has_offset).then(written.str.replace(r"\s*" + _OFFSET, "")).otherwise(written)
    bare = bare.str.replace("[Tt]", " ").str.replace_all("/", "-", literal=True)
    read = pl.coalesce(
        *(bare.str.to_datetime(form, time_unit="us", strict=False) for form in _DAY_FORMATS)
    )
    moment = (
        pl.when(whole)
        .then(_since_1970(written.cast(pl.Int64, strict=False)))
        .when(has_offset)
        .then(read.dt.replace_time_zone("UTC") - _offset(offset))
        .otherwise(_zoned(read, zone))
    )
    return moment.alias("time"), _unread(written, moment), (has_offset | whole).alias(ZONED)


def _formatted_time(written: pl.Expr, form: str, zone: str) -> pl.Expr:
    kind = pl.Datetime("us", "UTC" if "%z" in form else None)
    read = written.str.strptime(kind, form, strict=False)
    try:
        pl.select(pl.lit("2026-01-01").str.strptime(kind, form, strict=False))
    except pl.exceptions.ComputeError as error:
        raise InputError(
            "[data].time_format",
            form,
            f"no usable format ({str(error).splitlines()[0]})",
            "write it as for strftime, such as %d.%m.%Y %H:%M",
        ) from error
    return read if "%z" in form else _zoned(read, zone)


def _offset(written: pl.Expr) -> pl.Expr:
    digits = written.str.replace(":", "", literal=True)
    sign = pl.when(digits.str.starts_with("-")).then(-1).otherwise(1)
    hours = digits.str.slice(1, 2).cast(pl.Int64, strict=False).fill_null(0)
    minutes = digits.str.slice(3, 2).cast(pl.Int64, strict=False).fill_null(0)
    return pl.duration(minutes=sign * (hours * 60 + minutes))


def _zoned(moment: pl.Expr, zone: str) -> pl.Expr:
    """Local time to UTC; an hour that the clock skips is unread, of one it repeats the first."""
    if zone == "UTC":
        return moment.dt.replace_time_zone("UTC")
    local = moment.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC")


def _since_1970(number: pl.Expr) -> pl.Expr:
    """Seconds, milliseconds or microseconds since 1970, told apart by size (years 1973..5138)."""
    number = number.cast(pl.Int64)
    size = number.abs()
    micros = (
        pl.when(size < 10**11)
        .then(number * 1_000_000)
        .when(size < 10**14)
        .then(number * 1_000)
        .otherwise(number)
    )
    return micros.cast(pl.Datetime("us", "UTC"))


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
