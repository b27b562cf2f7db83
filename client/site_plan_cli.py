"""``groundswell site plan`` and ``site backbone``: what a site agrees to work with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from groundswell.client.site import SITE_FILE, Site
from groundswell.client.site_running import restart_vault
from groundswell.shared.errors import InputError
from groundswell.shared.plan import Plan

plans = typer.Typer(
    no_args_is_help=True,
    help="The plans that the coordinator sent.\n\nExample: groundswell site plan show north",
)
backbones = typer.Typer(
    no_args_is_help=True,
    help="The site's language model.\n\nExample: groundswell site backbone add FOLDER north",
)

Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="The site's folder.")]
_HERE = Path("site")


@backbones.command("add")
def add_backbone(
    model: Annotated[Path, typer.Argument(metavar="FOLDER", help="A Hugging Face model folder.")],
    folder: Folder = _HERE,
) -> None:
    """Use a language model from a folder, if it is the one that the plan names.

    Example: groundswell site backbone add /srv/models/all-MiniLM-L6-v2 north
    """
    from groundswell.shared.backbone import load_backbone

    site = Site.open(folder.absolute())
    found = load_backbone(str(model.absolute()))
    allowed = site.policy().backbone_hashes
    if found.hash not in allowed:
        raise InputError(
            "FOLDER",
            str(model),
            f"has the hash {found.hash}, which the policy does not allow",
            "name the folder of the plan's backbone, or add the hash to [policy].backbone_hashes",
        )
    _set_backbone(site, model.absolute())
    typer.echo(f"backbone {found.hash[:16]} in {model}")


@plans.command("show")
def show_plan(
    folder: Folder = _HERE,
    plan: Annotated[str | None, typer.Option(metavar="HASH", help="Default: the newest.")] = None,
) -> None:
    """Print a plan.

    Example: groundswell site plan show north
    """
    site = Site.open(folder.absolute())
    typer.echo(json.dumps(_plan(site, plan).model_dump(mode="json"), indent=1))


@plans.command("diff")
def diff_plan(
    folder: Folder = _HERE,
    plan: Annotated[str | None, typer.Option(metavar="HASH", help="Default: the newest.")] = None,
) -> None:
    """Print what a plan changes against the proposal that the policy was made for.

    Example: groundswell site plan diff north
    """
    from groundswell.client.site_check import plan_changes

    site = Site.open(folder.absolute())
    changes = plan_changes(site.proposal(), _plan(site, plan))
    typer.echo("\n".join(changes) or "nothing but the run's own name")


@plans.command("accept")
def accept_plan(
    plan: Annotated[str, typer.Argument(metavar="HASH", help="The plan's hash, or its beginning.")],
    folder: Folder = _HERE,
) -> None:
    """Accept a plan by its hash, where the policy asks for that.

    Example: groundswell site plan accept 3f6c09d2 north
    """
    site = Site.open(folder.absolute())
    found = _plan(site, plan)
    site.accept(found.hash().hex())
    restart_vault(site)
    typer.echo(f"accepted {found.hash().hex()}")


def _plan(site: Site, wanted: str | None) -> Plan:
    found = [site.proposal(), *site.plans()]
    if wanted is None:
        return found[-1]
    matching = [plan for plan in found if plan.hash().hex().startswith(wanted.lower())]
    if len({plan.hash() for plan in matching}) != 1:
        raise InputError(
            "HASH", wanted, f"fits {len(matching)} plans", "see `groundswell site plan show`"
        )
    return matching[0]


def _set_backbone(site: Site, folder: Path) -> None:
    from groundswell.shared.config_file import toml_value

    path = site.folder / SITE_FILE
    lines = path.read_text().splitlines()
    changed = [
        f"backbone = {toml_value(str(folder))}" if line.startswith("backbone =") else line
        for line in lines
    ]
    path.write_text("\n".join(changed) + "\n")
