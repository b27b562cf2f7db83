"""A region's release on a real federation: four sites train, three of them release once more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from groundswell.client import enrolment
from groundswell.client.ledger_file import read_records
from groundswell.client.ledger_rows import Reserved, check
from groundswell.server import run_folder
from groundswell.server.coordinator_running import follow, launch, new_run
from groundswell.server.run_folder import RunFolder, RunStatus
from groundswell.server.trends import ModelTrends
from groundswell.shared.errors import Refusal
from groundswell.shared.identity import SigningKey
from groundswell.shared.questions import TrendsRequest
from groundswell.shared.served import serve_folder
from groundswell.simulation.demo import DemoFederation
from tests.demo_federations import demo_federation, untold

# What a region's run does is also held in one process: tests/simulation/test_region_release.py.
pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

INLAND = ("region-01", "region-02", "region-03")
OUTSIDE = "region-04"


@dataclass(frozen=True)
class Released:
    """A federation that is still up, its run of all sites, and that of the region."""

    demo: DemoFederation
    whole: RunStatus
    region: RunStatus
    run: RunFolder


@pytest.fixture(scope="module")
def released() -> Iterator[Released]:
    regions = dict.fromkeys(INLAND, "inland")
    with demo_federation(rounds=1, statistics=("popularity", "demand"), regions=regions) as demo:
        whole = demo.train(untold)
        first = demo.coordinator.runs()[-1]
        run = new_run(demo.coordinator, None, first.model_folder, "inland")
        launch(demo.coordinator, run)
        yield Released(demo, whole, follow(run, untold), run)


def test_the_sites_of_the_region_release_once_more_and_the_other_one_does_not(
    released: Released,
) -> None:
    assert released.whole.state == run_folder.FINISHED, released.whole.reason
    assert released.region.state == run_folder.FINISHED, released.region.reason
    state = released.run.state()
    assert state is not None
    assert [record.survivors for record in state.records] == [INLAND]
    assert "wrong-region" in released.region.refusals
    events = {}
    for site in released.demo.sites:
        key = SigningKey.read(site.keys / enrolment.KEY_FILE)
        rows = [row for _, row in check(read_records(site.ledger_file), key.public).rows]
        reserved = [row for row in rows if isinstance(row, Reserved) and row.kind == "demand"]
        events[site.settings.name] = len(reserved)
    assert events == {**dict.fromkeys(INLAND, 2), OUTSIDE: 1}


def test_the_registered_model_answers_for_the_region(released: Released) -> None:
    served = serve_folder(released.run.model_folder)
    source = ModelTrends(lambda _: served)
    for region in (None, "inland"):
        answer = source.trends(TrendsRequest(region=region))
        assert (answer.region, answer.sites) == (region, 3 if region else None)
        assert answer.trends
    with pytest.raises(Refusal) as refused:
        source.trends(TrendsRequest(region="coast"))
    assert refused.value.code == "unknown-region"


def test_a_region_without_enough_sites_gets_no_run(released: Released) -> None:
    runs = len(released.demo.coordinator.runs())
    with pytest.raises(Refusal) as refused:
        new_run(released.demo.coordinator, None, released.run.model_folder, "coast")
    assert refused.value.code == "region-too-small"
    assert len(released.demo.coordinator.runs()) == runs
