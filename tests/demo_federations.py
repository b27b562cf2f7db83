"""A demo federation of real processes for the time of a test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from groundswell.simulation.demo import DemoFederation


def untold(line: str) -> None:
    """For what a demo says while it goes on, where nobody reads it."""


@contextmanager
def demo_federation(**options: Any) -> Iterator[DemoFederation]:
    """One that is up; ``options`` are those of ``DemoFederation.build``."""
    # Not pytest's own folder: the path of a Unix socket may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="gs-", dir="/tmp"))
    demo = DemoFederation.build(folder / "fed", untold, **options)
    try:
        demo.up(untold)
        yield demo
    finally:
        demo.down()
        shutil.rmtree(folder, ignore_errors=True)
