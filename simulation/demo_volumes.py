"""Founds the demo federation in the volumes of ``docker/compose.demo.yaml``; runs once, as root."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from groundswell.client.supervisor import RelaySettings
from groundswell.simulation.demo import DemoFederation, Hosts

# As in docker/Dockerfile.
_VAULT, _RELAY, _COORDINATOR = 10001, 10002, 10003
_HOSTS = Hosts(
    coordinator="coordinator:8443",  # nginx; the coordinator's own proxy stays inside
    listen="127.0.0.1:9443",
    superlink=9091,
    metrics=9464,
    runtime=9094,
    relay_user="relay",
    vault_user="vault",
)


def found(volumes: Path) -> None:
    """Fill ``coordinator``, ``data-N`` and ``relay-keys-N`` below ``volumes``; N counts sites."""
    with tempfile.TemporaryDirectory() as folder:
        demo = DemoFederation.build(Path(folder) / "fed", print_line, hosts=_HOSTS)
        coordinator = demo.folder / "coordinator"
        # The CA of a rehearsal lies with its coordinator; a real one does not.
        shutil.copytree(demo.folder / "ca", coordinator / "ca")
        settings = coordinator / "coordinator.toml"
        outside = str(demo.folder / "ca" / "revocations.list")
        settings.write_text(settings.read_text().replace(outside, "ca/revocations.list"))
        _move(coordinator, volumes / "coordinator", _COORDINATOR, 0o700)
        for number, site in enumerate(demo.sites, start=1):
            RelaySettings.of(site).write(site.relay_keys)
            _move(site.relay_keys, volumes / f"relay-keys-{number}", _RELAY, 0o750)
            _move(site.folder, volumes / f"data-{number}", _VAULT, 0o711)


def print_line(line: str) -> None:
    """Tell whoever reads the container's output."""
    sys.stdout.write(f"{line}\n")


def _move(source: Path, target: Path, owner: int, mode: int) -> None:
    for path in target.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in list(source.iterdir()):
        shutil.move(path, target / path.name)
    for path in (target, *target.rglob("*")):
        os.chown(path, owner, owner, follow_symlinks=False)
    target.chmod(mode)


if __name__ == "__main__":
    found(Path(sys.argv[1]))
