"""``kill -9`` of every real process at the phases of a round; ``make test-faults`` alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from groundswell.client import enrolment
from groundswell.client.ledger import verify
from groundswell.server import run_folder
from groundswell.shared.identity import SigningKey
from groundswell.simulation.demo import DemoFederation, Hosts
from groundswell.simulation.processes import free_port
from groundswell.simulation.real_kills import Process, RealKill, train_through
from tests.demo_federations import demo_federation, untold

ROOT = Path(__file__).parents[2]
NOTES = ROOT / "runs" / "faults" / "real.json"
VERSION = os.environ.get("GROUNDSWELL_FAULTS", "")
KILLS = [
    RealKill(process, phase, occurrence=2)
    for process in Process
    for phase in ("contribute", "confirm", "unmask")
]

pytestmark = pytest.mark.skipif(not VERSION, reason="the whole matrix: make test-faults")


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoFederation]:
    hosts = Hosts(gateway=f"127.0.0.1:{free_port()}")
    with demo_federation(
        statistics=("popularity",), hosts=hosts, runs=2 * len(KILLS) + 2
    ) as running:
        # The gateway needs a model to come up.
        assert running.train(untold).state == run_folder.FINISHED
        yield running


def passed_before() -> dict[str, str]:
    notes: dict[str, str] = json.loads(NOTES.read_text()) if NOTES.exists() else {}
    return notes


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: kill.name)
def test_the_federation_survives(kill: RealKill, demo: DemoFederation) -> None:
    if passed_before().get(kill.name) == VERSION:
        pytest.skip("passed before, with the same code")
    rows = {site.settings.name: verify(site.ledger_file).head.row for site in demo.sites}
    status, _ = train_through(demo, kill, lambda line: None)
    assert status.state == run_folder.FINISHED, status.reason
    for site in demo.sites:
        key = SigningKey.read(site.keys / enrolment.KEY_FILE)
        checked = verify(site.ledger_file, key.public)
        assert checked.problems == ()
        assert checked.head.row >= rows[site.settings.name]
    NOTES.parent.mkdir(parents=True, exist_ok=True)
    NOTES.write_text(json.dumps({**passed_before(), kill.name: VERSION}, indent=1))
