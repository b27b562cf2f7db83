"""Seeded noise, ``--break`` and ``--no-privacy`` live in ``simulation`` alone: the code is read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("shared", "client", "server", "groundswell/cli.py", "docker")
OPTIONS = re.compile(r"--break\b|--no-privacy\b|--seed\b|^no[-_]privacy$")
# Names of a generator of pseudo-random numbers that a caller can seed, by module.
SEEDABLE = re.compile(
    r"^(numpy|np)\.random\b|^random\b|^torch\.(manual_seed|seed|Generator|rand|randn|randint|normal"
    r"|randperm|bernoulli|cuda\.manual_seed\w*)$"
)
RANDOMNESS = {
    "client/mechanism.py": {"Randomness", "SystemRandomness"},
}

# What one file may call all the same: LIME draws its perturbations of a history from a fixed seed,
# so that an explanation can be repeated. They touch no release.
ALLOWED = {"shared/explain.py": " calls torch.manual_seed"}


def sources() -> list[Path]:
    found = []
    for part in PARTS:
        path = ROOT / part
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return [path for path in found if "_pb2" not in path.name and "venv" not in path.parts]


def dotted(node: ast.expr) -> str:
    """The dotted name that an expression spells, or the empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def docstrings(tree: ast.Module) -> set[int]:
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr)
    }


def violations(source: str, path: str) -> Iterator[str]:
    """What the source of one file outside ``simulation/`` has that it must not have."""
    tree = ast.parse(source)
    prose = docstrings(tree)
    for node in ast.walk(tree):
        where = f"{path}:{node.lineno}" if isinstance(node, ast.stmt | ast.expr) else path
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = []
        for name in names:
            if name.startswith("groundswell.simulation"):
                yield f"{where} imports {name}"
            if SEEDABLE.match(name) or name.split(".")[0] == "random":
                yield f"{where} imports {name}"
        if isinstance(node, ast.Call) and SEEDABLE.match(dotted(node.func)):
            yield f"{where} calls {dotted(node.func)}"
        text = node.value if isinstance(node, ast.Constant) and id(node) not in prose else None
        if isinstance(text, str) and OPTIONS.search(text):
            yield f"{where} has the option {text!r}"
        if isinstance(node, ast.arg) and node.arg in ("no_privacy", "broken", "noise_share"):
            yield f"{where} takes {node.arg}"
        if isinstance(node, ast.ClassDef):
            methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            if "words" in methods and node.name not in RANDOMNESS.get(path, set()):
                yield f"{where} is another randomness: {node.name}"


def test_the_scan_sees_the_whole_product() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in sources()}
    assert {"client/mechanism.py", "client/sampling.py", "shared/plan.py"} <= names
    assert "groundswell/cli.py" in names
    assert not any(name.startswith("simulation/") for name in names)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_outside_simulation_can_seed_break_or_switch_off_privacy(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    found = list(violations(path.read_text(), name))
    assert [each for each in found if not each.endswith(ALLOWED.get(name, "\0"))] == []


@pytest.mark.parametrize(
    "planted",
    [
        "from groundswell.simulation.seeded import SeededRandomness",
        "import groundswell.simulation.audit",
        "import random",
        "from random import Random",
        "import numpy as np\nnoise = np.random.default_rng(0).normal()",
        "import numpy\nnoise = numpy.random.normal(size=3)",
        "from numpy.random import default_rng",
        "import torch\ntorch.manual_seed(0)",
        "import torch\nnoise = torch.randn(3)",
        "option = typer.Option('--no-privacy')",
        "option = typer.Option('--break')",
        "settings = {'no_privacy': True}",
        "def release(no_privacy: bool) -> None: ...",
        "class Quiet:\n    def words(self, count: int) -> int:\n        return 0",
    ],
)
def test_the_scan_finds_what_is_planted(planted: str) -> None:
    assert list(violations(planted, "client/planted.py"))
