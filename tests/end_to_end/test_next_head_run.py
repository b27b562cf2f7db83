"""The head for the next item on a real federation: transitions are released, charged and served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from groundswell.server import run_folder
from groundswell.server.coordinator_running import follow, launch, new_run
from groundswell.server.run_folder import RunStatus
from groundswell.shared.predict import load_model
from groundswell.shared.spec import NEXT
from groundswell.simulation.demo import DemoFederation
from tests.demo_federations import demo_federation, untold

# What the head does is also held in one process: tests/simulation/test_next_head.py.
pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]


@dataclass(frozen=True)
class Trained:
    """A federation that is still up, its run of one round, and a refresh after it."""

    demo: DemoFederation
    run: RunStatus
    refresh: RunStatus


@pytest.fixture(scope="module")
def trained() -> Iterator[Trained]:
    options = {"head": NEXT, "statistics": ("popularity", "transitions")}
    with demo_federation(rounds=1, **options) as demo:
        first = demo.train(untold)
        again = new_run(demo.coordinator, 0, demo.coordinator.runs()[-1].model_folder)
        launch(demo.coordinator, again)
        yield Trained(demo, first, follow(again, untold))


def test_every_site_is_charged_for_each_release_of_transitions(trained: Trained) -> None:
    assert trained.run.state == run_folder.FINISHED, trained.run.reason
    assert trained.refresh.state == run_folder.FINISHED, trained.refresh.reason
    closed = trained.demo.closed("transitions")
    # Before the rounds, after them, and by the refresh.
    assert list(closed.values()) == [3] * len(trained.demo.sites)


def test_the_model_holds_transitions_and_forecasts(trained: Trained) -> None:
    model = load_model(trained.demo.coordinator.runs()[-1].model_folder)
    assert model.checkpoint.spec.head == NEXT
    assert model.checkpoint.statistics["transitions"].any()
    label = model.checkpoint.catalogue.labels[0]
    found = model.predict([{"user": "u", "time": "2018-01-02T10:00:00", "label": label}])
    assert found["probability"].sum() == pytest.approx(1, abs=1e-4)
