"""The kill matrix: every part, at every phase. Six cells run in CI; ``make test-faults`` runs all.

Cells that have passed are noted, with the version of the code, and a run that was broken off goes
on with the rest.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from groundswell.simulation.kill_matrix import Cell, Part, cells, run_cell

ROOT = Path(__file__).parents[2]
NOTES = ROOT / "runs" / "faults" / "in-process.json"
EVERYTHING = "GROUNDSWELL_FAULTS" in os.environ
IN_CI = {
    (Part.VAULT_BEFORE, "contribute"),
    (Part.VAULT_AFTER, "contribute"),
    (Part.RELAY, "confirm"),
    (Part.SUPERNODE, "advertise"),
    (Part.SERVERAPP, "unmask"),
    (Part.SUPERLINK, "contribute"),
}

# In CI after the quick tests, by itself: a cell keeps one core busy.
pytestmark = pytest.mark.end_to_end


def wanted() -> list[Cell]:
    found = cells()
    assert len(found) >= 40
    return found if EVERYTHING else [each for each in found if (each.part, each.phase) in IN_CI]


def passed_before() -> dict[str, str]:
    notes: dict[str, str] = json.loads(NOTES.read_text()) if NOTES.exists() else {}
    return notes


@pytest.mark.parametrize("cell", wanted(), ids=lambda cell: cell.name)
def test_a_kill_costs_no_more_than_the_attempt(cell: Cell, copied: Callable[[], Path]) -> None:
    version = os.environ.get("GROUNDSWELL_FAULTS", "")
    if version and passed_before().get(cell.name) == version:
        pytest.skip("passed before, with the same code")
    result = run_cell(copied(), cell, time.time())
    assert result.problems == ()
    assert result.struck, "the moment of the kill never came"
    expected = 2 if cell.part in (Part.SERVERAPP, Part.SUPERLINK) else 1
    assert result.starts >= expected
    if version:
        NOTES.parent.mkdir(parents=True, exist_ok=True)
        NOTES.write_text(json.dumps({**passed_before(), cell.name: version}, indent=1))
