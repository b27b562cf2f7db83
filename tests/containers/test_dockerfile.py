"""The Dockerfile: linted, not as root, with a check of health in everything that serves."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

DOCKER = Path(__file__).parents[2] / "docker"
TEXT = (DOCKER / "Dockerfile").read_text()
CODE = re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)
IMAGES = ("import", "vault", "relay", "coordinator", "gateway")


def stage(name: str) -> str:
    """The lines of one stage, without comments."""
    parts = re.split(r"^FROM ", CODE, flags=re.MULTILINE)
    (found,) = (part for part in parts if part.split("\n")[0].endswith(f" AS {name}"))
    return found


def test_the_linter_has_nothing_to_say(hadolint: Path) -> None:
    done = subprocess.run(
        [hadolint, "--no-color", DOCKER / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    assert done.returncode == 0


def test_every_image_runs_as_a_numbered_user_that_is_not_root() -> None:
    for name in IMAGES:
        (user,) = re.findall(r"^USER (\d+):(\d+)$", stage(name), flags=re.MULTILINE)
        assert "0" not in user


def test_every_service_says_how_its_health_is_checked() -> None:
    for name in IMAGES:
        assert re.search(r"^HEALTHCHECK ", stage(name), flags=re.MULTILINE)


def test_the_relay_has_another_user_than_the_vault_and_no_torch() -> None:
    assert "USER 10001" in stage("vault")
    assert "USER 10002" in stage("relay")
    assert "--from=light" in stage("relay")
    assert "torch" not in stage("light") + stage("light-requirements")


def test_no_package_index_or_secret_is_written_into_a_layer() -> None:
    assert not re.search(r"index-url|trusted-host|PASSWORD|TOKEN", TEXT)
    # Whatever reaches for an index does so with the secret in place.
    for command in re.findall(r"^RUN (?:.*\\\n)*.*", CODE, flags=re.MULTILINE):
        if "pip install" in command and "--no-index" not in command:
            assert "type=secret,id=pip" in command
