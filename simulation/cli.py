"""``groundswell simulate`` and ``groundswell evaluate``."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from groundswell.shared.config_file import LoadedConfig, load_config
from groundswell.shared.errors import InputError

app = typer.Typer(no_args_is_help=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="groundswell.toml; without it, the demo data."),
]
JsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Also write the figures here; - for standard out."),
]


def overridden(
    config: Path | None,
    sites: int | None,
    rounds: int | None,
    seed: int | None,
) -> LoadedConfig:
    """The configuration with the command line's values over the file's."""
    given: dict[str, object] = {}
    if sites is not None:
        given["sites.number"] = sites
    if rounds is not None:
        given["train.rounds"] = rounds
    if seed is not None:
        given["train.seed"] = seed
    return load_config(config, given)


@app.command()
def simulate(
    config: ConfigOption = None,
    sites: Annotated[
        int | None, typer.Option(min=2, help="Number of sites, where the data don't say.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=0, help="Training rounds.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the first run.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 1,
    compare: Annotated[
        str, typer.Option(help="default: the quick rows of the table; all: every row.")
    ] = "default",
    engine: Annotated[
        str, typer.Option(help="inprocess, or ray: Flower's Ray engine, for more cores.")
    ] = "inprocess",
    out: Annotated[Path, typer.Option(help="Folder for everything that the run leaves.")] = Path(
        "runs/demo"
    ),
    resume: Annotated[bool, typer.Option(help="Go on with what is in the folder.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Print the plan and its price, and end.")] = False,
    no_privacy: Annotated[
        bool, typer.Option("--no-privacy", help="Without noise: for comparison only.")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Run a whole federation on this machine and measure it against its baselines.

    Example: groundswell simulate --out runs/demo
    """
    from groundswell.simulation import console
    from groundswell.simulation.federation import Options
    from groundswell.simulation.federation import simulate as run

    for name, value, allowed in (
        ("--compare", compare, ("default", "all")),
        ("--engine", engine, ("inprocess", "ray")),
    ):
        if value not in allowed:
            raise InputError(name, value, f"must be one of {', '.join(allowed)}", "choose one")
    loaded = overridden(config, sites, rounds, seed)
    options = Options(
        out=out,
        seeds=seeds,
        everything=compare == "all",
        private=not no_privacy,
        resume=resume,
        ray=engine == "ray",
        command=" ".join(["groundswell", *sys.argv[1:]]),
    )
    if dry_run:
        console.print_dry_run(loaded, options)
        return
    stop = threading.Event()
    _stop_on_interrupt(stop)
    with console.showing(options, stop) as progress:
        results = run(loaded, options, progress)
    console.print_results(results, options)
    if json_file == "-":
        typer.echo(results.json_text(), nl=False)
    elif json_file:
        results.write(Path(json_file))


def _stop_on_interrupt(stop: threading.Event) -> None:
    """The first Ctrl-C finishes the attempt in hand and saves; a second one ends at once."""

    def interrupted(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        typer.echo("finishing the attempt in hand, then saving (Ctrl-C again to end now)", err=True)

    signal.signal(signal.SIGINT, interrupted)
