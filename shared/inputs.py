"""The public inputs that a configuration names: task with its calendar, and the catalogue."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from pydantic import ValidationError

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.config import Config
from groundswell.shared.config_data import BY_FOLDER
from groundswell.shared.errors import InputError
from groundswell.shared.events import PROFILE
from groundswell.shared.task import Occasion, Task

_CALENDAR = ("date", "name", "category")


def check_sources(config: Config) -> None:
    """Refuse further tables beside one folder per site: no folder says whose their rows are."""
    if config.sites.by == BY_FOLDER and config.data.also:
        raise InputError(
            "[[data.also]]",
            ", ".join(name for table in config.data.also for name in table.events),
            "one folder per site divides [data].events alone",
            "divide by a column that every table has: [sites].by",
        )


def task_from(config: Config) -> Task:
    """The task of ``[task]`` and ``[evaluation].step``; raises InputError for a wrong value."""
    section = config.task
    profiled = any(source.profile for source in config.data.sources)
    try:
        return Task(
            window=section.window,
            history=section.history,
            actions=section.actions | ({PROFILE: 0.0} if profiled else {}),
            horizons=section.horizons,
            step=config.evaluation.step,
            session_gap=section.session_gap,
            day_offset=section.day_offset,
            calendar=_calendar(Path(section.calendar)) if section.calendar else (),
        )
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        rule = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"[task].{key}", first["input"], rule, "mend it in the configuration"
        ) from error


def catalogue_from(config: Config) -> Catalogue | None:
    """The catalogue of ``[catalogue]``, None where no file is named.

    Raises:
        InputError: the file can't be read, or is no catalogue (see ``Catalogue.from_table``).
    """
    section = config.catalogue
    if section.file is None:
        return None
    table = read_table(Path(section.file), "[catalogue].file")
    item = section.item or config.data.columns.item
    if item is not None and item not in table.columns:
        if section.item is not None:
            raise InputError(
                "[catalogue].item",
                item,
                "the catalogue has no such column",
                f"name one of: {', '.join(table.columns)}",
            )
        item = None
    label = item if section.label == "item" and "item" not in table.columns else section.label
    if label is None:
        raise InputError(
            "[catalogue].label",
            "item",
            "the catalogue has no column of the items' keys",
            f"set [catalogue].item or label to one of: {', '.join(table.columns)}",
        )
    return Catalogue.from_table(
        table,
        name=Path(section.file).stem,
        label=label,
        item=item,
        text=section.text,
        group=section.group,
    )


def read_table(path: Path, key: str) -> pl.DataFrame:
    """A whole CSV (all columns as text) or Parquet file.

    Raises:
        InputError: named by ``key``; the file is missing, unreadable, damaged or empty.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(key, str(path), "the file is neither .csv nor .parquet", "convert it")
    try:
        if path.suffix == ".csv":
            table = pl.read_csv(path, infer_schema=False)
        else:
            table = pl.read_parquet(path, glob=False)
    except OSError as error:
        reason = error.strerror or "it is missing or may not be read"
        raise InputError(
            key, str(path), f"the file can't be read ({reason})", "check it"
        ) from error
    except pl.exceptions.PolarsError as error:
        raise InputError(
            key,
            str(path),
            f"the file is damaged or empty ({str(error).splitlines()[0]})",
            "write it again",
        ) from error
    if table.is_empty():
        raise InputError(key, str(path), "the file has no rows", "check it")
    return table


def _calendar(path: Path) -> tuple[Occasion, ...]:
    table = read_table(path, "[task].calendar")
    for column in _CALENDAR:
        if column not in table.columns:
            raise InputError(
                "[task].calendar",
                column,
                f"{path.name} has no such column",
                "a calendar has the columns date, name and category",
            )
    try:
        return tuple(
            Occasion.model_validate(row) for row in table.select(_CALENDAR).iter_rows(named=True)
        )
    except ValidationError as error:
        raise InputError(
            "[task].calendar",
            error.errors()[0]["input"],
            "not a day as YYYY-MM-DD, or an empty name or category",
            f"mend the row in {path.name}",
        ) from error
