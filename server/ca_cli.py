"""``groundswell ca``: the consortium's certificates."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from groundswell.server.ca import CERTIFICATES, LIST_FILE, PUBLIC_FILE, Authority
from groundswell.shared.identity import fingerprint

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The consortium's certificates.\n\nExample: groundswell ca init --dir ca",
)

Folder = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Folder of the CA.")]
ListDays = Annotated[
    int, typer.Option("--list-days", min=1, max=366, help="Days until the revocation list expires.")
]
JsonFile = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Figures; - is standard output.")
]


@app.command("init")
def init(folder: Folder = Path("ca"), list_days: ListDays = 30) -> None:
    """Make the CA's key and an empty revocation list.

    Example: groundswell ca init --dir ca
    """
    authority = Authority.create(folder, now=_now(), days=list_days)
    typer.echo(f"CA in {folder}; fingerprint {authority.fingerprint}")
    typer.echo(f"hand {folder / PUBLIC_FILE} and {folder / LIST_FILE} to the coordinator and sites")


@app.command("approve")
def approve(
    request: Annotated[Path, typer.Argument(help="The file that the site sent.")],
    expected: Annotated[
        str,
        typer.Option(
            "--fingerprint", help="Of the site's key, as the site told it by another way."
        ),
    ],
    folder: Folder = Path("ca"),
    days: Annotated[int, typer.Option(min=1, max=3660, help="Days of validity.")] = 365,
    region: Annotated[
        str, typer.Option(metavar="NAME", help="Whose own trends the site is part of; none else.")
    ] = "",
) -> None:
    """Certify a site whose fingerprint you have compared.

    Example: groundswell ca approve north.request --fingerprint "a6d1 09f2 ..."
    """
    certificate, path = Authority(folder).approve(
        request, expected, now=_now(), days=days, region=region
    )
    place = f" in region {certificate.region}" if certificate.region else ""
    typer.echo(
        f"certificate {certificate.serial}: site {certificate.name} of merchant "
        f"{certificate.merchant}{place}, {certificate.declared_users} declared users, in {path}"
    )


@app.command("list")
def list_certificates(folder: Folder = Path("ca"), json_file: JsonFile = None) -> None:
    """Show every certificate and whether it is valid.

    Example: groundswell ca list --dir ca --json -
    """
    authority = Authority(folder)
    now = _now()
    rows = [
        {
            "serial": entry.certificate.serial,
            "site": entry.certificate.name,
            "merchant": entry.certificate.merchant,
            "region": entry.certificate.region,
            "declared_users": entry.certificate.declared_users,
            "state": entry.state(now),
            "not_after": _day(entry.certificate.not_after),
            "fingerprint": fingerprint(entry.certificate.public_key),
        }
        for entry in authority.entries()
    ]
    figures = {"revocation_list": authority.list_number(), "certificates": rows}
    if json_file == "-":
        typer.echo(json.dumps(figures, indent=1))
        return
    if json_file is not None:
        Path(json_file).write_text(json.dumps(figures, indent=1) + "\n")
    typer.echo(f"revocation list {authority.list_number()}; {len(rows)} certificates")
    for row in rows:
        region = f", {row['region']}" if row["region"] else ""
        typer.echo(
            f"{row['serial']:>4}  {row['state']:<9}  {row['site']} ({row['merchant']}{region}, "
            f"{row['declared_users']} users) until {row['not_after']}  {row['fingerprint']}"
        )


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="The site's name.")],
    folder: Folder = Path("ca"),
    list_days: ListDays = 30,
) -> None:
    """Withdraw a site's certificate and publish the next revocation list.

    Example: groundswell ca revoke north
    """
    serials = Authority(folder).revoke(name, now=_now(), days=list_days)
    typer.echo(f"revoked certificate {', '.join(map(str, serials))} of {name}")
    typer.echo(f"hand {folder / LIST_FILE} to the coordinator; certificates in {CERTIFICATES}/")


@app.command("publish")
def publish(folder: Folder = Path("ca"), list_days: ListDays = 30) -> None:
    """Sign the revocation list anew before it expires.

    Example: groundswell ca publish --list-days 30
    """
    listed = Authority(folder).publish(now=_now(), days=list_days)
    typer.echo(
        f"revocation list {listed.number}: {len(listed.serials)} certificates, until "
        f"{_day(listed.expires_at)}; hand {folder / LIST_FILE} to the coordinator"
    )


def _now() -> int:
    return int(time.time())


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
