"""Reads a promotion plan from a file: CSV or Parquet, one line a label and range of days."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from groundswell.shared.errors import InputError
from groundswell.shared.promotions import DEFAULT_KIND, MAX_PROMOTIONS, Promotion, parse_day

NEEDED = ("label", "from", "to", "share")
_KIND = "kind"


def read_promotions(path: Path) -> tuple[Promotion, ...]:
    """The plan in a file with the columns label, from, to, share and, if wished, kind.

    Raises:
        InputError: the file can't be read, lacks a column or has another, or a line is wrong; lines
            count from 1 below the heads of the columns.
    """
    frame = _frame(path)
    lacking = [name for name in NEEDED if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in (*NEEDED, _KIND)]
    if lacking or unknown:
        raise InputError(
            str(path),
            ", ".join(frame.columns),
            f"a plan has the columns {', '.join(NEEDED)} and at most {_KIND}",
            f"add {', '.join(lacking)}" if lacking else f"leave out {', '.join(unknown)}",
        )
    if len(frame) > MAX_PROMOTIONS:
        raise InputError(
            str(path), len(frame), f"at most {MAX_PROMOTIONS} lines are read", "give a shorter plan"
        )
    return tuple(
        _promotion(row, f"{path}, line {number}")
        for number, row in enumerate(frame.iter_rows(named=True), start=1)
    )


def _frame(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise InputError("--plan", str(path), reason, "name a CSV or Parquet file") from error


def _promotion(row: dict[str, Any], key: str) -> Promotion:
    for name in NEEDED:
        if row[name] is None:
            raise InputError(f"{key}: {name}", "", "is missing", "fill it in or drop the line")
    found = Promotion(
        label=str(row["label"]),
        first=_day(row["from"], f"{key}: from"),
        last=_day(row["to"], f"{key}: to"),
        share=_share(row["share"], f"{key}: share"),
        kind=str(row.get(_KIND) or DEFAULT_KIND),
    )
    found.check(key)
    return found


def _day(value: object, key: str) -> date:
    # A date of a Parquet file comes as one, a datetime is one as well.
    return parse_day(str(value)[:10] if isinstance(value, date) else str(value), key)


def _share(value: object, key: str) -> float:
    try:
        return float(str(value))
    except ValueError as error:
        raise InputError(key, value, "is no number", "give a share of 0..1") from error
