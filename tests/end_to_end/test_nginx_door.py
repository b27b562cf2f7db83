"""nginx with the configuration of the compose files is the door of a federation: all four sites
connect through it and train, and it lets nothing else in. Needs the program: apt-get install nginx.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from groundswell.server import run_folder
from groundswell.server.coordinator import Coordinator
from groundswell.shared.plan import GRADIENT
from groundswell.simulation.demo import ROUNDS, SITES, DemoFederation, Hosts
from groundswell.simulation.processes import free_port, running

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
CONFIGURATION = Path(__file__).parents[2] / "docker" / "nginx.conf"

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(NGINX is None, reason="there is no nginx: apt-get install nginx"),
]


def configured(coordinator: Coordinator, port: int, folder: Path) -> Path:
    """The compose files' configuration, with this machine's paths and ports in their places."""
    text = CONFIGURATION.read_text()
    for old, new in {
        "/tmp/": f"{folder}/",  # first: the other paths lie below it
        "/coordinator/": f"{coordinator.folder}/",
        "listen 8443": f"listen 127.0.0.1:{port}",
        "127.0.0.1:9091": f"127.0.0.1:{coordinator.settings.superlink_port}",
    }.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "nginx.conf"
    path.write_text(text)
    return path


def command(*arguments: str) -> list[str]:
    assert NGINX is not None
    return [NGINX, *arguments]


@contextmanager
def nginx(file: Path) -> Iterator[None]:
    """nginx in the foreground for the time of the block; ``running`` ends it by its id."""
    foreground = command("-c", str(file), "-g", "daemon off;")
    with running(foreground, file.with_name("nginx.log"), {}):
        yield


@pytest.fixture(scope="module")
def federation() -> Iterator[tuple[DemoFederation, str]]:
    """A federation whose sites know nginx's address alone, and how its run ended."""
    # nginx's workers may be another user, who must be able to enter the folder.
    folder = Path(tempfile.mkdtemp(prefix="gs-", dir="/tmp"))
    folder.chmod(0o711)
    lines: list[str] = []
    port = free_port()
    hosts = Hosts(coordinator=f"127.0.0.1:{port}", listen=f"127.0.0.1:{free_port()}")
    demo = DemoFederation.build(
        folder / "fed", lines.append, statistics=("popularity",), hosts=hosts
    )
    file = configured(demo.coordinator, port, folder)
    try:
        with nginx(file):
            demo.up(lines.append)
            yield demo, demo.train(lines.append).state
    finally:
        demo.down()
        shutil.rmtree(folder, ignore_errors=True)


def ask(demo: DemoFederation, method: str, path: str) -> int:
    """The status that nginx answers with; the path goes out as it stands here."""
    host, port = demo.coordinator.settings.address.split(":")
    context = ssl.create_default_context(cafile=str(demo.coordinator.tls.root))
    connection = http.client.HTTPSConnection(host, int(port), timeout=30, context=context)
    try:
        body = b"" if method == "POST" else None
        connection.request(method, path, body, {"Content-Type": "application/protobuf"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_nginx_accepts_the_configuration(federation: tuple[DemoFederation, str]) -> None:
    demo, _ = federation
    file = demo.folder.parent / "nginx.conf"
    done = subprocess.run(
        command("-t", "-c", str(file)), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_four_sites_train_through_it(federation: tuple[DemoFederation, str]) -> None:
    demo, state = federation
    assert state == run_folder.FINISHED
    closed = demo.closed(GRADIENT)
    assert len(closed) == SITES
    assert set(closed.values()) == {ROUNDS}
    # They had no other way: the coordinator's own proxy listens elsewhere.
    assert demo.coordinator.settings.listen != demo.coordinator.settings.address
    assert {site.settings.address for site in demo.sites} == {demo.coordinator.settings.address}


def test_the_fleet_path_reaches_the_superlink_and_no_other_path_does(
    federation: tuple[DemoFederation, str],
) -> None:
    demo, _ = federation
    assert ask(demo, "GET", "/healthz") == 200
    # The SuperLink itself refuses whoever does not sign.
    assert ask(demo, "POST", "/v1/fleet/pull-messages") == 401
    for path in (
        *("/v1/control/start-run", "/v1/runtime/acquire-task", "/health", "/"),
        *("/v1/fleet/../control/start-run", "/v1/fleet/%2e%2e/control/start-run"),
        *("/v1/fleet//control/start-run", "/v1/fleet/a/b", "/v1/fleet/pull-messages?x=1"),
        *("/v1//control/start-run", "/v1/fleet/pull%2dmessages", "/V1/FLEET/pull-messages"),
    ):
        assert ask(demo, "POST", path) in (400, 404), path
    assert ask(demo, "GET", "/v1/fleet/pull-messages") == 403


def test_plain_http_and_another_root_do_not_get_in(
    federation: tuple[DemoFederation, str],
) -> None:
    demo, _ = federation
    host, port = demo.coordinator.settings.address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as plain:
        plain.sendall(b"POST /v1/fleet/pull-messages HTTP/1.1\r\nHost: x\r\n\r\n")
        assert plain.recv(4096).split(b" ")[1] == b"400"
    stranger = http.client.HTTPSConnection(
        host, int(port), timeout=30, context=ssl.create_default_context()
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.request("GET", "/healthz")
