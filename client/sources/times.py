"""Written times to UTC: usual forms fast, others still, each by its own text alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import polars as pl

from groundswell.shared.errors import InputError

UTC = pl.Datetime("us", "UTC")
READ = pl.Struct({"time": UTC, "zoned": pl.Boolean})

_OFFSET = r"(?:[zZ]|[+-]\d{2}(?::?\d{2})?)$"
_DAY_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_INTEGER = r"^-?\d+$"


def read_times(written: pl.Expr, zone: str) -> pl.Expr:
    """Structs ``READ``: the time in UTC, null where it can't be read, and whether it had a zone.

    Read are ``2026-01-31``, ``2026-01-31 12:00``, ``2026-01-31T12:00:00.000``, with ``/`` too, each
    with or without an offset such as ``Z`` or ``+01:00``; and whole numbers since 1970.

    Args:
        written: trimmed texts.
        zone: of times without an offset. An hour that its clock skips is unread, of one that it
            repeats the first is meant.
    """
    return written.map_batches(partial(_read, zone=zone), return_dtype=READ, is_elementwise=True)


def read_formatted(written: pl.Expr, form: str, zone: str) -> pl.Expr:
    """The same by a format of strptime; times have a zone where the format has ``%z``."""
    aware = "%z" in form
    kind = pl.Datetime("us", "UTC" if aware else None)
    try:
        pl.select(pl.lit("2026-01-01").str.strptime(kind, form, strict=False))
    except pl.exceptions.ComputeError as error:
        raise InputError(
            "[data].time_format",
            form,
            f"no usable format ({str(error).splitlines()[0]})",
            "write it as for strftime, such as %d.%m.%Y %H:%M",
        ) from error
    read = written.str.strptime(kind, form, strict=False)
    return pl.struct(
        (read if aware else localised(read, zone)).alias("time"), pl.lit(aware).alias("zoned")
    )


def localised(moment: pl.Expr, zone: str) -> pl.Expr:
    """Local time to UTC; an hour that the clock skips is null, of one it repeats the first."""
    if zone == "UTC":
        return moment.dt.replace_time_zone("UTC")
    local = moment.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC")


def since_1970(number: pl.Expr) -> pl.Expr:
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
    return micros.cast(UTC)


def _naive(form: str, text: pl.Expr, zone: str) -> tuple[pl.Expr, bool]:
    return localised(text.str.to_datetime(form, time_unit="us", strict=False), zone), False


def _aware(form: str, text: pl.Expr, _: str) -> tuple[pl.Expr, bool]:
    return text.str.strptime(UTC, form, strict=False), True


def _number(text: pl.Expr, _: str) -> tuple[pl.Expr, bool]:
    whole = pl.when(text.str.contains(_INTEGER)).then(text)
    return since_1970(whole.cast(pl.Int64, strict=False)), True


_Reader = Callable[[pl.Expr, str], tuple[pl.Expr, bool]]
# No text is read by two of these, so the order in which they are tried changes no result.
_USUAL: tuple[_Reader, ...] = (
    partial(_naive, "%Y-%m-%d %H:%M:%S%.f"),
    partial(_naive, "%Y-%m-%dT%H:%M:%S%.f"),
    partial(_aware, "%Y-%m-%dT%H:%M:%S%.f%#z"),
    partial(_aware, "%Y-%m-%d %H:%M:%S%.f%#z"),
    _number,
)


def _read(written: pl.Series, zone: str) -> pl.Series:
    """A column is nearly always of one form: find it by the first unread text, use it for all."""
    frame = pl.DataFrame({"text": written}).select(
        "text", time=pl.lit(None, UTC), zoned=pl.lit(False)
    )
    readers = list(_USUAL)
    while True:
        left = frame.filter(pl.col("time").is_null() & pl.col("text").is_not_null()).head(1)
        if left.is_empty():
            break
        reader = next((reader for reader in readers if _reads(reader, left, zone)), None)
        if reader is None:
            frame = frame.with_columns(_unusual(pl.col("text"), zone))
            break
        readers.remove(reader)
        found, zoned = reader(pl.col("text"), zone)
        frame = frame.with_columns(found.alias("found")).select(
            "text",
            time=pl.coalesce("time", "found"),
            zoned=pl.when(pl.col("time").is_null() & pl.col("found").is_not_null())
            .then(pl.lit(zoned))
            .otherwise("zoned"),
        )
    return frame.select(pl.struct("time", "zoned").cast(READ)).to_series()


def _reads(reader: _Reader, frame: pl.DataFrame, zone: str) -> bool:
    return frame.select(reader(pl.col("text"), zone)[0]).item() is not None


def _unusual(written: pl.Expr, zone: str) -> tuple[pl.Expr, pl.Expr]:
    """All forms at once: slow, and right for each of them.

    It also decides whether a text that stays unread had a zone.
    """
    number, _ = _number(written, zone)
    # An offset follows a clock time, so the dashes of a bare day are none.
    has_offset = written.str.contains(r":\d.*" + _OFFSET)
    offset = pl.when(has_offset).then(written.str.extract("(" + _OFFSET + ")", 1))
    bare = pl.when(has_offset).then(written.str.replace(r"\s*" + _OFFSET, "")).otherwise(written)
    bare = bare.str.replace("[Tt]", " ").str.replace_all("/", "-", literal=True)
    read = pl.coalesce(
        *(bare.str.to_datetime(form, time_unit="us", strict=False) for form in _DAY_FORMATS)
    )
    moment = (
        pl.when(number.is_not_null())
        .then(number)
        .when(has_offset)
        .then(read.dt.replace_time_zone("UTC") - _offset(offset))
        .otherwise(localised(read, zone))
    )
    return moment.alias("time"), (has_offset | number.is_not_null()).alias("zoned")


def _offset(written: pl.Expr) -> pl.Expr:
    digits = written.str.replace(":", "", literal=True)
    sign = pl.when(digits.str.starts_with("-")).then(-1).otherwise(1)
    hours = digits.str.slice(1, 2).cast(pl.Int64, strict=False).fill_null(0)
    minutes = digits.str.slice(3, 2).cast(pl.Int64, strict=False).fill_null(0)
    return pl.duration(minutes=sign * (hours * 60 + minutes))
