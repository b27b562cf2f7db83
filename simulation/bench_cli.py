"""``groundswell bench``: each benchmark measures us and a peer in one run, as a ratio."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from groundswell.shared.errors import InputError
from groundswell.shared.results import write_whole

MOST_COLUMNS = 6
CASES_ABREAST = 4  # columns of a table whose rows are the columns of the others

app = typer.Typer(no_args_is_help=True, help="Measure us and a peer in one run.")

JsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Also write the figures here; - for standard out."),
]


@app.command("secure-sum")
def secure_sum(
    sites: Annotated[int, typer.Option(min=4, help="Sites in the roster.")] = 16,
    dim: Annotated[int, typer.Option(min=1, help="Length of each vector.")] = 100_000,
    drop: Annotated[int, typer.Option(min=0, help="Sites that drop out.")] = 2,
    table: Annotated[bool, typer.Option(help="Add sites 8..128 and dim 10^4..10^7.")] = False,
    json_file: JsonOption = None,
) -> None:
    """Total computing seconds of a secure sum, against Flower's SecAgg+.

    Example: groundswell bench secure-sum --sites 16 --dim 100000 --drop 2
    """
    from groundswell.simulation.benchmarks import secure_sum as benchmark

    report(benchmark.run(sites, dim, drop, table=table), json_file)


@app.command()
def phase(
    nodes: Annotated[int, typer.Option(min=1, help="SuperNodes.")] = 2,
    phases: Annotated[int, typer.Option(min=2, help="Timed phases.")] = 5,
    json_file: JsonOption = None,
) -> None:
    """Seconds of one message phase on loopback, against stock Flower.

    Example: groundswell bench phase
    """
    from groundswell.simulation.benchmarks import phase as benchmark

    report(benchmark.run(nodes, phases), json_file)


@app.command()
def query(
    model: Annotated[Path, typer.Option(help="A model of the demo data.")] = Path(
        "runs/demo/model"
    ),
    clients: Annotated[int, typer.Option(min=1, help="Clients at once.")] = 32,
    seconds: Annotated[float, typer.Option(min=1, help="Load on each side.")] = 24.0,
    json_file: JsonOption = None,
) -> None:
    """Requests a second, against plain transformers with FastAPI, and with batches and caches.

    Example: groundswell bench query --model runs/demo/model
    """
    from groundswell.simulation.benchmarks import query as benchmark

    report(benchmark.run(model, clients, seconds), json_file)


@app.command()
def ingest(
    rows: Annotated[int, typer.Option(min=1000, help="Events.")] = 10_000_000,
    pandas: Annotated[bool, typer.Option(help="Also run pandas.")] = True,
    json_file: JsonOption = None,
) -> None:
    """The whole import, against the plain Polars query and pandas.

    Example: groundswell bench ingest --rows 10000000
    """
    from groundswell.simulation.benchmarks import ingest as benchmark

    report(benchmark.run(rows, with_pandas=pandas), json_file)


@app.command()
def train(
    users: Annotated[int, typer.Option(min=8, help="Users of one step.")] = 128,
    repeats: Annotated[int, typer.Option(min=1, help="Timed steps of each side.")] = 7,
    steps: Annotated[int, typer.Option(min=0, help="Steps behind each NDCG; 0: none.")] = 30,
    json_file: JsonOption = None,
) -> None:
    """Users a second of one private step, against stock PEFT LoRA under Opacus.

    Example: groundswell bench train --users 128
    """
    from groundswell.simulation.benchmarks import train as benchmark

    report(benchmark.run(users, repeats, steps), json_file)


@app.command()
def federation(
    clients: Annotated[int, typer.Option(min=20, help="Clients in all.")] = 200,
    cohort: Annotated[int, typer.Option(min=4, help="Clients of a round.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 30,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each side, in turn.")] = 5,
    ray: Annotated[bool, typer.Option(help="Also Flower's Ray engine.")] = True,
    json_file: JsonOption = None,
) -> None:
    """What the framework adds to a bare loop; Flower's Ray engine and pfl beside it.

    Example: groundswell bench federation --clients 200 --cohort 20 --rounds 30
    """
    from groundswell.simulation.benchmarks import federation as benchmark

    report(benchmark.run(clients, cohort, rounds, repeats=repeats, ray=ray), json_file)


@app.command()
def demand(
    sites: Annotated[int, typer.Option(min=2, help="Sites of the demo data.")] = 8,
    json_file: JsonOption = None,
) -> None:
    """Weekly demand by site and category, against what a planner would use.

    Example: groundswell bench demand
    """
    from groundswell.simulation.benchmarks import demand as benchmark

    report(benchmark.run(sites), json_file)


@app.command("demand-noise")
def demand_noise(
    users: Annotated[int, typer.Option(min=100, help="Users of the generated market.")] = 200_000,
    json_file: JsonOption = None,
) -> None:
    """What the noise of a private release costs the federation's demand forecast.

    Example: groundswell bench demand-noise --users 200000
    """
    from groundswell.simulation.benchmarks import demand_noise as benchmark

    report(benchmark.run(users), json_file)


@app.command()
def scale(json_file: JsonOption = None) -> None:
    """Cost per site, user, dimension and round, and what 100 sites would cost on paper.

    Example: groundswell bench scale
    """
    from groundswell.simulation.benchmarks import scale as benchmark

    report(benchmark.run(), json_file)


@app.command()
def quality(
    data: Annotated[str, typer.Option(help="complete_journey or amazon.")] = "complete_journey",
    amazon: Annotated[Path | None, typer.Option(help="Folder of the Amazon data.")] = None,
    grid: Annotated[str, typer.Option(help="default, or all with every ablation.")] = "default",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each variant.")] = 3,
    rounds: Annotated[int | None, typer.Option(min=1, help="For a trial: fewer rounds.")] = None,
    rows: Annotated[
        str, typer.Option(help="Amazon's rows to measure on: test, or valid to choose by.")
    ] = "test",
    json_file: JsonOption = None,
) -> None:
    """What each part of the model is worth on real data, against the honest baseline.

    Example: groundswell bench quality --grid default --seeds 3
    """
    from groundswell.simulation.benchmarks import quality as benchmark
    from groundswell.simulation.benchmarks import quality_amazon

    def told(line: str) -> None:
        typer.echo(line, err=True)

    if data == benchmark.AMAZON:
        if amazon is None:
            raise InputError("--amazon", "", "is missing", "name the folder of the Amazon data")
        report(quality_amazon.run(amazon, seeds, rounds=rounds, rows=rows, told=told), json_file)
        return
    report(benchmark.run(data, grid, seeds, rounds=rounds, told=told), json_file)


def report(found: dict[str, Any], json_file: str | None) -> None:
    """Print a benchmark's figures; exit code 1 where both sides did not give the same result."""
    text = json.dumps(found, indent=1) + "\n"
    if json_file == "-":
        typer.echo(text, nl=False)
    else:
        print_report(found)
        if json_file:
            Path(json_file).parent.mkdir(parents=True, exist_ok=True)
            write_whole(Path(json_file), text.encode())
    if not found["equal"]:
        typer.echo("the two sides did not give the same result: the figure is void", err=True)
        raise typer.Exit(1)


