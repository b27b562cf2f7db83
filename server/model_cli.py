"""``groundswell model``: the registry of model versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from groundswell.server.formats import Format
from groundswell.shared.questions import ModelVersion

if TYPE_CHECKING:
    from groundswell.server.registry import Registry

app = typer.Typer(no_args_is_help=True, help="Model versions. Example: groundswell model list")
_DEFAULT = "runs/registry"

Where = Annotated[
    str,
    typer.Option("--registry", envvar="GROUNDSWELL_REGISTRY", help="Folder or database URL."),
]
Files = Annotated[str | None, typer.Option(help="fsspec URL of the models' files.")]
Key = Annotated[Path | None, typer.Option(help="Signing key's file.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write here; - is standard output.")]


@app.command("list")
def list_versions(
    registry: Where = _DEFAULT, files: Files = None, key: Key = None, json_file: Json = None
) -> None:
    """All versions, newest first.

    Example: groundswell model list --registry runs/registry
    """
    found = _open(registry, files, key).listing()
    if json_file is not None:
        _write(found.model_dump_json(indent=1), json_file)
        return
    table = Table("version", "aliases", "created", "round", "eps central", "eps local", "ndcg@10")
    for each in found.models:
        table.add_row(
            each.version,
            ", ".join(each.aliases),
            f"{each.created:%Y-%m-%d %H:%M}" if each.created else "",
            "" if each.round is None else str(each.round),
            _number(each.privacy.central.epsilon),
            _number(each.privacy.local.epsilon),
            _number(each.metrics.get("ndcg@10"), 4),
        )
    Console().print(table)


@app.command()
def show(
    version: str,
    registry: Where = _DEFAULT,
    files: Files = None,
    key: Key = None,
    json_file: Json = None,
) -> None:
    """One version, whole: where it comes from, both epsilons, hashes.

    Example: groundswell model show champion
    """
    record = _open(registry, files, key).entry(version).record
    _write(json.dumps(record.model_dump(mode="json"), indent=1), json_file or Path("-"))


@app.command()
def add(
    model: Path,
    registry: Where = _DEFAULT,
    files: Files = None,
    key: Key = None,
    run: Annotated[str | None, typer.Option(help="Id of the run it comes from.")] = None,
    round_: Annotated[int | None, typer.Option("--round", help="Its last round.")] = None,
) -> None:
    """Add a model folder as the next version; the first becomes champion.

    Example: groundswell model add runs/demo/model
    """
    from groundswell.server.versions import Provenance

    added = _open(registry, files, key).add(model, Provenance(run=run, round=round_))
    _tell(added)


@app.command()
def promote(
    version: str,
    registry: Where = _DEFAULT,
    files: Files = None,
    key: Key = None,
    force: Annotated[bool, typer.Option(help="Past the quality gate.")] = False,
) -> None:
    """Make a version the champion, which answers by default.

    Example: groundswell model promote latest
    """
    _tell(_open(registry, files, key).promote(version, force=force))


@app.command()
def rollback(
    registry: Where = _DEFAULT,
    files: Files = None,
    key: Key = None,
    line: Annotated[
        str, typer.Option(metavar="NAME", help="Catalogue, where there are models of several.")
    ] = "",
) -> None:
    """Make the champion before this one the champion again.

    Example: groundswell model rollback
    """
    _tell(_open(registry, files, key).rollback(line))


@app.command()
def pull(
    version: str,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    registry: Where = _DEFAULT,
    files: Files = None,
    key: Key = None,
) -> None:
    """Copy a version, its signature and hashes checked.

    Example: groundswell model pull champion --out model
    """
    from groundswell.server import exports

    folder = _open(registry, files, key).folder(version)
    exports.export(folder, out, Format.FOLDER)
    typer.echo(f"{version} is in {out}")


@app.command()
def export(
    version: str,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    form: Annotated[Format, typer.Option("--format", help="In which form.")] = Format.PEFT,
    registry: Where = _DEFAULT,
    files: Files = None,
    key: Key = None,
) -> None:
    """Write a version as PEFT folder, ONNX, or in MLflow's layout; a model folder may be named too.

    Example: groundswell model export champion --format onnx --out onnx
    """
    from groundswell.server import exports

    named = Path(version)
    given = (named / "manifest.json").exists()
    folder = named if given else _open(registry, files, key).folder(version)
    exports.export(folder, out, form)
    typer.echo(f"{version} is in {out}")


def _open(registry: str, files: str | None, key: Path | None) -> Registry:
    from groundswell.server.registry import Registry

    return Registry.open(registry, files, key)


def _tell(version: ModelVersion) -> None:
    aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
    typer.echo(f"{version.version}{aliases}: {version.labels} labels, window {version.window}")


def _write(text: str, path: Path) -> None:
    if str(path) == "-":
        typer.echo(text)
    else:
        path.write_text(text + "\n", encoding="utf-8")


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"
