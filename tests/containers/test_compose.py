"""The compose files keep what they promise: the vault has no network, the relay no data."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
FILES = sorted(DOCKER.glob("compose.*.yaml"))


def services(file: Path) -> dict[str, dict[str, Any]]:
    """Services with their YAML merges done."""
    content = yaml.safe_load(file.read_text())
    found: dict[str, dict[str, Any]] = content["services"]
    return found


def every(prefix: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{file.name}:{name}", service)
        for file in FILES
        for name, service in services(file).items()
        if name.startswith(prefix)
    ]


def test_there_are_a_coordinator_a_site_and_a_demo_of_four_sites() -> None:
    assert [file.name for file in FILES] == [
        "compose.coordinator.yaml",
        "compose.demo.yaml",
        "compose.site.yaml",
    ]
    assert len([name for name, _ in every("vault") if "demo" in name]) == 4


@pytest.mark.parametrize(("name", "service"), every("vault"))
def test_a_vault_has_no_network_at_all(name: str, service: dict[str, Any]) -> None:
    assert service["network_mode"] == "none"
    assert "networks" not in service
    assert "ports" not in service


@pytest.mark.parametrize(("name", "service"), every("relay"))
def test_a_relay_mounts_its_socket_and_its_keys_alone(name: str, service: dict[str, Any]) -> None:
    volumes = {entry.split(":")[0].rstrip("-1234") for entry in service["volumes"]}
    assert volumes == {"relay-socket", "relay-keys"}
    assert "ports" not in service
    assert service["networks"]


def test_the_door_is_the_user_who_may_read_the_key() -> None:
    assert len(every("door")) == 2
    for _, service in every("door"):
        assert service["user"] == "10003:10003"
        assert service["network_mode"] == "service:coordinator"
        assert "cap_add" not in service


@pytest.mark.parametrize(
    ("name", "service"),
    [*every("vault"), *every("relay"), *every("coord"), *every("door")],
)
def test_services_are_hardened(name: str, service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", ["compose.site.yaml", "compose.demo.yaml"])
def test_every_vault_may_hand_its_socket_to_the_relays_group(name: str) -> None:
    vaults = [
        service
        for name, service in services(DOCKER / name).items()
        if name.partition("-")[0] == "vault"
    ]
    assert vaults
    assert all(service["group_add"] == ["10002"] for service in vaults)


def test_the_demo_federation_reaches_nothing_outside() -> None:
    content = yaml.safe_load((DOCKER / "compose.demo.yaml").read_text())
    assert content["networks"]["federation"]["internal"] is True


def test_the_relays_of_a_site_and_its_vault_share_one_socket_each() -> None:
    demo = services(DOCKER / "compose.demo.yaml")
    for number in range(1, 5):
        shared = {
            entry.split(":")[0]
            for name in (f"vault-{number}", f"relay-{number}")
            for entry in demo[name]["volumes"]
            if "socket" in entry
        }
        assert shared == {f"relay-socket-{number}"}


def test_the_door_passes_the_fleet_path_alone() -> None:
    text = (DOCKER / "nginx.conf").read_text()
    locations = [line.strip() for line in text.splitlines() if line.strip().startswith("location")]
    assert len(locations) == 3
    assert "/v1/fleet/" in locations[1]
    assert locations[2] == "location / { return 404; }"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_compose_itself_reads_the_file(file: Path) -> None:
    commands = [["docker-compose"], ["docker", "compose"]]
    usable = [
        command
        for command in commands
        if shutil.which(command[0])
        and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0
    ]
    if not usable:
        pytest.skip("no compose program here; its schema is checked where there is one")
    done = subprocess.run([*usable[0], "-f", str(file), "config", "-q"], check=False)
    assert done.returncode == 0
