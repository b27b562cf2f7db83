"""The deployment's bundle carries no code, and is the same one that lies under ``docker/``."""

from __future__ import annotations

import os
import subprocess
import zipfile
from importlib import import_module
from pathlib import Path

from groundswell.server.bundle import CLIENT_APP, SERVER_APP, write_bundle
from groundswell.server.flower_commands import environment, program

PUBLISHED = Path(__file__).parents[2] / "docker" / "bundle"
KEYS = {"folder": "", "run": ""}


def test_the_published_bundle_is_the_one_that_is_written(tmp_path: Path) -> None:
    written = write_bundle(tmp_path / "bundle", KEYS)
    for name in ("pyproject.toml", "README.md"):
        assert (written / name).read_text() == (PUBLISHED / name).read_text()
    assert sorted(path.name for path in PUBLISHED.iterdir()) == ["README.md", "pyproject.toml"]


def test_flower_builds_it_and_finds_no_code_in_it(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", KEYS)
    # Whatever else lies in the folder stays out.
    (bundle / "thief.py").write_text("")
    subprocess.run(
        [program("flwr"), "build", "--app", str(bundle)],
        cwd=tmp_path,
        env={**os.environ, **environment(tmp_path / "home")},
        check=True,
        capture_output=True,
    )
    (fab,) = tmp_path.glob("*.fab")
    with zipfile.ZipFile(fab) as opened:
        names = {name for name in opened.namelist() if not name.startswith(".info/")}
    assert names == {"pyproject.toml", "README.md"}


def test_its_components_are_installed_modules() -> None:
    for reference in (SERVER_APP, CLIENT_APP):
        module, name = reference.split(":")
        assert name in vars(import_module(module))
