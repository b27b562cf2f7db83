"""``groundswell predict``: batch scores of a file of events."""

from __future__ import annotations

import os
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from groundswell.shared.config_file import load_config
from groundswell.shared.errors import InputError

app = typer.Typer(no_args_is_help=True)

_WRITERS = {".parquet": "parquet", ".csv": "csv"}


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of the model.")],
    events: Annotated[Path, typer.Argument(metavar="EVENTS", help="CSV or Parquet file.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A .parquet or .csv file.")],
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="TIME", help="As of when; default: just after the last event."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Columns and zone, where not the model's."),
    ] = None,
) -> None:
    """Forecast all labels of every user in a file.

    Writes user, label, probability, lift and trend. A user's forecast depends on the model and on
    that user's own events before TIME alone; a user without any gets the prior.

    Example: groundswell predict runs/demo/model events.parquet --out forecast.parquet
    """
    from dataclasses import replace

    from groundswell.shared.predict import Forecaster, load_model

    writer = _WRITERS.get(out.suffix)
    if writer is None:
        raise InputError("--out", str(out), "must end in .parquet or .csv", "name such a file")
    _check_time(at)
    if not (model / "manifest.json").is_file():
        raise InputError("MODEL", str(model), "holds no manifest.json", "name a model's folder")
    forecaster = load_model(model)
    if config is not None:
        data = load_config(config).config.data
        named = {k: v for k, v in data.columns.model_dump().items() if v is not None}
        forecaster = Forecaster(
            replace(
                forecaster.checkpoint,
                columns=named,
                profile=data.profile,
                timezone=data.timezone or "UTC",
            ),
            forecaster.backbone,
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        forecast = forecaster.predict(read_events(events), at)
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            typer.echo(f"warning: {warning.message}", err=True)
    _write(forecast, out, writer)
    users = forecast["user"].n_unique()
    typer.echo(f"{users} users, {len(forecast)} rows in {out}")


def read_events(path: Path) -> pl.DataFrame:
    """A CSV or Parquet file as it is, every CSV column as text but for numbers.

    Raises:
        InputError: no such file, another kind of file, or one that can't be read to its end.
    """
    if path.suffix not in _WRITERS:
        raise InputError("EVENTS", str(path), "must be a .csv or .parquet file", "name such a file")
    try:
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            "EVENTS", str(path), f"can't be read ({reason})", "check the name, or write it again"
        ) from error
    if frame.is_empty():
        raise InputError("EVENTS", str(path), "there are no rows", "check the file")
    return frame


def _check_time(at: str | None) -> None:
    if at is None:
        return
    try:
        datetime.fromisoformat(at).replace(tzinfo=UTC)
    except ValueError:
        raise InputError(
            "--at", at, "is no time", "write it as 2017-11-06 or 2017-11-06T05:00:00+00:00"
        ) from None


def _write(forecast: pl.DataFrame, out: Path, writer: str) -> None:
    """The file appears whole or not at all."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if writer == "parquet":
            forecast.write_parquet(part)
        else:
            forecast.write_csv(part)
        part.replace(out)
    except OSError as error:
        raise InputError(
            "--out", str(out), f"can't be written: {error}", "name another folder"
        ) from error
    finally:
        part.unlink(missing_ok=True)
