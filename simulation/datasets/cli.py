"""The ``generate`` command."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from groundswell.simulation.datasets.marketplace import NOTE, generate

app = typer.Typer(add_completion=False)


@app.command("generate")
def generate_marketplace(
    folder: Annotated[Path, typer.Argument(help="Folder to write into.")],
    users: Annotated[int, typer.Option(help="Users of all merchants together.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same rows.")] = 0,
    merchants: Annotated[int, typer.Option(help="Data sites, one of them Chinese.")] = 6,
    days: Annotated[int, typer.Option(help="Length of the data.")] = 364,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Figures; - is standard output.")
    ] = None,
) -> None:
    """Write a generated marketplace: events, catalogues, and the truth about its surges.

    Example: groundswell generate runs/market --users 200000
    """
    truth = generate(folder, users, seed, merchants=merchants, days=days)
    figures = json.dumps({"generated": True, **asdict(truth)}, default=str, ensure_ascii=False)
    if json_file == "-":
        typer.echo(figures)
        return
    if json_file is not None:
        Path(json_file).write_text(figures + "\n")
    typer.echo(
        f"{truth.events} events of {truth.users} users at {len(truth.users_by_site)} merchants"
    )
    typer.echo(f"{len(truth.surges)} surges at merchants are written down in {folder / 'truth'}")
    typer.echo(NOTE)
