"""``groundswell ledger``: what a site has released, its cost, and whether the record is whole."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from groundswell.client.ledger import Ledger, verify
from groundswell.client.ledger_file import read_records
from groundswell.client.ledger_heads import Verdict, check_all, find_ledgers, read_heads
from groundswell.client.ledger_report import Report, report
from groundswell.client.ledger_rows import Opened
from groundswell.client.policy import SitePolicy
from groundswell.shared.errors import InputError, LedgerError
from groundswell.shared.identity import SigningKey
from groundswell.shared.roster import Head

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Every release and what it cost."
)

DEMO = Path("runs/demo")
# More findings than this say nothing new about one file.
MOST_PROBLEMS = 20

_COLUMNS = (
    "row", "time", "kind", "round", "attempt", "q", "C", "sigma_L", "sigma_C", "survivors",
    "eps_C", "eps_L",
)  # fmt: skip
_WIDE = 100  # characters from which every column has room
_WIDE_ALONE = ("attempt", "q", "C")

PathArgument = Annotated[
    Path, typer.Argument(metavar="PATH", help="A ledger.sqlite, or a run with ledgers below it.")
]
JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the figures; - is stdout.")
]
HeadsOption = Annotated[
    Path | None, typer.Option("--heads", metavar="FILE", help="Heads that others have seen.")
]


@app.command()
def show(path: PathArgument = DEMO, json_file: JsonOption = None) -> None:
    """Print every release, and both epsilons of the window and of all time.

    Example: groundswell ledger show runs/demo/sites/site-1/ledger.sqlite
    """
    reports = []
    for file in find_ledgers(path):
        checked = verify(file)
        if checked.problems:
            raise LedgerError(
                f"ledger {file}: {checked.problems[0]}; run groundswell ledger verify"
            )
        reports.append(report(checked))
    if json_file != "-":
        for each in reports:
            _print_report(each)
    _write_json(json_file, {"ledgers": [each.as_json() for each in reports]})


@app.command("verify")
def verify_command(
    path: PathArgument = DEMO, heads: HeadsOption = None, json_file: JsonOption = None
) -> None:
    """Check ledgers: any changed, missing or moved row; with heads, a lost tail too.

    Of a run, heads.json is used where there is one. Exit code 1 where anything is wrong.

    Example: groundswell ledger verify runs/demo
    """
    verdicts = check_all(path, heads)
    if json_file != "-":
        for verdict in verdicts:
            _print_verdict(verdict)
    sound = not any(verdict.problems for verdict in verdicts)
    _write_json(json_file, {"ok": sound, "ledgers": [_verdict_json(each) for each in verdicts]})
    if not sound:
        raise typer.Exit(1)


@app.command()
def export(
    path: PathArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="A .csv or .json file, or - for JSON.")
    ] = Path("-"),
) -> None:
    """Write every row with its hash and signature, so that others can check them.

    Example: groundswell ledger export site/ledger.sqlite --out ledger.csv
    """
    rows = []
    for file in find_ledgers(path):
        for record in read_records(file):
            body = json.loads(record.body)
            rows.append(
                {
                    "ledger": str(file),
                    "row": record.number,
                    "type": body.get("type"),
                    "body": record.body,
                    "hash": record.hash.hex(),
                    "signature": record.signature.hex(),
                }
            )
    if str(out) == "-":
        json.dump(rows, sys.stdout, indent=1)
        sys.stdout.write("\n")
    elif out.suffix == ".json":
        out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    elif out.suffix == ".csv":
        with out.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, rows[0].keys() if rows else [])
            writer.writeheader()
            writer.writerows(rows)
    else:
        raise InputError("--out", str(out), "must end in .csv or .json", "name such a file")


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The ledger from the backup.")],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The site's key file.")],
    heads: HeadsOption = None,
    highest_seq: Annotated[
        int, typer.Option(min=0, help="The highest attempt that the coordinator knows of.")
    ] = 0,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The site's site.toml: for a backup without a window."),
    ] = None,
) -> None:
    """Take a ledger from a backup into use: what it may have lost is charged in full.

    No event is paid for until the next budget window begins. Ask the coordinator for its heads
    file and the highest attempt, or its peers will refuse the restored ledger.

    Example: groundswell ledger restore site/ledger.sqlite --key site/site.key --heads heads.json
    """
    find_ledgers(path)
    known: Head | None = None
    if heads is not None:
        opened = next((row for _, row in verify(path).rows if isinstance(row, Opened)), None)
        seen = read_heads(heads).get(opened.site if opened else "")
        if seen is None:
            raise InputError(
                "--heads", str(heads), "knows nothing of this ledger's site", "name another file"
            )
        known = seen.head
    rules = None if policy is None else SitePolicy.load(policy)
    ledger = Ledger.open(path, SigningKey.read(key), rules)
    ledger.restore(known, highest_seq)
    typer.echo(
        f"{path}: row {ledger.head().row} charges the rest of the window; "
        f"local epsilon is now {ledger.spend().local.epsilon:.3f}"
    )
    ledger.close()


def _print_report(found: Report) -> None:
    """All columns where there is room; a narrow terminal goes without what ``--json`` has too."""
    console = Console()
    title = f"{found.site}: {len(found.events)} releases, each by itself"
    table = Table(title=title, box=None, padding=(0, 1, 0, 0))
    narrow = console.width < _WIDE
    shown = [
        number for number, column in enumerate(_COLUMNS) if not (narrow and column in _WIDE_ALONE)
    ]
    for number in shown:
        name = _COLUMNS[number]
        justify: Literal["left", "right"] = "left" if name in ("time", "kind") else "right"
        table.add_column(name, justify=justify, no_wrap=True)
    for event in found.events:
        cells = (
            str(event.row),
            datetime.fromtimestamp(event.time, UTC).strftime("%Y-%m-%d %H:%M"),
            event.kind,
            str(event.round),
            str(event.seq),
            f"{event.q:g}",
            f"{event.clip_norm:g}",
            f"{event.sigma_l:.4g}",
            f"{event.sigma_c:.4g}",
            str(event.survivors) if event.survivors else event.state,
            f"{event.alone.central:.4f}",
            f"{event.alone.local:.4f}",
        )
        table.add_row(*(cells[number] for number in shown))
    console.print(table)
    for line in found.lines():
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_verdict(verdict: Verdict) -> None:
    if not verdict.problems and verdict.checked is not None:
        tail = "" if verdict.tail_checked else "; tail not checkable without heads"
        typer.echo(f"{verdict.site}: sound, {verdict.checked.head.row} rows{tail}")
        return
    for problem in verdict.problems[:MOST_PROBLEMS]:
        typer.echo(f"{verdict.site}: {problem}")
    if len(verdict.problems) > MOST_PROBLEMS:
        typer.echo(f"{verdict.site}: and {len(verdict.problems) - MOST_PROBLEMS} findings more")


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    head = verdict.checked.head if verdict.checked else None
    return {
        "site": verdict.site,
        "path": str(verdict.path),
        "head": {"row": head.row, "hash": head.hash.hex()} if head else None,
        "tail_checked": verdict.tail_checked,
        "problems": list(verdict.problems),
    }


def _write_json(target: str | None, figures: dict[str, Any]) -> None:
    if target is None:
        return
    text = json.dumps(figures, indent=1, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        Path(target).write_text(text, encoding="utf-8")
