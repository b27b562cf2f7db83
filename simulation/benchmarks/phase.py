"""``groundswell bench phase``: one message phase on loopback, ours against stock Flower.

Both sides run the same SuperLink, the same SuperNodes and the same relay in front of a trivial
vault that echoes. Ours has the warm worker and the paced polls; stock has Flower's defaults.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc

from groundswell.client.sockets import listen
from groundswell.server.bundle import write_bundle
from groundswell.server.flower_commands import FlowerCommands, environment, program
from groundswell.shared.errors import GroundswellError
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.benchmarks.machine import machine
from groundswell.simulation.processes import free_port, python_module, running

_START_SECONDS = 90.0
_RUN_SECONDS = 420.0
_SERVICE = wire.DESCRIPTOR.services_by_name["Vault"].full_name
_PHASE_APP = "groundswell.simulation.benchmarks.phase_app:app"


def run(nodes: int = 2, phases: int = 5, payload: int = 65_536) -> dict[str, Any]:
    """Measure both sides.

    Args:
        nodes: SuperNodes that answer every phase.
        phases: timed ones; the first one of each side is not counted.
        payload: bytes to each node and back.

    Returns:
        The benchmark's JSON: median seconds a phase, ours and stock Flower's.

    Raises:
        GroundswellError: a run did not end; the message holds the end of its log.
    """
    cases = [_case(mode, nodes, phases, payload) for mode in ("ours", "stock")]
    ours, stock = (float(statistics.median(case["seconds"])) for case in cases)
    return {
        "name": "phase",
        "machine": machine(),
        "ours": ours,
        "peer": stock,
        "unit": "s",
        "ratio": stock / ours,
        "higher_is_better": False,
        "equal": all(case["equal"] for case in cases),
        "peer_name": "stock Flower",
        "peer_version": version("flwr"),
        "cases": cases,
    }


def _case(mode: str, nodes: int, phases: int, payload: int) -> dict[str, Any]:
    # Not under the default folder of temporary files: a Unix socket's path is short by law.
    folder = Path(tempfile.mkdtemp(prefix="gs-phase-", dir="/tmp"))
    try:
        result = _measure(folder, mode, nodes, phases, payload)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"mode": mode, "nodes": nodes, "payload": payload, **result}


def _measure(folder: Path, mode: str, nodes: int, phases: int, payload: int) -> dict[str, Any]:
    port = free_port()
    flower = FlowerCommands(folder / "home", f"127.0.0.1:{port}", None)
    flower.configure()
    bundle = write_bundle(
        folder / "bundle",
        dict.fromkeys(("mode", "nodes", "phases", "payload", "out"), ""),
        server_app=_PHASE_APP,
    )
    surroundings = environment(folder / "home")
    with ExitStack() as stack:
        link = [program("flower-superlink"), "--insecure", "--port", str(port)]
        stack.enter_context(running(link, folder / "superlink.log", surroundings))
        _wait_listening(port)
        for number in range(nodes):
            relay = folder / f"{number}" / "relay.sock"
            stack.enter_context(_echo(relay))
            for name, command in _node(mode, folder, number, port, relay).items():
                log = folder / f"{name}-{number}.log"
                stack.enter_context(running(command, log, surroundings))
        out = folder / "result.json"
        flower.run(
            bundle,
            {
                "mode": mode,
                "nodes": str(nodes),
                "phases": str(phases),
                "payload": str(payload),
                "out": str(out),
            },
        )
        deadline = time.monotonic() + _RUN_SECONDS
        while not out.exists():
            if time.monotonic() > deadline:
                tail = (folder / "superlink.log").read_text()[-1500:]
                raise GroundswellError(f"the {mode} run did not end: {tail}")
            time.sleep(0.2)
        time.sleep(0.2)
        result: dict[str, Any] = json.loads(out.read_text())
        return result


def _node(mode: str, folder: Path, number: int, port: int, relay: Path) -> dict[str, list[str]]:
    """The commands of one node, by name."""
    runtime = free_port()
    options = ["--insecure", "--superlink", f"127.0.0.1:{port}", "--port", str(runtime)]
    options += ["--node-config", f'relay-socket="{relay}"']
    if mode == "stock":
        return {"supernode": [program("flower-supernode"), *options]}
    secret = folder / f"secret-{number}"
    secret.write_bytes(secrets.token_bytes(32))
    options += ["--isolation", "process", "--superexec-auth-secret-file", str(secret)]
    module = python_module("groundswell.client.warm_relay")
    return {
        "supernode": [*module, "supernode", *options],
        "worker": [*module, "worker", f"127.0.0.1:{runtime}", str(secret)],
    }


@contextmanager
def _echo(path: Path) -> Iterator[None]:
    """A vault that answers with what it was asked."""

    def register(server: grpc.Server) -> None:
        method = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
        handler = grpc.method_handlers_generic_handler(_SERVICE, {"Handle": method})
        server.add_generic_rpc_handlers((handler,))

    server = listen(path, register, group=None, workers=1)
    try:
        yield
    finally:
        server.stop(None).wait()


def _wait_listening(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise GroundswellError("the SuperLink did not start")
