"""Two merchants with catalogues of their own train one model, as real processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import groundswell
from groundswell.client.scorer import Scorer
from groundswell.server import run_folder
from groundswell.server.registry import Registry
from groundswell.server.run_folder import RunStatus
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError
from groundswell.shared.served import serve_folder
from groundswell.simulation.datasets import complete_journey
from groundswell.simulation.demo import DemoFederation
from tests.demo_federations import demo_federation, untold

# What such a run does is also held in one process: tests/simulation/test_joint.py.
pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

COARSE = ("region-03", "region-04")


def departments() -> Catalogue:
    """The demo's catalogue with a department for each item, in the place of its category."""
    whole = complete_journey.load(4).catalogue
    group = dict(zip(whole.labels, whole.groups, strict=True))
    items = {item: group[label] for item, label in whole.item_to_label.items() if group[label]}
    sizes = Counter(items.values())
    names = tuple(sorted(sizes))
    return Catalogue(
        "departments",
        names,
        names,
        ("",) * len(names),
        np.array([sizes[name] for name in names], dtype=np.float32),
        items,
    )


@dataclass(frozen=True)
class Trained:
    """A federation that is still up, and how its run ended."""

    demo: DemoFederation
    status: RunStatus
    model: Path


@pytest.fixture(scope="module")
def trained() -> Iterator[Trained]:
    catalogues = dict.fromkeys(COARSE, departments())
    with demo_federation(rounds=1, statistics=("popularity",), catalogues=catalogues) as demo:
        status = demo.train(untold)
        yield Trained(demo, status, demo.coordinator.runs()[-1].model_folder)


def test_all_four_sites_stand_in_every_sum_and_each_catalogue_gets_a_model(
    trained: Trained,
) -> None:
    assert trained.status.state == run_folder.FINISHED, trained.status.reason
    state = trained.demo.coordinator.runs()[-1].state()
    assert state is not None
    assert {record.survivors for record in state.records} == {
        ("region-01", "region-02", "region-03", "region-04")
    }
    names = (complete_journey.NAME, "departments")
    fine, coarse = (groundswell.load_model(trained.model / name) for name in names)
    assert len(fine.checkpoint.catalogue) == 302
    assert len(coarse.checkpoint.catalogue) == len(departments())


def test_the_registry_has_a_champion_for_each_catalogue(trained: Trained) -> None:
    registry = Registry.open(str(trained.demo.coordinator.folder / "registry"))
    assert registry.show("champion@departments").labels == len(departments())
    assert registry.show(f"champion@{complete_journey.NAME}").labels == 302


def test_a_site_scores_with_the_model_of_its_catalogue_alone(trained: Trained) -> None:
    site = next(each for each in trained.demo.sites if each.settings.name == COARSE[0])
    prepared, own = site.store().load(), site.catalogue().hash
    scorer = Scorer(serve_folder(trained.model / "departments"), prepared, own)
    user = prepared.histories.users[0]
    found = next(each for each in scorer.score(None, 3) if each.user == user)
    assert {each.label for each in found.interests} <= set(departments().labels)
    with pytest.raises(InputError, match="another catalogue"):
        Scorer(serve_folder(trained.model / complete_journey.NAME), prepared, own)
