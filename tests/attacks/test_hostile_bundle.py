"""A server that ships its own code: the stock relay runs it as the relay's user, who owns nothing;
the warm relay does not run it at all.

Real Unix users, real Flower processes. Needs root, as setting up a site's users does.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest

from groundswell.client.ownership import hand_over
from groundswell.client.site import Site, SiteSettings, make_node_key, write_secret
from groundswell.client.sockets import listen
from groundswell.client.supervisor import RelaySettings, relay_services
from groundswell.server.coordinator_services import listens
from groundswell.server.flower_commands import FlowerCommands, environment, program
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.processes import free_port, running

pytestmark = pytest.mark.end_to_end


@pytest.fixture(autouse=True)
def may_make_unix_users() -> None:
    """Without other users nothing would be shown, so the test fails and does not skip."""
    assert os.geteuid() == 0, "run this test as root: it makes Unix users"


HOSTILE_CLIENT = """
import json, os, socket
from pathlib import Path
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

def attempt(path, how):
    try:
        if how == "connect":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(path)
        elif how == "list":
            os.listdir(path)
        elif how == "write":
            Path(path).open("ab").close()
        else:
            Path(path).read_bytes()
        return "opened"
    except OSError as error:
        return type(error).__name__

@app.query("vault")
def steal(message, context):
    tried = json.loads(message.content.config_records["vault"]["request"])
    found = {f"{how} {path}": attempt(path, how) for how, path in tried}
    found["uid"] = str(os.getuid())
    reply = json.dumps(found).encode()
    return Message(RecordDict({"vault": ConfigRecord({"reply": reply})}), reply_to=message)
"""
HOSTILE_SERVER = """
import time
from pathlib import Path
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()

@app.main()
def main(grid, context):
    while not list(grid.get_node_ids()):
        time.sleep(0.5)
    (node,) = grid.get_node_ids()
    wanted = Path(context.run_config["wanted"]).read_bytes()
    record = RecordDict({"vault": ConfigRecord({"request": wanted})})
    replies = list(grid.send_and_receive([Message(record, node, "query.vault")], timeout=90))
    (reply,) = replies
    Path(context.run_config["out"]).write_bytes(
        reply.content.config_records["vault"]["reply"] if reply.has_content() else b"{}"
    )
"""
BUNDLE = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "hostile-app"
version = "1.0.0"
description = "hostile"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "hostile"

[tool.flwr.app.components]
serverapp = "hostile_app.server_app:app"
clientapp = "hostile_app.client_app:app"

[tool.flwr.app.config]
wanted = ""
out = ""
"""


@pytest.fixture(scope="module")
def users() -> Iterator[tuple[str, str]]:
    """The vault's user, who is in the relay's group, and the relay's."""
    tag = secrets.token_hex(3)
    vault, relay = f"gsv{tag}", f"gsr{tag}"
    made = []
    try:
        for name in (relay, vault):
            subprocess.run(["useradd", "--system", "--user-group", "-M", name], check=True)
            made.append(name)
        subprocess.run(["usermod", "-aG", relay, vault], check=True)
        yield vault, relay
    finally:
        for name in reversed(made):
            subprocess.run(["userdel", name], check=False)


@pytest.fixture
def site(users: tuple[str, str]) -> Iterator[Site]:
    """A site's folder with everything worth stealing in it, handed over to its users."""
    vault, relay = users
    # Not pytest's folder: it is closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="gs-hostile-", dir="/tmp"))
    folder.chmod(0o711)
    settings = SiteSettings(
        name="north",
        merchant="acme",
        users=10,
        address="127.0.0.1:1",
        relay_user=relay,
        vault_user=vault,
    )
    found = Site(folder / "site", settings)
    for each in (
        found.keys,
        found.relay_keys,
        found.folder / "store",
        found.folder / "plans",
        found.logs,
    ):
        each.mkdir(parents=True)
    write_secret(found.keys / "site.key", b"k" * 32)
    (found.folder / "store" / "part-0000").write_bytes(b"events")
    found.ledger_file.write_bytes(b"ledger")
    (found.logs / "vault.log").write_text("computing failed for one user")
    (found.folder / "site.toml").write_text("policy")
    make_node_key(found.relay_keys)
    (found.relay_keys / "root.pem").write_text("")
    write_secret(found.relay_keys / "superexec.secret", secrets.token_bytes(32))
    hand_over(found)
    try:
        yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sockets(site: Site) -> Iterator[None]:
    """Both sockets; the relay's one echoes."""

    def register(server: grpc.Server) -> None:
        name = wire.DESCRIPTOR.services_by_name["Vault"].full_name
        method = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {"Handle": method}),)
        )

    servers = [
        listen(site.relay_socket, register, group=site.settings.relay_user, workers=1),
        listen(site.local_socket, register, group=site.settings.vault_user, workers=1),
    ]
    try:
        yield
    finally:
        for server in servers:
            server.stop(None).wait()


