"""``groundswell demo``: a real federation on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from groundswell.simulation import demo

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="A coordinator and 4 data sites as real processes on loopback.\n\n"
    "Example: groundswell demo up",
)

Folder = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Folder of the federation.")]
_FOLDER = Path("runs/federation")


@app.command()
def up(folder: Folder = _FOLDER) -> None:
    """Start everything and train; returns once two secure rounds are closed at every site.

    The services stay up; logs are under DIR. An earlier demo in DIR is replaced.

    Example: groundswell demo up --dir runs/federation
    """
    demo.up(folder, typer.echo)


@app.command()
def down(folder: Folder = _FOLDER) -> None:
    """Stop the services that `demo up` left running.

    Example: groundswell demo down
    """
    demo.DemoFederation(folder.absolute()).down()
    typer.echo("stopped")
