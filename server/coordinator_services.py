"""The processes of a running coordinator, in the order in which they start."""

from __future__ import annotations

import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from groundswell.server.bundle import write_bundle
from groundswell.server.coordinator import Coordinator
from groundswell.server.flower_commands import FlowerCommands, environment, program
from groundswell.shared.invitation import split_address
from groundswell.shared.supervision import Service

SUPERLINK = "superlink"
SUPEREXEC = "superexec"
PROXY = "proxy"
GATEWAY = "gateway"
METRICS = "metrics"
MLFLOW = "mlflow"

# How often SuperExec asks for a ServerApp to start; .01 to 60 s.
_TASK_POLL_SECONDS = "0.5"


def flower_of(coordinator: Coordinator) -> FlowerCommands:
    """Flower's commands against this coordinator's SuperLink."""
    address = f"127.0.0.1:{coordinator.settings.superlink_port}"
    return FlowerCommands(coordinator.flower_home, address, coordinator.tls.root)


def services(coordinator: Coordinator) -> list[Service]:
    """SuperLink, SuperExec, proxy, metrics; MLflow and the gateway where they are configured."""
    settings, tls = coordinator.settings, coordinator.tls
    surroundings = environment(coordinator.flower_home)
    port = str(settings.superlink_port)
    listen_host, listen_port = split_address(settings.listen)
    python = (sys.executable, "-m")

    def service(name: str, command: tuple[str, ...], ready: Callable[[], bool]) -> Service:
        return Service(name, command, coordinator.logs / f"{name}.log", surroundings, ready)

    found = [
        service(
            SUPERLINK,
            (
                program("flower-superlink"),
                *("--host", "127.0.0.1", "--port", port),
                *("--ssl-certfile", str(tls.certificate)),
                *("--ssl-keyfile", str(tls.key)),
                *("--ssl-ca-certfile", str(tls.root)),
                "--enable-supernode-auth",
                *("--isolation", "process"),
                *("--superexec-auth-secret-file", str(coordinator.superexec_secret)),
                *("--database", str(coordinator.flower_home / "superlink.sqlite")),
                "--disable-runtime-dependency-installation",
            ),
            lambda: listens(settings.superlink_port),
        ),
        Service(
            SUPEREXEC,
            (
                program("flower-superexec"),
                *("--runtime-api-address", f"127.0.0.1:{port}"),
                *("--root-certificates", str(tls.root)),
                *("--superexec-auth-secret-file", str(coordinator.superexec_secret)),
            ),
            coordinator.logs / f"{SUPEREXEC}.log",
            {**surroundings, "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": _TASK_POLL_SECONDS},
        ),
        service(
            PROXY,
            (
                *(*python, "groundswell.server.fleet_proxy"),
                *(listen_host, str(listen_port), port, str(tls.folder)),
            ),
            lambda: answers(f"https://127.0.0.1:{listen_port}/healthz", tls.root),
        ),
        service(
            METRICS,
            (*python, "groundswell.server.telemetry", str(coordinator.folder)),
            lambda: listens(settings.metrics_port),
        ),
    ]
    if settings.mlflow:
        command = (*python, "groundswell.server.mlflow_tracking", str(coordinator.folder))
        found.append(Service(MLFLOW, command, coordinator.logs / f"{MLFLOW}.log"))
    if settings.gateway:
        found.append(_gateway(coordinator))
    return found


def _gateway(coordinator: Coordinator) -> Service:
    """Serves the registry's champion; until there is a model it ends, and is started again."""
    host, port = split_address(coordinator.settings.gateway)
    command = [sys.executable, "-m", "groundswell", "serve"]
    command += ["--registry", str(coordinator.folder / "registry")]
    command += ["--coordinator", str(coordinator.folder), "--host", host, "--port", str(port)]
    if host not in ("127.0.0.1", "::1", "localhost"):
        tls = coordinator.tls
        command += ["--tls-cert", str(tls.certificate), "--tls-key", str(tls.key)]
    return Service(
        GATEWAY,
        tuple(command),
        coordinator.logs / f"{GATEWAY}.log",
        {"OMP_NUM_THREADS": "1"},
        lambda: listens(port),
        awaited=False,
    )


def bundle_of(coordinator: Coordinator) -> Path:
    """The deployment's bundle, written anew so that it fits the installed version."""
    return write_bundle(coordinator.flower_home / "bundle", {"folder": "", "run": ""})


def register_members(coordinator: Coordinator) -> list[str]:
    """Let every admitted site's node connect; returns the names of those that are new."""
    noted = coordinator.flower_home / "registered"
    noted.mkdir(exist_ok=True)
    flower = flower_of(coordinator)
    new = []
    for member in coordinator.members():
        mark = noted / member.certificate.name
        key = member.node_key.read_bytes()
        if mark.exists() and mark.read_bytes() == key:
            continue
        flower.register(member.node_key)
        mark.write_bytes(key)
        new.append(member.certificate.name)
    return new


def listens(port: int) -> bool:
    """Whether something listens on this port of the loopback address."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str, root: Path) -> bool:
    """Whether a service answers with success."""
    context = ssl.create_default_context(cafile=str(root))
    try:
        with urllib.request.urlopen(url, timeout=2.0, context=context) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
