"""A federation in folders, founded once, and copied for every cell of the matrix."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from groundswell.client import vault_process
from groundswell.server import coordinator_planning
from groundswell.shared.backbone import Backbone, Encoded, encode_catalogue
from groundswell.shared.catalogue import Catalogue
from groundswell.simulation.demo import DemoFederation


@pytest.fixture(scope="session")
def founded() -> Iterator[Path]:
    """The folder of a federation that has not run yet."""
    folder = Path(tempfile.mkdtemp(prefix="gs-", dir="/tmp"))
    lines: list[str] = []
    DemoFederation.build(folder / "fed", lines.append, statistics=("popularity",))
    yield folder / "fed"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def copied(founded: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    """Makes copies of it that end with the test."""
    monkeypatch.setattr(vault_process, "encode_catalogue", encode_once)
    monkeypatch.setattr(coordinator_planning, "encode_catalogue", encode_once)
    made: list[Path] = []

    def copy() -> Path:
        parent = Path(tempfile.mkdtemp(prefix="gs-", dir="/tmp"))
        made.append(parent)
        shutil.copytree(founded, parent / "fed")
        settings = parent / "fed" / "coordinator" / "coordinator.toml"
        settings.write_text(settings.read_text().replace(str(founded), str(parent / "fed")))
        return parent / "fed"

    yield copy
    for parent in made:
        shutil.rmtree(parent, ignore_errors=True)


@lru_cache(maxsize=4)
def encode_once(backbone: Backbone, catalogue: Catalogue, layers: int) -> Encoded:
    """As ``encode_catalogue``: all vaults of a test have the same catalogue."""
    return encode_catalogue(backbone, catalogue, layers)
