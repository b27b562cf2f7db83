"""The ``audit`` command."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from groundswell.shared.errors import InputError
from groundswell.simulation.audit_rehearsal import Rehearsal, rehearse

app = typer.Typer(add_completion=False)


@app.command()
def audit(
    broken: Annotated[
        str | None,
        typer.Option("--break", help="Break one part to see it caught: 'noise' leaves noise out."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the rehearsal.")] = 0,
    rounds: Annotated[int, typer.Option(min=3, help="Rounds of the rehearsal.")] = 30,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Figures; - is standard output.")
    ] = None,
) -> None:
    """Audit the privacy mechanism on a rehearsal; exit code 1 when something is caught.

    Example: groundswell audit --break noise --json -
    """
    if broken not in (None, "noise"):
        raise InputError("--break", broken, "only 'noise' can be broken", "use --break noise")
    report = rehearse(Rehearsal(rounds=rounds), seed, broken=broken)
    figures = {**asdict(report), "line": report.line, "seeded": True}
    if json_file == "-":
        typer.echo(json.dumps(figures, indent=1))
    else:
        typer.echo(report.line)
        typer.echo(f"noise is {report.noise_ratio:.4f} of what is claimed")
        typer.echo(f"membership by loss: AUC {report.membership_auc:.3f} (informational)")
        for reason in report.reasons:
            typer.echo(f"CAUGHT: {reason}")
        typer.echo("rehearsal: seeded, not a release")
        if json_file is not None:
            Path(json_file).write_text(json.dumps(figures, indent=1) + "\n")
    if report.caught:
        raise typer.Exit(1)
