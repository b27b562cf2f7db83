"""``groundswell site``: a data site of a federation."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from groundswell.client.site import DATA_FILE, SITE_FILE, Site, SiteSettings
from groundswell.client.site_answers_cli import answers
from groundswell.client.site_plan_cli import backbones, plans
from groundswell.client.site_running import restart_vault, start_in_background, wait_until_up
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.invitation import Invitation
from groundswell.shared.supervision import (
    Supervisor,
    read_state,
    run_until_signalled,
    stop_supervisor,
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="A data site of a federation.\n\n"
    "Example: groundswell site init north --invite invitation.json --name north --merchant acme",
)
app.add_typer(plans, name="plan")
app.add_typer(backbones, name="backbone")
app.add_typer(answers)

Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="The site's folder.")]
JsonFile = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Figures; - is standard output.")
]
_HERE = Path("site")


@app.command()
def init(
    invite: Annotated[Path, typer.Option(metavar="FILE", help="From the coordinator.")],
    name: Annotated[str, typer.Option(help="Of the site: a-z 0-9 . _ -")],
    merchant: Annotated[str, typer.Option(help="Who runs the site.")],
    users: Annotated[int, typer.Option(min=1, help="The most users that it will have.")],
    folder: Folder = _HERE,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="groundswell.toml with [data].")
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option(help="As the coordinator told it; else it is only printed.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs that the policy pays for a year.")] = 1,
    runtime_port: Annotated[int, typer.Option(help="Of the SuperNode, on loopback.")] = 9094,
    metrics_port: Annotated[int, typer.Option(help="Of the metrics, on loopback.")] = 9465,
) -> None:
    """Make the folder: keys, pinned trust, and a policy that fits the proposed plan.

    Example: groundswell site init north --invite invitation.json --name north --merchant acme
    --users 12000 --config groundswell.toml
    """
    from groundswell.client.policy import SitePolicy
    from groundswell.client.supervisor import RelaySettings

    invitation = Invitation.read(invite)
    if fingerprint is not None and _digits(fingerprint) != _digits(invitation.fingerprint):
        raise InputError(
            "--fingerprint",
            fingerprint,
            "is not that of the invitation",
            "ask the coordinator's operator again, by another way than the file came",
        )
    try:
        settings = SiteSettings(
            name=name,
            merchant=merchant,
            users=users,
            address=invitation.address,
            runtime_port=runtime_port,
            metrics_port=metrics_port,
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise InputError(option, first.get("input"), first["msg"], "choose another") from error
    proposal = invitation.proposal()
    try:
        SitePolicy.for_plan(proposal).accept_plan(proposal)
    except Refusal as refusal:
        raise InputError(
            "--invite",
            invite.name,
            f"the proposed plan breaks its own terms ({refusal})",
            "ask the coordinator for another",
        ) from refusal
    policy = SitePolicy.for_plan(proposal, runs=runs)
    site = Site.create(folder.absolute(), settings, invitation, policy)
    RelaySettings.of(site).write(site.relay_keys)
    if config is not None:
        _copy_data_config(config, site.folder / DATA_FILE)
    typer.echo(f"site {name} in {folder}; invitation fingerprint {invitation.fingerprint}")
    if fingerprint is None:
        typer.echo("compare it with what the coordinator's operator says")
    typer.echo(
        f"caps of the site's policy, in {policy.window_days} days: eps_C {policy.eps_c:.2f}, eps_L "
        f"{policy.eps_l:.2f}"
    )
    typer.echo(f"read {folder / SITE_FILE}; then: groundswell site import {folder}")


@app.command("import")
def import_events(folder: Folder = _HERE, json_file: JsonFile = None) -> None:
    """Read the sources again and replace the prepared store; run it as often as you like.

    Every event counts once, however many files hold it; what is older than the history is dropped.

    Example: groundswell site import north
    """
    from groundswell.client.site_data import import_events as run_import

    site = Site.open(folder.absolute())
    report = run_import(site)
    manifest = site.store().manifest()
    figures = {
        "users": manifest.users,
        "events": manifest.events,
        "rejected": report.rejected,
        "quarantine": str(site.quarantine_file),
    }
    if not _wrote(json_file, figures):
        typer.echo(
            f"{manifest.events} events of {manifest.users} users; {report.rejected} rejected"
        )
        _restart_hint(site)


@app.command()
def check(folder: Folder = _HERE, json_file: JsonFile = None) -> None:
    """Say what is missing, and what the coordinator's plan would be refused for.

    Example: groundswell site check north
    """
    from groundswell.client.site_check import findings

    found = findings(Site.open(folder.absolute()))
    if not _wrote(json_file, {"findings": [vars(each) for each in found]}):
        for each in found:
            typer.echo(f"{'ok  ' if each.good else 'MEND'}  {each.subject}: {each.text}")
    if not all(each.good for each in found):
        raise typer.Exit(1)


@app.command()
def request(
    folder: Folder = _HERE,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the files go; default: [DIR].")
    ] = None,
) -> None:
    """Write the request for the consortium's CA, and the node key for the coordinator.

    Example: groundswell site request north
    """
    from groundswell.client import enrolment

    site = Site.open(folder.absolute())
    settings = site.settings
    made = enrolment.request(
        site.keys, name=settings.name, merchant=settings.merchant, users=settings.users
    )
    target = out or site.folder
    file, node = target / made.path.name, target / f"{settings.name}.node"
    shutil.copyfile(made.path, file)
    shutil.copyfile(site.relay_keys / "node.public", node)
    typer.echo(f"send {file} to the CA's operator and {node} to the coordinator's operator")
    typer.echo(f"tell the CA's operator by another way: fingerprint {made.fingerprint}")
    typer.echo(f"declared users (public): {made.declared_users}")


@app.command()
def certificate(
    file: Annotated[Path, typer.Argument(help="NAME-SERIAL.certificate from the CA.")],
    folder: Folder = _HERE,
) -> None:
    """Keep the certificate that the CA handed back; begins the ledger the first time.

    Example: groundswell site certificate north-1.certificate north
    """
    from groundswell.client import enrolment
    from groundswell.client.ledger import Ledger
    from groundswell.shared.identity import SigningKey

    site = Site.open(folder.absolute())
    first = not (site.keys / enrolment.CERTIFICATE_FILE).exists()
    own = enrolment.accept_certificate(site.keys, file, site.trust, int(time.time()))
    if first:
        key = SigningKey.read(site.keys / enrolment.KEY_FILE)
        Ledger.create(site.ledger_file, key, own.name, site.policy()).close()
    typer.echo(f"{own.name} is certified" + (f", in region {own.region}" if own.region else ""))


@app.command()
def up(
    folder: Folder = _HERE,
    detach: Annotated[bool, typer.Option(help="Return when everything serves.")] = False,
) -> None:
    """Run vault, SuperNode and relay, and restart what ends.

    Example: groundswell site up north --detach
    """
    from groundswell.client.ownership import hand_over
    from groundswell.client.site_metrics import serve_metrics
    from groundswell.client.supervisor import services
    from groundswell.shared.logs import configure_logging

    site = Site.open(folder.absolute())
    if detach:
        wait_until_up(site, start_in_background(site))
        typer.echo(f"{site.settings.name} is up")
        return
    configure_logging("site")
    hand_over(site)
    serve_metrics(site)
    run_until_signalled(Supervisor(services(site), site.state_file))


@app.command()
def down(folder: Folder = _HERE) -> None:
    """Stop everything that `up` started.

    Example: groundswell site down north
    """
    stopped = stop_supervisor(Site.open(folder.absolute()).state_file)
    typer.echo("stopped" if stopped else "was not running")


@app.command()
def status(folder: Folder = _HERE, json_file: JsonFile = None) -> None:
    """Show the site's processes and its ledger.

    Example: groundswell site status north --json -
    """
    from groundswell.client.site_check import status_figures

    figures = status_figures(Site.open(folder.absolute()))
    if _wrote(json_file, figures):
        return
    typer.echo(f"{figures['site']}: {figures['state']}, ledger row {figures['ledger_row']}")
    for name, each in figures["services"].items():
        typer.echo(f"  {name}: {each['state']}, {each['restarts']} restarts")


@app.command()
def logs(
    folder: Folder = _HERE,
    service: Annotated[str, typer.Option(help="vault, supernode, relay or supervisor.")] = "vault",
    lines: Annotated[int, typer.Option(min=1, help="From the end.")] = 50,
) -> None:
    """Print the end of a service's log.

    Example: groundswell site logs north --service relay
    """
    path = Site.open(folder.absolute()).logs / f"{service}.log"
    if not path.exists():
        raise InputError("--service", service, "has no log", "name vault, supernode or relay")
    typer.echo("\n".join(path.read_text(errors="replace").splitlines()[-lines:]))


@app.command()
def mock(
    out: Annotated[Path, typer.Option(metavar="FILE", help="CSV or Parquet to write.")],
    folder: Folder = _HERE,
    users: Annotated[int, typer.Option(min=1)] = 100,
    events: Annotated[int, typer.Option(min=1, help="Of each user.")] = 20,
) -> None:
    """Write rows that look like the site's sources, made from the schema and not from data.

    Example: groundswell site mock north --out mock.csv
    """
    from groundswell.client.site_data import mock_events

    frame = mock_events(Site.open(folder.absolute()), users, events)
    if out.suffix == ".parquet":
        frame.write_parquet(out)
    else:
        frame.write_csv(out)
    typer.echo(f"{len(frame)} rows of {users} invented users in {out}")


@app.command()
def forget(
    users: Annotated[list[str], typer.Argument(metavar="USER...", help="As in the sources.")],
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="The site's folder.")
    ] = _HERE,
) -> None:
    """Take users out of store and quarantine, now and in every later import.

    What earlier rounds released of them stays within its guarantee; see docs/privacy.md.

    Example: groundswell site forget 4711 --dir north
    """
    from groundswell.client.site_data import forget_users

    site = Site.open(folder.absolute())
    removed = forget_users(site, users)
    restart_vault(site)
    typer.echo(f"{removed} events and rejected rows removed")


@app.command()
def quarantine(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Parquet to write, in clear.")],
    folder: Folder = _HERE,
) -> None:
    """Write the rows that the last import rejected, with the reason of each: raw data.

    Example: groundswell site quarantine north --out rejected.parquet
    """
    from groundswell.client.site_data import rejected_rows

    rows = rejected_rows(Site.open(folder.absolute()))
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            rows.write_parquet(file)
    except OSError as error:
        raise InputError(
            "--out", str(out), f"can't be written ({error.strerror})", "name another file"
        ) from error
    typer.echo(f"{len(rows)} rejected rows in {out}")


# --- helpers --------------------------------------------------------------------------------------


def _restart_hint(site: Site) -> None:
    if read_state(site.state_file) is not None:
        restart_vault(site)
        typer.echo("the vault was started anew with it")


def _copy_data_config(source: Path, target: Path) -> None:
    """The [data] section with absolute paths: the site's folder is elsewhere than the file."""
    from groundswell.shared.config_file import load_config, toml_value

    data = load_config(source).config.data
    lines = [
        f"{key} = {text}"
        for key, value in dict(data).items()
        if (text := toml_value(value)) is not None
    ]
    target.write_text("\n".join(["[data]", *lines, ""]))


def _digits(text: str) -> str:
    return "".join(text.split()).lower()


def _wrote(json_file: str | None, figures: dict[str, Any]) -> bool:
    """Write figures where ``--json`` says; True where they went to standard output."""
    if json_file is None:
        return False
    text = json.dumps(figures, indent=1)
    if json_file == "-":
        typer.echo(text)
        return True
    Path(json_file).write_text(text + "\n")
    return False
