"""The base install is the query client and its command: no torch, and a clear word where one is."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "peft", "opacus", "flwr", "safetensors", "fastapi")


def without(packages: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Run code where these packages can't be imported."""
    hidden = f"import sys\nfor name in {packages!r}:\n    sys.modules[name] = None\n"
    return subprocess.run(
        [sys.executable, "-c", hidden + code], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("arguments", [["--help"], ["query", "--help"], ["query", "predict"]])
def test_the_query_command_needs_nothing_heavy(arguments: list[str]) -> None:
    done = without(HEAVY, f"from groundswell.cli import main\nmain({arguments!r})")
    assert "Traceback" not in done.stderr
    assert "not installed" not in done.stderr


def test_the_clients_need_nothing_heavy() -> None:
    done = without(HEAVY, "import groundswell\ngroundswell.Client\ngroundswell.AsyncClient")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["simulate", "--dry-run"], "simulation"),
        (["predict", ".", "events.csv", "--out", "forecast.csv"], "client"),
        (["serve", "--model", "."], "server"),
    ],
)
def test_another_command_names_the_extra_that_it_needs(arguments: list[str], extra: str) -> None:
    done = without(HEAVY, f"from groundswell.cli import main\nmain({arguments!r})")
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert f"pip install 'groundswell[{extra}]'" in line
