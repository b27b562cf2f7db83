"""A data site's folder: its configuration, keys, trust, store and ledger.

site.toml            [site] and [policy]: what the site's operator decides
groundswell.toml     [data]: where events come from
keys/                site.key, site.certificate, data.key (0700, the vault's)
relay-keys/          node.key, node.public, superexec.secret, root.pem (the relay's)
trust/               ca.public, coordinator.public
catalogue/           NAME.catalogue, canonical bytes
proposal.json        the plan that the invitation proposes
store/               prepared events, encrypted;  quarantine, encrypted, beside it
ledger.sqlite
relay/relay.sock     local/local.sock
plans/ logs/ state.json audit.jsonl
"""

from __future__ import annotations

import os
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from groundswell.shared import armour
from groundswell.shared.errors import InputError
from groundswell.shared.identity import Trust, is_name
from groundswell.shared.invitation import Invitation, split_address
from groundswell.shared.plan import Plan

if TYPE_CHECKING:
    # Imported where they are used: the supervisor needs neither torch nor polars.
    from groundswell.client.policy import SitePolicy
    from groundswell.client.pseudonyms import SiteKey
    from groundswell.client.store import Store
    from groundswell.shared.catalogue import Catalogue
    from groundswell.shared.task import Task

SITE_FILE = "site.toml"
DATA_FILE = "groundswell.toml"

_SITE = """\
# What this site's operator decides. The server can't widen any of it.
[site]
name = {name}
merchant = {merchant}            # who runs it; sites of one merchant count as colluding
users = {users}              # the most users it will have; made public, rounded up
address = {address}          # of the coordinator
backbone = {backbone}        # folder of the language model; empty: the packaged one
runtime_port = {runtime_port}        # Flower's SuperNode, on loopback alone
metrics_port = {metrics_port}        # Prometheus, on loopback alone
relay_user = {relay_user}          # runs SuperNode and relay; empty: the same user as the vault
vault_user = {vault_user}          # runs the vault; empty: whoever starts the site
callers_group = {callers_group}       # may ask for scores of the shop's own users; empty: own group
proxy = {proxy}               # HTTP proxy for the way out, http://HOST:PORT; empty: none

# The site's own rules; see docs/privacy.md. `groundswell site check` tells what the menu costs.
[policy]
"""


