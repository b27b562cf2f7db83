"""A coordinator's folder: its configuration, keys and certificates, and whom it lets in.

coordinator.toml     what the operator decides
groundswell.toml     task, model, privacy and rounds, as for a simulation
keys/                coordinator.key, superexec.secret (0600)
tls/                 root and server certificate
trust/ca.public      the consortium's CA
catalogues/          NAME.catalogue, canonical bytes
members/NAME/        certificate and node key of each admitted site
runs/RUN/            plan, state, status and model of each run
flower/ logs/ state.json audit.jsonl mlflow.json
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from groundswell.server.run_folder import RunFolder
from groundswell.server.tls import TlsFiles
from groundswell.shared import armour
from groundswell.shared.blocks import check_together
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.identity import Certificate, SigningKey, Trust
from groundswell.shared.invitation import split_address
from groundswell.shared.wire import groundswell_pb2 as wire

SETTINGS_FILE = "coordinator.toml"
TASK_FILE = "groundswell.toml"

SLOT_SECONDS = 10.0  # of a new coordinator; a small site computes in less
_SETTINGS = """\
# What the coordinator's operator decides; the task, the model and the privacy terms stand in
# groundswell.toml beside this file.
address = "{address}"            # where sites connect; part of every invitation
listen = "{listen}"              # where the proxy for sites listens
superlink_port = {superlink_port}           # Flower's SuperLink, on loopback alone
metrics_port = {metrics_port}             # Prometheus, on loopback alone
gateway = "{gateway}"            # query gateway, HOST:PORT; empty: none
revocations = "{revocations}"    # the CA's current list; read anew in every round
mlflow = "{mlflow}"              # MLflow tracking URI for what runs release; empty: none
catalogues = {catalogues}             # names of those of one plan; empty: the newest alone

