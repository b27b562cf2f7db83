"""``groundswell site model | score | audience | trends | explain``: free answers.

They come from the vault, over the local socket, and concern the site's own users alone.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from groundswell.client.local_times import check_time
from groundswell.client.site import Site
from groundswell.client.site_running import restart_vault
from groundswell.shared.errors import InputError, Refusal

answers = typer.Typer()

Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="The site's folder.")]
At = Annotated[
    str | None, typer.Option(metavar="TIME", help="ISO 8601; default: just after the last event.")
]
_HERE = Path("site")
_COLUMNS = {"user": str, "label": str, "probability": float, "lift": float, "trend": str}


@answers.command("model")
def set_model(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A released model's folder.")],
    folder: Folder = _HERE,
) -> None:
    """Use a released model for the shop's own answers.

    Example: groundswell site model runs/demo/model north
    """
    from groundswell.client.site_model import use_model

    site = Site.open(folder.absolute())
    use_model(site, model)
    restart_vault(site)
    typer.echo(f"model of {folder} replaced; a running vault starts anew with it, in some seconds")


@answers.command()
def score(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Parquet or CSV to write.")],
    folder: Folder = _HERE,
    at: At = None,
    top: Annotated[int, typer.Option(min=0, help="Labels of a user; 0: all.")] = 0,
) -> None:
    """Score every own user: user (pseudonym), label, probability, lift, trend.

    Example: groundswell site score north --out scores.parquet --top 10
    """
    import polars as pl

    _check_out(out)
    time = _microseconds(at)
    rows: list[dict[str, Any]] = []
    with _client(folder) as client:
        for user in client.score(time, top or None):
            rows += [
                {
                    "user": user.user,
                    "label": each.label,
                    "probability": each.probability,
                    "lift": each.lift,
                    "trend": each.trend,
                }
                for each in user.interests
            ]
    frame = pl.DataFrame(rows, schema=_COLUMNS)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        if out.suffix == ".csv":
            frame.write_csv(part)
        else:
            frame.write_parquet(part)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    typer.echo(f"{len(frame)} rows in {out}")


@answers.command()
def audience(
    label: Annotated[str, typer.Option(help="As in the catalogue.")],
    folder: Folder = _HERE,
    top: Annotated[int, typer.Option(min=1, help="Users.")] = 100,
    at: At = None,
) -> None:
    """The own users for whom a label is most probable.

    Example: groundswell site audience north --label "COFFEE" --top 1000
    """
    with _client(folder) as client:
        answer = client.audience(label, top, _microseconds(at))
    for each in answer.members:
        typer.echo(f"{each.user}\t{each.probability:.5f}\t{each.lift:.3f}")


@answers.command()
def trends(
    folder: Folder = _HERE,
    label: Annotated[list[str] | None, typer.Option(help="Default: all labels.")] = None,
    windows: Annotated[
        int | None, typer.Option(min=1, help="Past windows to learn from; default: all.")
    ] = None,
    lead: Annotated[int, typer.Option(min=1, max=4, help="Windows until a restock arrives.")] = 2,
    action: Annotated[str | None, typer.Option(help="As search; default: all weighed.")] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Promotions, past and coming: CSV or Parquet with label, from, to, share.",
        ),
    ] = None,
    at: At = None,
) -> None:
    """What rises, what to restock and what fades, from the site's own exact counts.

    Example: groundswell site trends north --label "COFFEE" --plan mailer.csv
    """
    from groundswell.client.promotion_file import read_promotions

    promotions = read_promotions(plan) if plan is not None else ()
    with _client(folder) as client:
        found = client.trends(
            tuple(label or ()), windows, lead, _microseconds(at), action, promotions
        )
    for each in found:
        typer.echo(json.dumps(each.model_dump(mode="json")))


@answers.command()
def explain(
    user: Annotated[str, typer.Argument(help="As in the sources.")],
    folder: Folder = _HERE,
    label: Annotated[str | None, typer.Option(help="Default: the most probable one.")] = None,
    at: At = None,
) -> None:
    """Which of a user's past events made a forecast.

    Example: groundswell site explain 4711 north --label "COFFEE"
    """
    from groundswell.client.pseudonyms import pseudonym

    site = Site.open(folder.absolute())
    name = pseudonym(user, site.data_key().pseudonym_key)
    with _client(folder) as client:
        try:
            answer = client.explain(name, label, _microseconds(at))
        except Refusal as refusal:
            if refusal.code != "not-found":
                raise
            rule = "the site's store holds no such user"
            remedy = "name one as in the sources, with events"
            raise InputError("USER", user, rule, remedy) from refusal
    typer.echo(json.dumps(answer.model_dump(mode="json"), indent=1))


def _check_out(out: Path) -> None:
    """Before users are scored, which takes long."""
    if out.suffix not in (".parquet", ".csv"):
        rule = "is written as Parquet or CSV"
        raise InputError("--out", str(out), rule, "name a file that ends in .parquet or .csv")
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        rule = "can't be written: its folder is not there or not yours to write in"
        raise InputError("--out", str(out), rule, "name a file in a folder that you may write in")


def _client(folder: Path) -> Any:
    from groundswell.client.local_client import LocalClient

    return LocalClient(Site.open(folder.absolute()).local_socket)


def _microseconds(at: str | None) -> int | None:
    if at is None:
        return None
    try:
        moment = datetime.fromisoformat(at)
    except ValueError as error:
        raise InputError("--at", at, "is no time", "write it like 2026-01-31T12:00") from error
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return check_time(round(zoned.timestamp() * 1_000_000), "--at", at)
