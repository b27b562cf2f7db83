"""``groundswell privacy plan``: what a run costs, before anything is spent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from groundswell.shared.accounting import central_multiplier, tpr_bound
from groundswell.shared.config import ROUNDS, STATISTICS_OF_HEADS, Config
from groundswell.shared.errors import InputError
from groundswell.shared.plan import DEMAND, EVALUATION, GRADIENT
from groundswell.shared.roster import LARGEST_ROSTER
from groundswell.shared.sizing import (
    KindBudget,
    SizedPlan,
    check_n_min,
    default_budgets,
    default_delta,
    size_plan,
)

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Plan a privacy budget before spending it."
)


@app.callback()
def _group() -> None:
    """Plan a privacy budget before spending it."""


@app.command()
def plan(
    eps_c: Annotated[float, typer.Option(help="Cap on the central epsilon.")] = 3.0,
    eps_l: Annotated[float | None, typer.Option(help="Cap on the local epsilon.")] = None,
    sites: Annotated[int, typer.Option(min=2, help="Sites of the federation.")] = 8,
    rounds: Annotated[int, typer.Option(min=0, help="Training rounds; 0: a refresh alone.")] = 40,
    users: Annotated[
        int | None, typer.Option(min=1, help="Declared users of all sites; sets delta.")
    ] = None,
    refreshes: Annotated[
        int, typer.Option(min=0, help="Releases of each statistic after the first.")
    ] = 1,
    evaluations: Annotated[int, typer.Option(min=0, help="Paid evaluations.")] = 1,
    sampling_rate: Annotated[float, typer.Option(help="Share of users in a round, q.")] = 0.5,
    head: Annotated[str, typer.Option(help="repeat, or next for catalogues of items.")] = "repeat",
    statistics: Annotated[
        str | None,
        typer.Option(help="Kinds of statistics, with commas; '' for none; default the head's."),
    ] = None,
    colluders: Annotated[int, typer.Option(min=0, help="Sites assumed to collude, c.")] = 1,
    n_min: Annotated[
        int | None, typer.Option(min=2, help="Least survivors; default max(3, sites - 2).")
    ] = None,
    delta: Annotated[float | None, typer.Option(help="Default min(1e-6, 1/(10 users)).")] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the figures; - is stdout.")
    ] = None,
) -> None:
    """Say how much noise a run needs, both epsilons, and what each part of it costs.

    Example: groundswell privacy plan --eps-c 3 --eps-l 8 --sites 8 --rounds 40
    """
    least = _least_survivors(sites, n_min)
    if users is not None and delta is not None and delta > 1 / (10 * users):
        raise InputError("--delta", delta, f"is above 1/(10 x {users} users)", "lower it")
    fixed = default_delta(users) if delta is None else delta
    names, shares = _kinds(head, statistics)

    def budgets(total: int) -> list[KindBudget]:
        return default_budgets(
            total,
            sampling_rate,
            refreshes=refreshes,
            evaluations=evaluations,
            statistics=names,
            shares=shares,
        )

    def sized(total: int) -> SizedPlan:
        return size_plan(
            budgets(total),
            eps_c=eps_c,
            eps_l=eps_l,
            delta=fixed,
            n_min=least,
            colluders=colluders,
        )

    found = sized(rounds)
    figures = _figures(found, eps_c, eps_l, sites, rounds, colluders)
    figures["n_min"], figures["sites"], figures["colluders"] = least, sites, colluders
    figures["other_rounds"] = [
        {"rounds": total, "noise_multiplier": sized(total).kind(GRADIENT).noise_multiplier}
        for total in sorted({max(1, rounds // 2), rounds, 2 * rounds})
        if rounds
    ]
    if json_file != "-":
        _print(figures)
    if json_file is not None:
        text = json.dumps(figures, indent=1, allow_nan=False) + "\n"
        if json_file == "-":
            sys.stdout.write(text)
        else:
            Path(json_file).write_text(text, encoding="utf-8")


def _kinds(head: str, statistics: str | None) -> tuple[list[str], dict[str, float]]:
    """The statistics of a head, or those that are named, and the shares of mu^2 of all kinds."""
    if head not in STATISTICS_OF_HEADS:
        heads = ", ".join(STATISTICS_OF_HEADS)
        raise InputError("--head", head, f"is none of {heads}", "name a known one")
    config = Config.model_validate({"model": {"head": head}})
    shares = {GRADIENT if k == ROUNDS else k: v for k, v in config.privacy.split.items()}
    if statistics is None:
        return list(config.model.statistics), shares
    names = [name for name in statistics.split(",") if name]
    known = (*STATISTICS_OF_HEADS[head], DEMAND)
    for name in names:
        if name not in known:
            raise InputError(
                "--statistics", name, f"is none of {', '.join(known)}", "name known ones"
            )
    return names, shares


def _least_survivors(sites: int, n_min: int | None) -> int:
    """n_min, given or by default, for a federation that one secure sum can hold."""
    if sites > LARGEST_ROSTER:
        raise InputError(
            "--sites",
            sites,
            f"is above {LARGEST_ROSTER}, the most that one secure sum takes",
            "plan for each of several federations, by region for example",
        )
    least = Config().resolved_n_min(sites) if n_min is None else n_min
    check_n_min("--n-min", least, sites)
    return least


def _figures(
    found: SizedPlan, eps_c: float, eps_l: float | None, sites: int, rounds: int, colluders: int
) -> dict[str, Any]:
    expected = found.expected(sites, colluders)
    kinds = []
    for entry in found.kinds:
        whole, one = found.price(entry.kind), found.price(entry.kind, 1)
        kinds.append(
            {
                "kind": entry.kind,
                "sampling_rate": entry.sampling_rate,
                "count": entry.count,
                "retries": entry.retries,
                "noise_multiplier": entry.noise_multiplier,
                "central_noise_multiplier": central_multiplier(
                    entry.noise_multiplier, found.honest
                ),
                "price": {"central": whole.eps_c, "local": whole.eps_l},
                "price_of_one": {"central": one.eps_c, "local": one.eps_l},
            }
        )
    statistics = found.price_of_all({entry.kind for entry in found.kinds} - {GRADIENT, EVALUATION})
    return {
        "delta": found.delta,
        "central": {
            "epsilon": expected.eps_c,
            "reserved_epsilon": found.eps_c,
            "cap": eps_c,
            "tpr_at_1pct_fpr": tpr_bound(found.eps_c, found.delta),
        },
        "local": {
            "epsilon": expected.eps_l,
            "reserved_epsilon": found.eps_l,
            "cap": eps_l,
            "tpr_at_1pct_fpr": tpr_bound(found.eps_l, found.delta),
        },
        "rounds": rounds,
        "rounds_affordable": found.rounds_affordable(eps_c, eps_l),
        "kinds": kinds,
        "statistics": {"central": statistics.eps_c, "local": statistics.eps_l},
        "warnings": list(found.warnings),
    }


def _print(figures: dict[str, Any]) -> None:
    console = Console()
    table = Table(
        title="noise of each kind, and what it adds to both epsilons: all of it / one",
        box=box.SIMPLE,
    )
    for column in ("kind", "q", "count", "sigma_L", "sigma_C", "eps_C", "eps_L"):
        table.add_column(column, justify="left" if column == "kind" else "right", no_wrap=True)
    for entry in figures["kinds"]:
        price, one = entry["price"], entry["price_of_one"]
        retries = f"+{entry['retries']}" if entry["retries"] else ""
        table.add_row(
            entry["kind"],
            f"{entry['sampling_rate']:g}",
            f"{entry['count']}{retries}",
            f"{entry['noise_multiplier']:.4g}",
            f"{entry['central_noise_multiplier']:.4g}",
            f"{price['central']:.3f} / {one['central']:.3f}",
            f"{price['local']:.3f} / {one['local']:.3f}",
        )
    console.print(table)
    typer.echo(
        f"{figures['sites']} sites, at least {figures['n_min']} survive, {figures['colluders']} "
        f"collude; delta {figures['delta']:g}"
    )
    for name in ("central", "local"):
        tier = figures[name]
        typer.echo(
            f"{name} epsilon: {tier['reserved_epsilon']:.3f} reserved with all retries, "
            f"{tier['epsilon']:.3f} if all sites survive and none is needed; a membership test "
            f"finds at most {100 * tier['tpr_at_1pct_fpr']:.1f} % at 1 % false positives"
        )
    statistics = figures["statistics"]
    typer.echo(
        f"all statistics together add {statistics['central']:.3f} to the central epsilon and "
        f"{statistics['local']:.3f} to the local one"
    )
    if figures["rounds"]:
        typer.echo(f"rounds affordable at this noise: {figures['rounds_affordable']}")
        typer.echo(
            "sigma_L of the rounds at other lengths: "
            + ", ".join(
                f"{each['rounds']} rounds {each['noise_multiplier']:.4g}"
                for each in figures["other_rounds"]
            )
        )
    for warning in figures["warnings"]:
        typer.echo(f"warning: {warning}")
