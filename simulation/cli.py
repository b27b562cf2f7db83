"""``groundswell simulate`` and ``groundswell evaluate``."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from groundswell.shared.config_file import LoadedConfig, load_config
from groundswell.shared.errors import InputError
from groundswell.shared.results import write_whole

app = typer.Typer(no_args_is_help=True)
INTERRUPTED = 130

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
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for everything that the run leaves.",
            show_default="runs/demo; with --config, runs/ and the name of the file's folder",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with what is in the folder.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Print the plan and its price, and end.")] = False,
    no_privacy: Annotated[
        bool, typer.Option("--no-privacy", help="Without noise: for comparison only.")
    ] = False,
    region: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SITE,SITE",
            help="Release the demand of these sites alone too, as a run of its own; repeatable.",
        ),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="FILE",
            help="Another merchant's groundswell.toml, with a catalogue of its own; repeatable.",
        ),
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Run a whole federation on this machine and measure it against its baselines.

    Example: groundswell simulate --out runs/demo
    """
    for name, value, allowed in (
        ("--compare", compare, ("default", "all")),
        ("--engine", engine, ("inprocess", "ray")),
    ):
        if value not in allowed:
            raise InputError(name, value, f"must be one of {', '.join(allowed)}", "choose one")
    if also and config is None:
        raise InputError(
            "--with", str(also[0]), "goes with a file of your own", "name that with --config"
        )
    loaded = overridden(config, sites, rounds, seed)
    others = [overridden(each, sites, rounds, seed) for each in also or ()]
    regions = _regions(region or ())

    # Torch and its kin take seconds to load, which nobody should wait for to hear of a wrong key.
    from groundswell.simulation import console
    from groundswell.simulation.federation import simulate as run
    from groundswell.simulation.running import Options, StoppedError
    from groundswell.simulation.together import simulate_together

    options = Options(
        out=out or Path("runs") / (config.absolute().parent.name if config else "demo"),
        seeds=seeds,
        everything=compare == "all",
        private=not no_privacy,
        resume=resume,
        ray=engine == "ray",
        regions=regions,
        command=" ".join(["groundswell", *sys.argv[1:]]),
    )
    if dry_run:
        console.print_dry_run([loaded, *others], options)
        return
    stop = threading.Event()
    _stop_on_interrupt(stop)
    try:
        with console.showing(options, stop) as progress:
            results = (
                simulate_together([loaded, *others], options, progress)
                if others
                else run(loaded, options, progress)
            )
    except StoppedError as error:
        typer.echo(f"groundswell: {error}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    console.print_results(results, options, aside=json_file == "-", together=bool(others))
    if json_file == "-":
        typer.echo(results.json_text(), nl=False)
    elif json_file:
        results.write(Path(json_file))


@app.command()
def evaluate(
    config: ConfigOption = None,
    folds: Annotated[int, typer.Option(min=1, help="Number of origins.")] = 3,
    rounds: Annotated[int | None, typer.Option(min=1, help="Training rounds.")] = None,
    json_file: JsonOption = None,
) -> None:
    """Rolling-origin cross-validation of the private federated model, with its price.

    Example: groundswell evaluate --folds 3
    """
    from dataclasses import asdict

    from groundswell.simulation.cross_validation import FoldScore, cross_validate

    def told(score: FoldScore) -> None:
        figures = "  ".join(f"{name} {value:.4f}" for name, value in score.ndcg.items())
        typer.echo(
            f"fold {score.number}: NDCG@10 {figures}  ({score.rows} rows; eps_C "
            f"{score.central_epsilon:.2f}, eps_L {score.local_epsilon:.2f})",
            err=True,
        )

    found = cross_validate(overridden(config, None, rounds, None), folds, told)
    if json_file == "-":
        typer.echo(json.dumps(asdict(found), indent=1))
        return
    for name, (mean, error) in found.mean.items():
        typer.echo(f"{name:<28} NDCG@10 {mean:.4f} +- {error:.4f} over {len(found.folds)} folds")
    typer.echo(
        f"rehearsal: seeded, not a release. As releases on the same users, the folds together "
        f"would cost eps_C {found.central_epsilon:.2f} and eps_L {found.local_epsilon:.2f}."
    )
    if json_file:
        write_whole(Path(json_file), (json.dumps(asdict(found), indent=1) + "\n").encode())


def _regions(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The sites of each region, from values such as ``north=site-01,site-02``."""
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, _, listed = text.partition("=")
        sites = tuple(each for each in listed.split(",") if each)
        if not name or not sites or name in found:
            raise InputError(
                "--region",
                text,
                "a region is named once, with its sites",
                "write it like north=site-01,site-02,site-03,site-04",
            )
        found[name] = sites
    return found


def _stop_on_interrupt(stop: threading.Event) -> None:
    """The first Ctrl-C finishes the attempt in hand and saves; a second one ends at once."""

    def interrupted(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        typer.echo("finishing the attempt in hand, then saving (Ctrl-C again to end now)", err=True)

    signal.signal(signal.SIGINT, interrupted)
