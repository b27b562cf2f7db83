"""One real ``kill -9`` in CI; ``make test-faults`` runs the whole matrix."""

from __future__ import annotations

import pytest

from groundswell.client import enrolment
from groundswell.client.ledger import verify
from groundswell.server import run_folder
from groundswell.server.run_folder import RunStatus
from groundswell.shared.identity import SigningKey
from groundswell.simulation.demo import DemoFederation
from groundswell.simulation.real_kills import Process, RealKill, train_through

pytestmark = pytest.mark.end_to_end


def test_a_killed_vault_comes_back_and_the_run_finishes(
    trained: tuple[DemoFederation, RunStatus],
) -> None:
    demo, _ = trained
    before = {site.settings.name: verify(site.ledger_file).head.row for site in demo.sites}
    told: list[str] = []
    kill = RealKill(Process.VAULT, "contribute", occurrence=2)
    status, _ = train_through(demo, kill, told.append)
    assert told == ["killed vault at contribute"]
    assert status.state == run_folder.FINISHED, status.reason
    for site in demo.sites:
        key = SigningKey.read(site.keys / enrolment.KEY_FILE)
        checked = verify(site.ledger_file, key.public)
        assert checked.problems == ()
        assert checked.head.row > before[site.settings.name]
