"""``groundswell init`` and ``groundswell check``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from groundswell.client.check import CheckReport, check_data
from groundswell.client.guess import CatalogueGuess, Guess, guess_catalogue, guess_events
from groundswell.client.integrate import ALL_REASONS
from groundswell.client.sources import open_sources
from groundswell.shared.config_data import Source
from groundswell.shared.config_file import load_config, toml_value
from groundswell.shared.errors import InputError
from groundswell.shared.inputs import read_table

CONFIG = "groundswell.toml"

app = typer.Typer(no_args_is_help=True, help="Configure and check data.")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where groundswell.toml goes.")],
    events: Annotated[
        str,
        typer.Option("--from", metavar="EVENTS", help="A file, folder, glob or postgresql:// URI."),
    ],
    catalogue: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV or Parquet, one row an item.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace an existing groundswell.toml.")] = False,
) -> None:
    """Guess the columns of your data and write a commented groundswell.toml.

    Example: groundswell init shop --from 'data/*.parquet' --catalogue data/items.csv
    """
    path = folder / CONFIG
    if path.exists() and not force:
        raise InputError("DIR", str(path), "the file exists", "use --force, or name another folder")
    guess, text = _guessed(folder, events, catalogue)
    folder.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    console = Console()
    for key, column in guess.columns:
        if column is not None:
            console.print(f"{key:>8} = {column}", highlight=False, markup=False)
    typer.echo(f"wrote {path}; next: groundswell check --config {path}")


@app.command()
def check(
    config: Annotated[
        Path, typer.Option(metavar="F", help="The configuration file.", show_default=True)
    ] = Path(CONFIG),
    quarantine: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write rejected rows here (Parquet).")
    ] = None,
    declared_users: Annotated[
        int | None, typer.Option(metavar="N", help="The number of users the site declared.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures; - is stdout.")
    ] = None,
) -> None:
    """Clean, integrate and annotate the data, and say what is wrong with them.

    Example: groundswell check --config shop/groundswell.toml --quarantine rejected.parquet
    """
    report = check_data(load_config(config).config, quarantine, declared_users)
    figures = json.dumps(report.as_json(), indent=2) + "\n"
    if json_file == Path("-"):
        sys.stdout.write(figures)
        return
    if json_file is not None:
        json_file.write_text(figures, encoding="utf-8")
    _show(report, Console())


def _guessed(folder: Path, events: str, catalogue: Path | None) -> tuple[Guess, str]:
    absolute = events if "://" in events else os.path.normpath(Path(events).absolute())
    source = Source(events=(absolute,))
    opened = open_sources(source)
    guess = guess_events(opened[0].scan(), opened[0].name)
    items = None
    if catalogue is not None:
        table = read_table(catalogue, "--catalogue")
        items = guess_catalogue(table, guess.columns.item, str(catalogue))
    named = absolute if "://" in absolute else os.path.relpath(absolute, folder.absolute())
    file = None if catalogue is None else os.path.relpath(catalogue.absolute(), folder.absolute())
    return guess, _toml(guess, items, named, file)


def _toml(guess: Guess, items: CatalogueGuess | None, events: str, file: str | None) -> str:
    columns = {key: column for key, column in guess.columns if column is not None}
    if items is not None and columns.get("item"):
        columns.pop("label", None)
    lines = [
        "# Written by `groundswell init` from the names and values of the columns: read it once.",
        "# `groundswell check` says what is wrong; docs/config.md explains every key.",
        "",
        "[data]",
        f"events = {toml_value(events)}",
        "# Which column holds what; also possible: " + _unused(columns) + ".",
        f"columns = {toml_value(columns)}",
    ]
    if guess.zoned:
        lines.append(
            '# timezone = "UTC"  # times carry their zone; this one is for those that do not'
        )
    else:
        lines.append("# Times carry no zone: name the one they were written in.")
        lines.append('timezone = "UTC"')
    lines += ["", "[catalogue]"]
    if items is None:
        lines.append(
            "# Without a catalogue a simulation takes the labels seen as public, and a data"
        )
        lines.append('# site refuses. file = "items.csv"; label = "category"; text = ["title"]')
    else:
        lines.append(f"file = {toml_value(file)}")
        if items.item is not None and items.item != guess.columns.item:
            lines.append(f"item = {toml_value(items.item)}")
        lines.append("# What is forecast: a column of the catalogue, or the item itself.")
        lines.append(f"label = {toml_value(items.label)}")
        lines.append(f"text = {toml_value(list(items.text))}")
        if items.group is not None:
            lines.append(f"group = {toml_value(items.group)}")
    lines += ["", "[sites]"]
    if guess.site is not None:
        lines.append("# A column that never differs within a user.")
        lines.append(f"by = {toml_value(guess.site)}")
    else:
        lines.append("# No column divides users; a simulation splits them by hash. Otherwise:")
        lines.append('# by = "region", "folder", or {field = "store", per_user = "home"}')
    lines += ["", "[task]", 'window = "7d"']
    if guess.actions:
        lines.append("# Weight of each action in what is forecast; others count as habit and text.")
        lines.append(f"actions = {toml_value(dict(guess.actions))}")
    return "\n".join(lines) + "\n"


def _unused(columns: Mapping[str, str]) -> str:
    every = ("user", "time", "action", "item", "label", "text", "site", "value")
    return ", ".join(key for key in every if key not in columns)


def _show(report: CheckReport, console: Console) -> None:
    table = Table("step", "rows in", "kept", "rejected", "why")
    for step in report.steps:
        reasons = [(rows, reason) for reason, rows in step.rejected.most_common() if rows]
        why = "\n".join(f"{rows}: {ALL_REASONS.get(reason, reason)}" for rows, reason in reasons)
        table.add_row(
            step.name,
            str(step.rows),
            str(step.kept),
            str(step.rejected.total()),
            escape(why) or "-",
        )
    console.print(table)
    scrubbed = report.steps[0].changed["scrubbed"]
    if scrubbed:
        console.print(f"{scrubbed} texts held an e-mail address or a phone number, now taken out")
    labels = "no catalogue" if report.labels is None else f"{report.labels} labels"
    console.print(
        f"{report.events} events of {report.users} users from {report.first:%Y-%m-%d} to "
        f"{report.last:%Y-%m-%d}; {labels}, {report.labels_used} of them used",
        highlight=False,
    )
    for site, users in sorted(report.sites.items()):
        console.print(f"  site {site}: {users} users", highlight=False, markup=False)
    for remark in report.remarks:
        console.print(f"note: {remark}", highlight=False, markup=False)
    for rule in report.refused:
        console.print(f"[bold red]would be refused:[/] {escape(rule)}", highlight=False)
    if not report.refused:
        console.print("nothing would be refused")
