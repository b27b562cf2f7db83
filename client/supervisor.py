"""The processes of a running data site: vault, SuperNode and relay, with what each may reach.

The vault's process gets the data and no network; the relay's processes get the network and, where
the site names two users or runs in containers, neither the data folder nor the keys nor the ledger.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from groundswell.client.site import Site
from groundswell.shared.flower_version import fits
from groundswell.shared.invitation import split_address
from groundswell.shared.logs import configure_logging
from groundswell.shared.supervision import Service, Supervisor, run_until_signalled

VAULT = "vault"
SUPERNODE = "supernode"
RELAY = "relay"

_QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True)
class RelaySettings:
    """All that the relay's processes have to know; stands beside the relay's keys.

    Attributes:
        address: of the coordinator; proxy: HTTP proxy for the way out, or empty.
        runtime_port: of the SuperNode, on loopback.
    """

    address: str
    runtime_port: int
    proxy: str = ""

    @classmethod
    def of(cls, site: Site) -> RelaySettings:
        """What a site's operator decided."""
        settings = site.settings
        return cls(settings.address, settings.runtime_port, settings.proxy)

    def write(self, relay_keys: Path) -> None:
        """Keep them beside the relay's keys."""
        (relay_keys / "relay.json").write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, relay_keys: Path) -> RelaySettings:
        """The inverse of ``write``."""
        return cls(**json.loads((relay_keys / "relay.json").read_bytes()))


def services(site: Site) -> list[Service]:
    """The vault first: a relay without one could only say that it is not there."""
    settings = site.settings
    RelaySettings.of(site).write(site.relay_keys)
    vault = Service(
        VAULT,
        (sys.executable, "-m", "groundswell.client.vault_process", str(site.folder)),
        site.logs / "vault.log",
        {**_QUIET, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        ready=lambda: _accepts(site.relay_socket),
        ready_seconds=180.0,
        user=settings.vault_user,
    )
    relay = relay_services(
        RelaySettings.of(site), site.relay_keys, site.relay_socket, site.logs, settings.relay_user
    )
    return [vault, *relay]


def relay_services(
    settings: RelaySettings,
    keys: Path,
    vault_socket: Path,
    logs: Path | None,
    user: str = "",
    *,
    warm: bool | None = None,
) -> list[Service]:
    """SuperNode and relay.

    Args:
        keys: folder of the relay's keys.
        logs: folder; None leaves the output where the supervisor's goes.
        user: Unix user of both.
        warm: whether the warm relay is used; by default where the installed Flower fits it.
    """
    warm = fits() if warm is None else warm
    surroundings = _flower_environment(settings, keys)
    secret = str(keys / "superexec.secret")
    options = (
        *("--superlink", settings.address),
        *("--root-certificates", str(keys / "root.pem")),
        *("--auth-supernode-private-key", str(keys / "node.key")),
        *("--port", str(settings.runtime_port)),
        *("--node-config", f'connector="unix" relay-socket="{vault_socket}"'),
    )
    module = (sys.executable, "-m", "groundswell.client.warm_relay")
    command: tuple[str, ...] = (str(Path(sys.executable).with_name("flower-supernode")), *options)
    if warm:
        isolation = ("--isolation", "process", "--superexec-auth-secret-file", secret)
        command = (*module, "supernode", *options, *isolation)
    supernode = Service(
        SUPERNODE,
        command,
        logs / "supernode.log" if logs else None,
        surroundings,
        ready=lambda: _listens(settings.runtime_port),
        user=user,
    )
    if not warm:
        return [supernode]
    worker = Service(
        RELAY,
        (*module, "worker", f"127.0.0.1:{settings.runtime_port}", secret),
        logs / "relay.log" if logs else None,
        surroundings,
        user=user,
    )
    return [supernode, worker]


def _flower_environment(settings: RelaySettings, keys: Path) -> dict[str, str]:
    """Flower's own folder is the relay's; the way out may lead through a proxy."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    home = os.environ.get("FLWR_HOME", str(keys / "flower"))
    found = {**_QUIET, "FLWR_HOME": home, "PATH": path}
    if settings.proxy:
        host, _ = split_address(settings.address)
        local = "" if host in ("127.0.0.1", "localhost") else "127.0.0.1,localhost"
        found |= {"HTTPS_PROXY": settings.proxy, "NO_PROXY": local}
    return found


def _accepts(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _listens(port: int) -> bool:
    """Whether something listens on this port of the loopback address."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main(arguments: list[str]) -> None:
    """``DIR``: run SuperNode and relay of the site whose ``relay`` and ``relay-keys`` lie there.

    For a container that has nothing else of the site; output goes to standard error.
    """
    (folder,) = map(Path, arguments)
    configure_logging("relay")
    keys = folder / "relay-keys"
    found = relay_services(RelaySettings.read(keys), keys, folder / "relay" / "relay.sock", None)
    supervisor = Supervisor(found, Path("/tmp/relay-state.json"))
    run_until_signalled(supervisor)


if __name__ == "__main__":
    main(sys.argv[1:])
