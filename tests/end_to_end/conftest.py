"""One running federation for all end-to-end tests: four sites, two secure rounds on real data."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from groundswell.server.run_folder import RunStatus
from groundswell.simulation.demo import DemoFederation


@pytest.fixture(scope="session")
def trained() -> Iterator[tuple[DemoFederation, RunStatus]]:
    """A federation that is still up, and how its run ended."""
    # Not pytest's own folder: the path of a Unix socket may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="gs-", dir="/tmp"))
    lines: list[str] = []
    demo = DemoFederation.build(folder / "fed", lines.append, statistics=("popularity",))
    try:
        demo.up(lines.append)
        yield demo, demo.train(lines.append)
    finally:
        demo.down()
        shutil.rmtree(folder, ignore_errors=True)