def ship(site: Site, *, warm: bool) -> dict[str, str]:
    """Run the hostile bundle against the site's relay; returns what came back."""
    home = site.folder.parent / "link"
    port = free_port()
    flower = FlowerCommands(home, f"127.0.0.1:{port}", None)
    flower.configure()
    bundle = home / "bundle"
    (bundle / "hostile_app").mkdir(parents=True)
    (bundle / "pyproject.toml").write_text(BUNDLE)
    (bundle / "README.md").write_text("hostile")
    for name, code in (("client_app", HOSTILE_CLIENT), ("server_app", HOSTILE_SERVER)):
        (bundle / "hostile_app" / f"{name}.py").write_text(code)
    (bundle / "hostile_app" / "__init__.py").write_text("")
    wanted, out = home / "wanted.json", home / "out.json"
    wanted.write_text(json.dumps(targets(site)))
    settings = RelaySettings("127.0.0.1:1", free_port())
    services = relay_services(
        settings, site.relay_keys, site.relay_socket, None, site.settings.relay_user, warm=warm
    )
    with ExitStack() as stack:
        stack.enter_context(sockets(site))
        link = [program("flower-superlink"), "--insecure", "--port", str(port)]
        stack.enter_context(running(link, home / "link.log", environment(home)))
        while not listens(port):
            time.sleep(0.2)
        for service in services:
            command = [*service.command]
            if "--superlink" in command:
                start = command.index("--superlink")
                # Plain HTTP, unsigned: what is tested is on this side of the wire.
                command[start : start + 6] = ["--insecure", "--superlink", f"127.0.0.1:{port}"]
            stack.enter_context(
                running(
                    as_user(service.user, command, home / f"python-{service.name}"),
                    home / f"{service.name}.log",
                    service.environment,
                )
            )
        flower.run(bundle, {"wanted": str(wanted), "out": str(out)})
        deadline = time.monotonic() + 200
        while not out.exists() and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(0.3)
        logs = {path.name: path.read_text()[-800:] for path in home.glob("*.log")}
        assert out.exists(), logs
        found: dict[str, str] | list[list[str]] = json.loads(out.read_bytes())
        return found if isinstance(found, dict) else {"echoed": json.dumps(found)}


def as_user(name: str, command: list[str], spare: Path) -> list[str]:
    """The command as another Unix user, who can also reach this interpreter.

    Where Python lies in root's closed home, as on some build machines, the process gets a view of
    the file system with nothing but Python in that home.
    """
    switch = ["setpriv", "--reuid", name, "--regid", name, "--init-groups", *command]
    python = Path(sys.executable).resolve()
    home = Path("/root")
    if not python.is_relative_to(home):
        return switch
    spare.mkdir()
    kept = home / python.relative_to(home).parts[0]
    script = (
        'set -e; mount --bind "$1" "$2"; '
        "mount -t tmpfs -o mode=755 none /root; "
        'mkdir "$1"; mount --bind "$2" "$1"; shift 2; exec "$@"'
    )
    return ["unshare", "--mount", "sh", "-c", script, "sh", str(kept), str(spare), *switch]


def targets(site: Site) -> list[list[str]]:
    return [
        ["connect", str(site.relay_socket)],
        ["connect", str(site.local_socket)],
        ["list", str(site.folder)],
        ["list", str(site.keys)],
        ["read", str(site.keys / "site.key")],
        ["list", str(site.folder / "store")],
        ["read", str(site.folder / "store" / "part-0000")],
        ["read", str(site.ledger_file)],
        ["write", str(site.ledger_file)],
        ["list", str(site.logs)],
        ["read", str(site.logs / "vault.log")],
        ["read", str(site.folder / "site.toml")],
        ["write", str(site.folder / "new")],
    ]


def test_shipped_code_runs_as_the_relay_and_reaches_one_socket_alone(site: Site) -> None:
    found = ship(site, warm=False)
    assert found.pop("uid") not in ("0", str(site.keys.stat().st_uid))
    assert found.pop(f"connect {site.relay_socket}") == "opened"
    assert len(found) == 12
    assert set(found.values()) == {"PermissionError"}


def test_the_warm_relay_does_not_run_shipped_code(site: Site) -> None:
    found = ship(site, warm=True)
    # The echo of the vault, and not the thief's list.
    assert found == {"echoed": json.dumps(targets(site))}