expected_sites = {sites}             # until sites are admitted
expected_users = {users}             # of all sites together, until then
data_from = "{data_from}"      # first day of the sites' data that is used
data_until = "{data_until}"            # last day; empty: yesterday
phase_seconds = {phase_seconds}            # who is silent for longer has dropped out
join_seconds = {join_seconds}             # how long a run waits for enough sites at its start
# A site sends its vector so long after the request, however long computing took, so that the time
# tells nothing of its users. More than the slowest site's slowest release takes (docs/privacy.md).
seconds_per_slot = {seconds_per_slot}
"""


class Settings(BaseModel):
    """``coordinator.toml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    listen: str
    superlink_port: int = Field(gt=0, lt=65536)
    metrics_port: int = Field(gt=0, lt=65536)
    gateway: str = ""
    revocations: Path
    mlflow: str = ""
    catalogues: tuple[str, ...] = ()
    expected_sites: int = Field(ge=2, le=128)
    expected_users: int = Field(ge=1)
    data_from: str
    data_until: str = ""
    phase_seconds: float = Field(default=600.0, gt=0)
    join_seconds: float = Field(default=600.0, ge=0)
    seconds_per_slot: float = Field(default=SLOT_SECONDS, ge=0)

    @field_validator("address", "listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        split_address(value)
        return value

    @field_validator("catalogues")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each catalogue stands once")
        return value

    @field_validator("mlflow")
    @classmethod
    def _holds_no_secret(cls, value: str) -> str:
        if "@" in value:
            raise ValueError("a tracking URI here may hold no password; see docs/operations.md")
        return value


@dataclass(frozen=True)
class Member:
    """An admitted site; ``node_key`` is its Flower node's public key (PEM file)."""

    certificate: Certificate
    node_key: Path


class Coordinator:
    """The coordinator in one folder.

    Raises:
        InputError: the folder holds none, or its configuration breaks a rule.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = _read_settings(folder / SETTINGS_FILE)
        self.tls = TlsFiles(folder / "tls")

    @classmethod
    def create(cls, folder: Path, *, settings: str, task: str, authority: Path) -> Coordinator:
        """Make the folder with fresh keys; ``settings`` and ``task`` are TOML texts.

        Raises:
            InputError: the folder holds a coordinator already, or ``authority`` is no public key.
        """
        if (folder / SETTINGS_FILE).exists():
            raise InputError(
                "DIR", str(folder), "holds a coordinator already", "name another folder"
            )
        public = armour.read_public_key(authority)
        for name in ("keys", "trust", "catalogues", "members", "runs", "logs", "flower"):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        armour.write_public_key(folder / "trust" / "ca.public", public)
        (folder / TASK_FILE).write_text(task)
        (folder / SETTINGS_FILE).write_text(settings)
        coordinator = cls(folder)
        SigningKey.generate().write(folder / "keys" / "coordinator.key")
        descriptor = os.open(
            coordinator.superexec_secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600
        )
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(secrets.token_bytes(32))
        coordinator.tls.create(split_address(coordinator.settings.address)[0])
        return coordinator

    @property
    def key(self) -> SigningKey:
        """The key that signs plans."""
        return SigningKey.read(self.folder / "keys" / "coordinator.key")

    @property
    def superexec_secret(self) -> Path:
        return self.folder / "keys" / "superexec.secret"

    @property
    def state_file(self) -> Path:
        return self.folder / "state.json"

    @property
    def flower_home(self) -> Path:
        return self.folder / "flower"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def trust(self) -> Trust:
        """The pinned keys, the coordinator's own among them."""
        authority = armour.read_public_key(self.folder / "trust" / "ca.public")
        return Trust(authority, self.key.public)

    def revocations(self) -> wire.Signed:
        """The CA's current list, as it stands on disk now."""
        path = self.settings.revocations
        return armour.read_signed(
            path if path.is_absolute() else self.folder / path, armour.REVOCATIONS
        )

    # --- catalogues -----------------------------------------------------------------------------

    def add_catalogue(self, catalogue: Catalogue) -> Path:
        """Keep a public catalogue.

        Raises:
            InputError: another catalogue has its name.
        """
        path = self.folder / "catalogues" / f"{catalogue.name}.catalogue"
        data = catalogue.canonical_bytes()
        if path.exists() and path.read_bytes() != data:
            raise InputError(
                "catalogue", catalogue.name, "is there already, with other contents", "rename it"
            )
        path.write_bytes(data)
        return path

    def catalogues(self) -> list[Catalogue]:
        """All kept catalogues, by name."""
        found = sorted((self.folder / "catalogues").glob("*.catalogue"))
        return [Catalogue.parse(path.read_bytes(), path.stem) for path in found]

    def catalogues_in_use(self) -> tuple[Catalogue, ...]:
        """Those that a plan holds: the ones that the settings name, or else the newest alone.

        Raises:
            InputError: there is none, or none of a name.
        """
        found = list((self.folder / "catalogues").glob("*.catalogue"))
        if not found:
            raise InputError(
                "catalogue",
                "",
                "the coordinator has none yet",
                "groundswell coordinator catalogue add FILE --label COLUMN",
            )
        newest = max(found, key=lambda each: (each.stat().st_mtime_ns, each.name))
        kept = {path.stem: path for path in found}
        names = self.settings.catalogues or (newest.stem,)
        for name in names:
            if name not in kept:
                raise InputError(
                    "catalogues", name, "no such catalogue was added", f"name of {sorted(kept)}"
                )
        used = tuple(Catalogue.parse(kept[name].read_bytes(), name) for name in names)
        check_together("catalogues", used)
        return used

    # --- members --------------------------------------------------------------------------------

    def admit(self, certificate: Path, node_key: Path) -> Member:
        """Keep a site's certificate and node key; a site that renews either is admitted again.

        Raises:
            InputError: the CA did not sign the certificate, or it is not valid now.
        """
        signed = armour.read_signed(certificate, armour.CERTIFICATE)
        try:
            read = self.trust.certificate(signed, int(time.time()))
        except Refusal as error:
            raise InputError(
                "certificate", str(certificate), error.rule, "have the CA approve the site"
            ) from error
        folder = self.folder / "members" / read.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(node_key, folder / "node.public")
        armour.write_signed(folder / "site.certificate", armour.CERTIFICATE, signed)
        return Member(read, folder / "node.public")

    def members(self) -> list[Member]:
        """All admitted sites whose certificates are valid and not revoked, by name."""
        now = int(time.time())
        trust = self.trust
        withdrawn = trust.revocations(self.revocations()).serials
        found = []
        for path in sorted((self.folder / "members").glob("*/site.certificate")):
            try:
                read = trust.certificate(armour.read_signed(path, armour.CERTIFICATE), now)
            except Refusal:
                continue
            if read.serial not in withdrawn:
                found.append(Member(read, path.with_name("node.public")))
        return found

    # --- runs -----------------------------------------------------------------------------------

    def run_folder(self, run: str) -> RunFolder:
        """The folder of one run."""
        return RunFolder(self.folder / "runs" / run)

    def runs(self) -> list[RunFolder]:
        """All runs, oldest first."""
        found = [path.parent for path in (self.folder / "runs").glob("*/plan.json")]
        return [
            RunFolder(path)
            for path in sorted(found, key=lambda each: (each / "plan.json").stat().st_mtime_ns)
        ]


def settings_text(
    *,
    address: str,
    revocations: Path,
    listen: str | None = None,
    superlink_port: int = 9091,
    metrics_port: int = 9464,
    gateway: str = "",
    mlflow: str = "",
    sites: int = 4,
    users: int = 1000,
    data_from: str = "2020-01-01",
    data_until: str = "",
    phase_seconds: float = 600.0,
    join_seconds: float = 600.0,
    seconds_per_slot: float = SLOT_SECONDS,
    catalogues: tuple[str, ...] = (),
) -> str:
    """The text of a new ``coordinator.toml``."""
    return _SETTINGS.format(
        address=address,
        listen=listen or f"0.0.0.0:{split_address(address)[1]}",
        superlink_port=superlink_port,
        metrics_port=metrics_port,
        gateway=gateway,
        mlflow=mlflow,
        catalogues=json.dumps(catalogues),
        revocations=revocations.absolute(),
        sites=sites,
        users=users,
        data_from=data_from,
        data_until=data_until,
        phase_seconds=phase_seconds,
        join_seconds=join_seconds,
        seconds_per_slot=seconds_per_slot,
    )


def _read_settings(path: Path) -> Settings:
    try:
        return Settings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(
            "DIR", str(path.parent), "holds no coordinator", "groundswell coordinator init"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            SETTINGS_FILE, str(path), f"is not TOML: {error}", "mend that line"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(key, first.get("input"), first["msg"], f"mend it in {path}") from error
