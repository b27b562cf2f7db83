"""``groundswell token``: who may ask the gateway, for what, how often and until when."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from groundswell.server.database import open_database
from groundswell.server.tokens import Scope, Tokens
from groundswell.shared.questions import utc_now

app = typer.Typer(no_args_is_help=True, help="API tokens. Example: groundswell token create shop")
Where = Annotated[
    str,
    typer.Option("--registry", envvar="GROUNDSWELL_REGISTRY", help="Folder or database URL."),
]
_DEFAULT = "runs/registry"


@app.command()
def create(
    name: str,
    registry: Where = _DEFAULT,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; default: ask for forecasts.")
    ] = None,
    days: Annotated[int, typer.Option(help="Life.")] = 90,
    per_minute: Annotated[int, typer.Option(help="Most requests a minute.")] = 600,
) -> None:
    """Make a token and print it, once: only its hash is kept.

    Example: groundswell token create shop --scope predict --scope trends --days 30
    """
    scopes = scope or [Scope.PREDICT, Scope.RECOMMEND, Scope.EXPLAIN, Scope.TRENDS, Scope.MODELS]
    made = tokens_of(registry).create(name, scopes, timedelta(days=days), per_minute, utc_now())
    typer.echo(made)


@app.command("list")
def list_tokens(registry: Where = _DEFAULT) -> None:
    """All tokens, without their secrets.

    Example: groundswell token list
    """
    table = Table("id", "name", "scopes", "per minute", "expires", "revoked")
    for each in tokens_of(registry).listing():
        table.add_row(*each.values())
    Console().print(table)


@app.command()
def revoke(identity: str, registry: Where = _DEFAULT) -> None:
    """End a token now.

    Example: groundswell token revoke 3fa2b19c0d41
    """
    tokens_of(registry).revoke(identity, utc_now())
    typer.echo(f"{identity} is revoked")


def tokens_of(registry: str) -> Tokens:
    """The tokens of a registry's database."""
    if "://" in registry:
        return Tokens(open_database(registry))
    folder = Path(registry).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return Tokens(open_database(f"sqlite:///{folder / 'registry.sqlite'}"))
