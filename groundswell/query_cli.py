"""``groundswell query``: the command line's client of a gateway."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from groundswell.query_client import Client
from groundswell.shared.errors import InputError
from groundswell.shared.questions import Answer, Privacy

app = typer.Typer(no_args_is_help=True, help="Ask a gateway. Example: query predict --typed '...'")
_DEFAULT_URL = "http://127.0.0.1:8080"

Url = Annotated[
    str, typer.Option(envvar="GROUNDSWELL_URL", help="The gateway's address.", show_default=True)
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="File that holds the token; else the variable GROUNDSWELL_TOKEN."),
]
EventsFile = Annotated[
    Path | None, typer.Option("--events", help="JSON list of events; - is standard input.")
]
Typed = Annotated[
    str | None, typer.Option(help="A history in words: 'bought coffee; viewed kettle 2 days ago'.")
]
At = Annotated[datetime | None, typer.Option(help="Beginning of the forecast, UTC.")]
Top = Annotated[int, typer.Option(min=1, max=1000, help="Most lines.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the answer here; - is stdout.")]
ModelName = Annotated[str | None, typer.Option("--model", help="Version or alias.")]


class Method(StrEnum):
    """How an explanation is made."""

    SHAPLEY = "shapley"
    LIME = "lime"


@app.command()
def predict(
    url: Url = _DEFAULT_URL,
    token_file: TokenFile = None,
    events: EventsFile = None,
    typed: Typed = None,
    at: At = None,
    window: Annotated[str | None, typer.Option(help="Must be the model's own.")] = None,
    top: Top = 10,
    model: ModelName = None,
    json_file: Json = None,
) -> None:
    """What will this shopper turn to?

    Example: groundswell query predict --typed "bought coffee; viewed kettle" --top 5
    """
    with _client(url, token_file) as client:
        found, now = _events(client, events, typed)
        answer = client.predict(found, at=at or now, window=window, top=top, model=model)
    if _written(answer, json_file):
        return
    table = Table("interest", "probability", "lift", "trend", title=_title(answer.basis))
    for each in answer.interests:
        table.add_row(each.label, f"{each.probability:.3f}", f"{each.lift:.2f}", each.trend)
    _show(table, answer.privacy)


@app.command()
def recommend(
    url: Url = _DEFAULT_URL,
    token_file: TokenFile = None,
    events: EventsFile = None,
    typed: Typed = None,
    at: At = None,
    top: Top = 10,
    label: Annotated[list[str] | None, typer.Option(help="Only items of these labels.")] = None,
    only_new: Annotated[bool, typer.Option(help="Only items outside the history.")] = False,
    only_rising: Annotated[bool, typer.Option(help="Only rising interests.")] = False,
    json_file: Json = None,
) -> None:
    """Which items fit this shopper?

    Example: groundswell query recommend --typed "bought coffee" --only-new
    """
    filters = {"labels": label or [], "only_new": only_new, "only_rising": only_rising}
    with _client(url, token_file) as client:
        found, now = _events(client, events, typed)
        answer = client.recommend(found, at=at or now, top=top, **filters)
    if _written(answer, json_file):
        return
    table = Table("item", "of", "score", "why", title=_title(answer.basis))
    for each in answer.items:
        table.add_row(each.item, each.label, f"{each.score:.4f}", each.reason)
    _show(table, answer.privacy)


@app.command()
def explain(
    url: Url = _DEFAULT_URL,
    token_file: TokenFile = None,
    events: EventsFile = None,
    typed: Typed = None,
    at: At = None,
    label: Annotated[str | None, typer.Option(help="Default: the most probable.")] = None,
    method: Annotated[Method, typer.Option(help="How.")] = Method.SHAPLEY,
    json_file: Json = None,
) -> None:
    """Which past events made the forecast?

    Example: groundswell query explain --typed "bought coffee; bought coffee 8 days ago"
    """
    with _client(url, token_file) as client:
        found, now = _events(client, events, typed)
        answer = client.explain(found, at=at or now, label=label, method=method.value)
    if _written(answer, json_file):
        return
    title = f"{answer.label}: {answer.probability:.3f}, without any history {answer.baseline:.3f}"
    table = Table("when", "event", "adds", title=title, caption=answer.habit.words)
    for each in answer.contributions:
        many = f" (and {each.events - 1} more)" if each.events > 1 else ""
        when = f"{each.time:%Y-%m-%d}"
        table.add_row(when, f"{each.action} {each.what}{many}", f"{each.contribution:+.3f}")
    _show(table, answer.privacy)


@app.command()
def trends(
    url: Url = _DEFAULT_URL,
    token_file: TokenFile = None,
    label: Annotated[list[str] | None, typer.Option(help="Only these labels.")] = None,
    region: Annotated[str | None, typer.Option(help="A region of its own.")] = None,
    action: Annotated[str | None, typer.Option(help="As search; default: all actions.")] = None,
    lead: Annotated[int, typer.Option(min=1, max=4, help="Windows until a restock arrives.")] = 2,
    top: Top = 20,
    model: ModelName = None,
    json_file: Json = None,
) -> None:
    """How does demand move over the sites?

    Example: groundswell query trends --label COFFEE
    """
    with _client(url, token_file) as client:
        answer = client.trends(
            label or (), region=region, action=action, top=top, lead=lead, model=model
        )
    if _written(answer, json_file):
        return
    by = f", {answer.action} alone" if answer.action else ""
    title = f"as of {answer.as_of:%Y-%m-%d}{by}, {answer.unit}"
    table = Table("label", "trend", "P50", "P90", "surge", "restock", title=title)
    for each in answer.trends:
        if not each.resolvable:
            table.add_row(each.label, "not resolvable", "", "", "", "")
            continue
        first = each.horizons[0]
        surge = "" if each.surge is None else f"{each.surge:.2f}"
        restock = "" if each.restock is None else f"{each.restock:.0f}"
        table.add_row(
            each.label, each.trend, f"{first.p50:.0f}", f"{first.p90:.0f}", surge, restock
        )
    _show(table, answer.privacy)


@app.command()
def models(url: Url = _DEFAULT_URL, token_file: TokenFile = None, json_file: Json = None) -> None:
    """Which versions can be asked?

    Example: groundswell query models
    """
    with _client(url, token_file) as client:
        answer = client.models()
    if _written(answer, json_file):
        return
    table = Table("version", "aliases", "labels", "window", "eps central", "eps local")
    for each in answer.models:
        central, local = each.privacy.central.epsilon, each.privacy.local.epsilon
        table.add_row(
            each.version,
            ", ".join(each.aliases),
            str(each.labels),
            each.window,
            _number(central),
            _number(local),
        )
    Console().print(table)


def _client(url: str, token_file: Path | None) -> Client:
    token = os.environ.get("GROUNDSWELL_TOKEN")
    if token_file is not None:
        try:
            token = token_file.read_text("utf-8").strip()
        except OSError as error:
            raise InputError(
                "--token-file", str(token_file), f"can't be read ({error.strerror})", "check it"
            ) from error
    return Client(url, token)


def _events(
    client: Client, path: Path | None, typed: str | None
) -> tuple[list[dict[str, Any]], datetime | None]:
    """The events, and the time that typed ones were read at."""
    if typed is not None:
        understood = client.understand(typed)
        if understood.unread:
            typer.echo(
                f"the model hardly knows the script of: {', '.join(understood.unread)}; one with a "
                "multilingual backbone would",
                err=True,
            )
        typed_events = [each.model_dump(exclude={"similarity"}) for each in understood.events]
        return typed_events, understood.now
    if path is None:
        return [], None
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
        found = json.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(
            "--events", str(path), f"is no JSON file ({error})", "give a list of events"
        ) from error
    events = found.get("events") if isinstance(found, dict) else found
    if not isinstance(events, list) or not all(isinstance(each, dict) for each in events):
        raise InputError("--events", str(path), "holds no list of events", "give a list of events")
    return events, None


def _written(answer: Answer, path: Path | None) -> bool:
    if path is None:
        return False
    text = answer.model_dump_json(indent=1)
    if str(path) == "-":
        typer.echo(text)
    else:
        path.write_text(text + "\n", encoding="utf-8")
    return True


def _show(table: Table, privacy: Privacy) -> None:
    console = Console()
    console.print(table)
    central, local = privacy.central, privacy.local
    if central.epsilon is None and local.epsilon is None:
        console.print("privacy: none; the model was trained without, for comparison only")
        return
    console.print(
        f"privacy: central epsilon {_number(central.epsilon)}, local {_number(local.epsilon)}"
        f", delta {central.delta}"
    )
    if local.note:
        console.print(local.note)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _title(basis: str) -> str:
    return "from the history" if basis == "history" else "without history: the prior"
