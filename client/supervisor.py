"""The processes of a running data site: vault, SuperNode and relay, with what each may reach.

The vault's process gets the data and no network; the relay's processes get the network and, where
the site names two users, neither the data folder nor the keys nor the ledger.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from groundswell.client.site import Site
from groundswell.shared.flower_version import fits
from groundswell.shared.invitation import split_address
from groundswell.shared.supervision import Service

VAULT = "vault"
SUPERNODE = "supernode"
RELAY = "relay"

_QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "HF_HUB_OFFLINE": "1",
}


def services(site: Site, *, warm: bool | None = None) -> list[Service]:
    """The vault first: a relay without one could only say that it is not there.

    Args:
        warm: whether the warm relay is used; by default where the installed Flower fits it.
    """
    warm = fits() if warm is None else warm
    python = (sys.executable, "-m")
    settings = site.settings
    folder = site.folder
    flower = _flower_environment(site)
    found = [
        Service(
            VAULT,
            (*python, "groundswell.client.vault_process", str(folder)),
            site.logs / "vault.log",
            {**_QUIET, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
            ready=lambda: _accepts(site.relay_socket),
            ready_seconds=180.0,
            user=settings.vault_user,
        ),
        Service(
            SUPERNODE,
            (*_supernode(warm), *_supernode_options(site, warm)),
            site.logs / "supernode.log",
            flower,
            ready=lambda: _listens(settings.runtime_port),
            user=settings.relay_user,
        ),
    ]
    if warm:
        secret = str(site.relay_keys / "superexec.secret")
        address = f"127.0.0.1:{settings.runtime_port}"
        found.append(
            Service(
                RELAY,
                (*python, "groundswell.client.warm_relay", "worker", address, secret),
                site.logs / "relay.log",
                flower,
                user=settings.relay_user,
            )
        )
    return found


def _supernode(warm: bool) -> tuple[str, ...]:
    if warm:
        return (sys.executable, "-m", "groundswell.client.warm_relay", "supernode")
    return (str(Path(sys.executable).with_name("flower-supernode")),)


def _supernode_options(site: Site, warm: bool) -> tuple[str, ...]:
    settings, keys = site.settings, site.relay_keys
    options = (
        *("--superlink", settings.address),
        *("--root-certificates", str(keys / "root.pem")),
        *("--auth-supernode-private-key", str(keys / "node.key")),
        *("--port", str(settings.runtime_port)),
        *("--node-config", f'connector="unix" relay-socket="{site.relay_socket}"'),
    )
    if not warm:
        return options
    secret = str(keys / "superexec.secret")
    return (*options, "--isolation", "process", "--superexec-auth-secret-file", secret)


def _flower_environment(site: Site) -> dict[str, str]:
    """Flower's own folder is the relay's; the way out may lead through a proxy."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = {**_QUIET, "FLWR_HOME": str(site.relay_keys / "flower"), "PATH": path}
    if site.settings.proxy:
        host, _ = split_address(site.settings.address)
        found |= {"HTTPS_PROXY": site.settings.proxy, "NO_PROXY": "127.0.0.1,localhost"}
        if host in ("127.0.0.1", "localhost"):
            found["NO_PROXY"] = ""
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