class SiteSettings(BaseModel):
    """The table ``[site]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    merchant: str
    users: int = Field(ge=1)
    address: str
    backbone: str = ""
    runtime_port: int = Field(default=9094, gt=0, lt=65536)
    metrics_port: int = Field(default=9465, gt=0, lt=65536)
    relay_user: str = ""
    vault_user: str = ""
    callers_group: str = ""
    proxy: str = ""

    @field_validator("name", "merchant")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not is_name(value):
            raise ValueError("must be 1 to 63 of a-z 0-9 . _ -")
        return value

    @field_validator("address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        split_address(value)
        return value


@dataclass(frozen=True)
class Site:
    """A site's folder; its members are read when they are asked for."""

    folder: Path
    settings: SiteSettings

    @classmethod
    def open(cls, folder: Path) -> Site:
        """Read the folder.

        Raises:
            InputError: it holds no site, or its configuration breaks a rule.
        """
        path = folder / SITE_FILE
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            return cls(folder, SiteSettings.model_validate(table["site"]))
        except OSError as error:
            raise InputError(
                "DIR", str(folder), "holds no data site", "groundswell site init"
            ) from error
        except (tomllib.TOMLDecodeError, KeyError) as error:
            raise InputError(SITE_FILE, str(path), f"can't be read: {error}", "mend it") from error
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in ("site", *first["loc"]))
            raise InputError(key, first.get("input"), first["msg"], f"mend it in {path}") from error

    @classmethod
    def create(
        cls, folder: Path, settings: SiteSettings, invitation: Invitation, policy: SitePolicy
    ) -> Site:
        """Make the folder with fresh keys.

        Raises:
            InputError: the folder holds a site already; nothing is overwritten.
        """
        from groundswell.client.pseudonyms import load_site_key

        if (folder / SITE_FILE).exists() or (folder / "keys").exists():
            raise InputError("DIR", str(folder), "holds a data site already", "name another folder")
        site = cls(folder, settings)
        # A volume of its own in a container: its group is the relay's, and files take that over.
        given = site.relay_keys.exists()
        for path, mode in (
            (site.keys, 0o700),
            (site.relay_keys, 0o750),
            (folder / "trust", 0o755),
            (folder / "catalogue", 0o755),
            (folder / "plans", 0o700),
            (folder / "store", 0o700),
            (site.logs, 0o700),
        ):
            if not path.exists():
                path.mkdir(parents=True)
                path.chmod(mode)
        armour.write_public_key(folder / "trust" / "ca.public", invitation.authority)
        armour.write_public_key(folder / "trust" / "coordinator.public", invitation.coordinator)
        (site.relay_keys / "root.pem").write_text(invitation.tls_root)
        (folder / "proposal.json").write_bytes(invitation.plan)
        catalogue = folder / "catalogue" / f"{invitation.catalogue_name}.catalogue"
        catalogue.write_bytes(invitation.catalogue)
        load_site_key(site.keys / "data.key", create=True)
        mode = 0o640 if given else 0o600
        make_node_key(site.relay_keys, mode)
        write_secret(site.relay_keys / "superexec.secret", secrets.token_bytes(32), mode)
        (folder / SITE_FILE).write_text(_site_text(settings, policy))
        return site

    # --- where things are -----------------------------------------------------------------------

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def relay_keys(self) -> Path:
        return self.folder / "relay-keys"

    @property
    def relay_socket(self) -> Path:
        return self.folder / "relay" / "relay.sock"

    @property
    def local_socket(self) -> Path:
        return self.folder / "local" / "local.sock"

    @property
    def ledger_file(self) -> Path:
        return self.folder / "ledger.sqlite"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def quarantine_file(self) -> Path:
        """Rows that the last import set aside, sealed under the site's key."""
        return self.folder / "quarantine"

    @property
    def state_file(self) -> Path:
        return self.folder / "state.json"

    @property
    def model_folder(self) -> Path:
        """The released model that the site's own callers are answered with."""
        return self.folder / "model"

    @property
    def metrics_file(self) -> Path:
        return self.folder / "local" / "vault.prom"

    # --- what stands there ----------------------------------------------------------------------

    @property
    def trust(self) -> Trust:
        """The keys pinned at ``site init``."""
        return Trust(
            armour.read_public_key(self.folder / "trust" / "ca.public"),
            armour.read_public_key(self.folder / "trust" / "coordinator.public"),
        )

    def policy(self) -> SitePolicy:
        """The site's rules, with the plans that were accepted by hand."""
        from groundswell.client.policy import SitePolicy

        policy = SitePolicy.load(self.folder / SITE_FILE)
        accepted = (*policy.accepted_plans, *self.accepted_plans())
        return policy.model_copy(update={"accepted_plans": accepted})

    def accepted_plans(self) -> tuple[str, ...]:
        """Hashes (hex) of the plans that ``site plan accept`` named."""
        path = self.folder / "plans" / "accepted"
        return tuple(path.read_text().split()) if path.exists() else ()

    def accept(self, plan_hash: str) -> None:
        """Add a plan to the accepted ones."""
        with (self.folder / "plans" / "accepted").open("a") as opened:
            opened.write(f"{plan_hash}\n")

    def proposal(self) -> Plan:
        """The plan that came with the invitation."""
        return Plan.parse((self.folder / "proposal.json").read_bytes())

    def plans(self) -> list[Plan]:
        """Every plan that the coordinator sent, oldest first."""
        found = sorted(
            (self.folder / "plans").glob("*.json"), key=lambda path: path.stat().st_mtime_ns
        )
        return [Plan.parse(path.read_bytes()) for path in found]

    def catalogue(self) -> Catalogue:
        """The public catalogue."""
        from groundswell.shared.catalogue import Catalogue

        (path,) = (self.folder / "catalogue").glob("*.catalogue")
        return Catalogue.parse(path.read_bytes(), path.stem)

    def task(self) -> Task:
        """What is forecast, as the invitation says."""
        from groundswell.shared.task import Task

        return Task.model_validate(self.proposal().task)

    def data_key(self) -> SiteKey:
        """The key of pseudonyms and store."""
        from groundswell.client.pseudonyms import load_site_key

        return load_site_key(self.keys / "data.key")

    def store(self) -> Store:
        """The prepared store."""
        from groundswell.client.store import Store

        return Store(self.folder / "store", self.data_key().store_key)


def _site_text(settings: SiteSettings, policy: SitePolicy) -> str:
    from groundswell.shared.config_file import toml_value

    values = {key: toml_value(value) for key, value in settings.model_dump().items()}
    lines = [_SITE.format(**values)]
    entries = []
    for key, value in policy.model_dump(mode="json", exclude_none=True).items():
        if key != "menu":
            lines.append(f"{key} = {toml_value(value)}\n")
    for entry in policy.model_dump(mode="json", exclude_none=True)["menu"]:
        pairs = "".join(f"{key} = {toml_value(value)}\n" for key, value in entry.items())
        entries.append(f"\n[[policy.menu]]\n{pairs}")
    return "".join(lines + entries)


def make_node_key(folder: Path, mode: int = 0o600) -> None:
    """The key by which Flower knows the site's node: EC P-384, OpenSSH format."""
    key = ec.generate_private_key(ec.SECP384R1())
    write_secret(
        folder / "node.key",
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        ),
        mode,
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    (folder / "node.public").write_bytes(public + b"\n")


def write_secret(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file that must not exist yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())