def print_report(found: dict[str, Any]) -> None:
    """The headline, then a line for each case; cases with other columns in a table of their own.

    Where a line would not fit, each case is a column instead.
    """
    console = Console()
    console.print(
        f"[bold]{found['name']}[/] on {found['machine']}: "
        f"ours {found['ours']:.4g} {found['unit']}, "
        f"{found['peer_name']} {found['peer_version']} {found['peer']:.4g} {found['unit']}; "
        f"ratio {found['ratio']:.2f} (above 1: we are better)"
    )
    for columns, group in groupby(map(_flat, found["cases"]), key=tuple):
        cases = list(group)
        if len(columns) > MOST_COLUMNS:
            for first in range(0, len(cases), CASES_ABREAST):
                abreast = cases[first : first + CASES_ABREAST]
                table = Table("", *(str(first + number + 1) for number in range(len(abreast))))
                for column in columns:
                    table.add_row(column, *(_cell(case[column]) for case in abreast))
                console.print(table)
        else:
            table = Table(*columns)
            for case in cases:
                table.add_row(*(_cell(case[column]) for column in columns))
            console.print(table)


def _flat(case: dict[str, Any]) -> dict[str, Any]:
    """The case with a column for each metric; other nested values in words."""
    flat: dict[str, Any] = {}
    for key, value in case.items():
        if key == "metrics":
            for name, metric in value.items():
                flat[name] = f"{metric['mean']:.4f} ± {metric['sd']:.4f}"
        elif isinstance(value, dict):
            flat[key] = ", ".join(f"{name} {_cell(each)}" for name, each in value.items())
        else:
            flat[key] = value
    return flat


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
