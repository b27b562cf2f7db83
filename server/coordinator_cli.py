"""``groundswell coordinator``: the coordinator of a federation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from groundswell.server import coordinator_running as running
from groundswell.server import run_folder
from groundswell.server.audit_log import AuditLog
from groundswell.server.coordinator import (
    SETTINGS_FILE,
    TASK_FILE,
    Coordinator,
    settings_text,
)
from groundswell.shared.errors import GroundswellError
from groundswell.shared.inputs import read_table
from groundswell.shared.invitation import split_address
from groundswell.shared.supervision import (
    Supervisor,
    read_state,
    run_until_signalled,
    stop_supervisor,
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The coordinator of a federation.\n\n"
    "Example: groundswell coordinator init fleet --address fleet.example.org:443 --ca ca",
)
catalogues = typer.Typer(
    no_args_is_help=True,
    help="The public catalogues.\n\n"
    "Example: groundswell coordinator catalogue add items.csv --label category fleet",
)
app.add_typer(catalogues, name="catalogue")

_DEMO = Path("runs/federation/coordinator")
_REGISTER_SECONDS = 5.0

Folder = Annotated[
    Path | None,
    typer.Argument(metavar="[DIR]", help="The coordinator's folder; default: the running demo."),
]
JsonFile = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Figures; - is standard output.")
]


def _open(folder: Path | None) -> Coordinator:
    if folder is not None:
        return Coordinator(folder.absolute())
    here = Path("coordinator")
    return Coordinator((here if (here / SETTINGS_FILE).exists() else _DEMO).absolute())


@app.command()
def init(
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where sites connect.")],
    ca: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with ca.public and revocations.list.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path("coordinator"),
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="groundswell.toml with task and terms.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the proxy listens.")
    ] = None,
    sites: Annotated[int, typer.Option(help="Sites expected.")] = 4,
    users: Annotated[int, typer.Option(help="Users expected, all sites together.")] = 1000,
    data_from: Annotated[str, typer.Option(metavar="DAY", help="First day used.")] = "2020-01-01",
    data_until: Annotated[str, typer.Option(metavar="DAY", help="Last day; empty: today.")] = "",
) -> None:
    """Make the folder: configuration, keys, TLS certificate.

    Example: groundswell coordinator init fleet --address fleet.example.org:443 --ca ca
    """
    split_address(address)
    task = config.read_text(encoding="utf-8") if config else ""
    text = settings_text(
        address=address,
        revocations=ca / "revocations.list",
        listen=listen,
        sites=sites,
        users=users,
        data_from=data_from,
        data_until=data_until,
    )
    made = Coordinator.create(folder, settings=text, task=task, authority=ca / "ca.public")
    AuditLog(made.folder / "audit.jsonl").write("created", address=address)
    typer.echo(f"coordinator in {folder}; edit {SETTINGS_FILE} and {TASK_FILE}, then:")
    typer.echo(f"groundswell coordinator catalogue add FILE --label COLUMN {folder}")


@catalogues.command("add")
def add_catalogue(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet, one row an item.")],
    label: Annotated[str, typer.Option(metavar="COLUMN", help="What is forecast.")],
    folder: Folder = None,
    item: Annotated[str | None, typer.Option(metavar="COLUMN", help="The item's key.")] = None,
    text: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Describes it.")] = None,
    group: Annotated[str | None, typer.Option(metavar="COLUMN", help="A coarser group.")] = None,
) -> None:
    """Add a public catalogue. The newest one is in use, or those that coordinator.toml names.

    Example: groundswell coordinator catalogue add items.csv --label category --text title fleet
    """
    from groundswell.shared.catalogue import Catalogue

    coordinator = _open(folder)
    table = read_table(file, "FILE")
    catalogue = Catalogue.from_table(
        table, name=file.stem, label=label, item=item, text=tuple(text or ()), group=group
    )
    path = coordinator.add_catalogue(catalogue)
    AuditLog(coordinator.folder / "audit.jsonl").write("catalogue", hash=catalogue.hash)
    typer.echo(f"{len(catalogue)} labels, hash {catalogue.hash}, in {path}")


@catalogues.command("list")
def list_catalogues(folder: Folder = None, json_file: JsonFile = None) -> None:
    """Show the catalogues.

    Example: groundswell coordinator catalogue list fleet
    """
    coordinator = _open(folder)
    in_use = {each.hash for each in coordinator.catalogues_in_use()}
    rows = [
        {
            "name": each.name,
            "labels": len(each),
            "hash": each.hash,
            "in_use": each.hash in in_use,
        }
        for each in coordinator.catalogues()
    ]
    if not _wrote(json_file, {"catalogues": rows}):
        for row in rows:
            used = ", in use" if row["in_use"] else ""
            typer.echo(f"{row['name']}: {row['labels']} labels, {row['hash']}{used}")


@app.command()
def invite(
    folder: Folder = None,
    out: Annotated[Path, typer.Option(metavar="FILE")] = Path("invitation.json"),
    catalogue: Annotated[
        str, typer.Option(metavar="NAME", help="The site's own, where several are in use.")
    ] = "",
) -> None:
    """Write the one file that a site needs: address, keys to trust, proposed plan, catalogue.

    Example: groundswell coordinator invite fleet --out invitation.json
    """
    from groundswell.server.coordinator_planning import Workshop, invitation

    coordinator = _open(folder)
    written = invitation(coordinator, Workshop.open(coordinator), catalogue)
    written.write(out)
    AuditLog(coordinator.folder / "audit.jsonl").write("invited", file=out.name)
    plan = written.proposal()
    typer.echo(f"{out}: {written.address}, plan {plan.hash().hex()[:16]}, for any number of sites")
    typer.echo(f"tell them by another way: fingerprint {written.fingerprint}")


@app.command()
def admit(
    certificate: Annotated[Path, typer.Argument(help="NAME-SERIAL.certificate from the CA.")],
    node_key: Annotated[Path, typer.Argument(metavar="NODE", help="NAME.node from the site.")],
    folder: Folder = None,
) -> None:
    """Let an approved site connect; also while a run goes on.

    Example: groundswell coordinator admit north-1.certificate north.node fleet
    """
    coordinator = _open(folder)
    member = coordinator.admit(certificate, node_key)
    AuditLog(coordinator.folder / "audit.jsonl").write("admitted", site=member.certificate.name)
    typer.echo(f"admitted {member.certificate.name}; {len(coordinator.members())} sites in all")


@app.command("renew-tls")
def renew_tls(folder: Folder = None) -> None:
    """A new server certificate under the same root; takes effect at the next `up`.

    Example: groundswell coordinator renew-tls fleet
    """
    coordinator = _open(folder)
    coordinator.tls.renew(split_address(coordinator.settings.address)[0])
    typer.echo(f"valid for {coordinator.tls.days_left():.0f} days")


@app.command()
def up(
    folder: Folder = None,
    detach: Annotated[bool, typer.Option(help="Return when everything serves.")] = False,
) -> None:
    """Run SuperLink, SuperExec, proxy and metrics, and restart what ends.

    Example: groundswell coordinator up fleet --detach
    """
    coordinator = _open(folder)
    if coordinator.settings.mlflow:
        from groundswell.server.mlflow_tracking import connect

        connect(coordinator.settings.mlflow)
    if detach:
        running.detach(coordinator)
        typer.echo(f"up at {coordinator.settings.address}")
        return
    from groundswell.server.coordinator_services import flower_of, services
    from groundswell.shared.logs import configure_logging

    configure_logging("coordinator")
    flower_of(coordinator).configure()
    audit = AuditLog(coordinator.folder / "audit.jsonl")
    audit.write("up")
    registering = running.Every(_REGISTER_SECONDS, lambda: running.register_new(coordinator, audit))
    run_until_signalled(Supervisor(services(coordinator), coordinator.state_file, registering.call))
    audit.write("down")


@app.command()
def down(folder: Folder = None) -> None:
    """Stop everything that `up` started.

    Example: groundswell coordinator down fleet
    """
    stopped = stop_supervisor(_open(folder).state_file)
    typer.echo("stopped" if stopped else "was not running")


@app.command()
def train(
    folder: Folder = None,
    rounds: Annotated[
        int | None, typer.Option(min=0, help="Instead of the configuration's; 0: refresh.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the newest run.")] = False,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="MODEL", help="A released model to begin with.")
    ] = None,
    region: Annotated[
        str, typer.Option(metavar="NAME", help="Only release the demand of this region's sites.")
    ] = "",
    detach: Annotated[bool, typer.Option(help="Return once the run has started.")] = False,
) -> None:
    """Train a model; returns 0 when it is finished, 1 when the run paused or failed.

    Example: groundswell coordinator train fleet --rounds 40
    """
    coordinator = _open(folder)
    if read_state(coordinator.state_file) is None:
        raise GroundswellError("the coordinator does not run; start it with `coordinator up`")
    if resume:
        run = running.newest_run(coordinator)
    else:
        run = running.new_run(coordinator, rounds, start, region)
    running.launch(coordinator, run)
    if detach:
        typer.echo(f"run {run.name}")
        return
    if running.follow(run, typer.echo).state != run_folder.FINISHED:
        raise typer.Exit(1)


@app.command()
def stop(folder: Folder = None) -> None:
    """Pause the newest run after the attempt in hand; `train --resume` goes on.

    Example: groundswell coordinator stop fleet
    """
    run = running.newest_run(_open(folder))
    run.ask_to_stop()
    typer.echo(f"run {run.name} stops after the attempt in hand")


@app.command()
def status(folder: Folder = None, json_file: JsonFile = None) -> None:
    """Show the newest run, and every site's state.

    Example: groundswell coordinator status fleet --json -
    """
    coordinator = _open(folder)
    figures = running.status_figures(coordinator)
    if _wrote(json_file, figures):
        return
    reason = f" ({figures['reason']})" if figures["reason"] else ""
    typer.echo(f"{figures['state']}, round {figures['round']} of {figures['rounds']}{reason}")
    for site in figures["sites"]:
        typer.echo(f"  {site['name']}: {site['state']}, ledger row {site['ledger_row']}")


@app.command("runs")
def list_runs(folder: Folder = None, json_file: JsonFile = None) -> None:
    """Show all runs.

    Example: groundswell coordinator runs fleet
    """
    rows = []
    for run in _open(folder).runs():
        found = run.status()
        rows.append({"run": run.name, "state": found.state, "round": found.round})
    if not _wrote(json_file, {"runs": rows}):
        for row in rows:
            typer.echo(f"{row['run']}: {row['state']}, round {row['round']}")


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
