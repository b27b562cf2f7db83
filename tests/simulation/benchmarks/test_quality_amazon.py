"""The Amazon part of the quality benchmark, on invented departments of the same form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from groundswell.client.contributions import Workplace
from groundswell.shared.errors import InputError
from groundswell.shared.plan import Phase
from groundswell.shared.spec import ModelSpec
from groundswell.shared.transfer import ModelState
from groundswell.shared.transitions import NEAR, nearest
from groundswell.simulation.benchmarks import quality_amazon as amazon
from groundswell.simulation.benchmarks.amazon_data import (
    DEPARTMENTS,
    LONGEST,
    Department,
    load_department,
)

ITEMS, COLD_ITEM, USERS = 12, 11, 80


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two departments; users walk through the items, and the last item is only ever a target."""
    path = tmp_path_factory.mktemp("amazon")
    draw = np.random.default_rng(0)
    for name in ("office", "industrial"):
        pl.DataFrame(
            {
                "item_id": range(ITEMS),
                "title": [f"{name} thing number {n}" for n in range(ITEMS)],
                "brand": ["acme", None, "other"] * (ITEMS // 3),
                "categories": [""] * ITEMS,
            }
        ).write_parquet(path / f"{name}_items.parquet")
        rows: dict[str, list[tuple[int, list[int], int]]] = {"valid": [], "test": []}
        for user in range(USERS):
            start = int(draw.integers(10))
            walk = [(start + step) % 10 for step in range(5)]
            rows["valid"].append((user, walk[:3], walk[3]))
            rows["test"].append((user, walk[:4], COLD_ITEM if user % 10 == 0 else walk[4]))
        for part, found in rows.items():
            table = pl.DataFrame(found, schema=["user", "history", "target"], orient="row")
            table.write_parquet(path / f"{name}_{part}.parquet")
    return path


@pytest.fixture(scope="module")
def office(folder: Path) -> Department:
    return load_department(folder, "office")


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    return amazon.run(folder, seeds=1, rounds=4)


def events(department: Department) -> pl.DataFrame:
    return pl.concat(department.dataset.sites.values())


def test_no_target_is_learned_from(office: Department) -> None:
    lengths = events(office).group_by("user").len()
    # The validation target is the fourth step; only the three before it are seen.
    assert lengths["len"].unique().to_list() == [3]
    assert len(lengths) == USERS
    assert office.cold.sum() == USERS // 10


def test_users_are_divided_into_four_sites_of_a_department(office: Department) -> None:
    assert sorted(office.dataset.sites) == [f"office-site-{n:02d}" for n in range(1, 5)]


def test_statistics_before_the_rounds_see_all_but_the_newest_event(office: Department) -> None:
    times = office.dataset.times
    before = events(office).filter(pl.col("time").dt.epoch("us") < times.stats_until)
    assert before.group_by("user").len()["len"].unique().to_list() == [2]
    assert len(times.train) == LONGEST
    until = int(times.train[-1]) + office.dataset.task.window_us
    assert (events(office)["time"].dt.epoch("us") < until).all()


def test_a_measured_row_is_asked_for_the_window_after_its_newest_event(office: Department) -> None:
    newest = office.histories.time[office.histories.offsets[1:] - 1]
    window = office.dataset.task.window_us
    assert ((newest < office.at) & (newest >= office.at - window)).all()
    assert office.dataset.catalogue.labels[office.target[0]] == f"office-{COLD_ITEM}"


def test_the_place_of_an_item_says_nothing_of_its_number(office: Department) -> None:
    numbers = [int(label.removeprefix("office-")) for label in office.dataset.catalogue.labels]
    assert numbers != sorted(numbers)
    assert sorted(numbers) == list(range(ITEMS))


def test_rows_to_choose_by_are_those_of_validation(folder: Path, office: Department) -> None:
    valid = load_department(folder, "office", "valid")
    assert {int(n) for n in np.diff(valid.histories.offsets)} == {3}
    assert {int(n) for n in np.diff(office.histories.offsets)} == {4}
    assert valid.cold.sum() == 0


def test_each_variant_and_slice_stands_once_with_its_rows(report: dict[str, Any]) -> None:
    keys = [(case["data"], case["variant"], case["slice"]) for case in report["cases"]]
    assert len(set(keys)) == len(keys)
    assert ("amazon_office", "private_eps8", "all") in keys
    assert ("amazon_industrial", "not_private", "cold_items") in keys
    assert ("amazon_office", "private_eps8", "transfer") in keys
    assert ("amazon_office", "private_eps3", "transfer") not in keys
    by_key = dict(zip(keys, report["cases"], strict=True))
    plain = by_key["amazon_office", "not_private", "all"]["metrics"]["ndcg@10"]
    elsewhere = by_key["amazon_office", "not_private", "transfer"]["metrics"]["ndcg@10"]
    assert plain["n"] == USERS
    assert by_key["amazon_office", "not_private", "cold_items"]["metrics"]["hr@10"]["n"] == 8
    # Everyone walks the same way, so what follows what must help.
    assert plain["mean"] > elsewhere["mean"]
    assert report["equal"] is True


def test_both_caps_are_kept_and_nothing_is_claimed_without_noise(report: dict[str, Any]) -> None:
    spent = {
        (case["variant"], case["slice"]): case["privacy"]
        for case in report["cases"]
        if case["data"] == "amazon_office"
    }
    assert spent["not_private", "all"] is None
    assert spent["text_alone", "all"] is None
    for cap in (3, 8):
        whole = spent[f"private_eps{cap}", "all"]
        assert 0 < whole["eps_c"] <= cap
        assert 0.9 * cap < whole["reserved_eps_c"] <= cap
        assert (whole["sites"], whole["n_min"], whole["colluding_sites"]) == (8, 6, 1)
    # The other department's run is a federation of its own, with its own ledgers.
    alone = spent["private_eps8", "transfer"]
    assert (alone["sites"], alone["n_min"]) == (4, 3)
    assert alone["eps_l"] < spent["private_eps8", "all"]["eps_l"]


def test_the_other_catalogues_block_holds_noise_alone(folder: Path) -> None:
    workshop = amazon.Workshop([load_department(folder, n) for n in DEPARTMENTS], 1)
    config = amazon.CELLS[2].config
    plan = workshop.joint.plan(config, ModelSpec.of(config.model))
    release = plan.release("transitions")
    assert release is not None
    assert release.dimension == 2 * ITEMS**2
    assert release.phases == (Phase.STATISTICS, Phase.REFRESH)
    for number, part in enumerate(workshop.parts):
        workplace = Workplace(part.site_data(part.names[0]), plan)
        near = {f"{name}/{NEAR}": nearest(np.eye(ITEMS)) for name in DEPARTMENTS}
        job = workplace.job(release, 0, ModelState(workplace.weights, near))
        total = job.integer_sum(np.arange(job.users), bytes(32), None)
        other = total.reshape(2, -1)[1 - number]
        assert not other.any()
        assert total.any()


def test_the_peer_reads_texts_as_they_are_the_latest_most(folder: Path, office: Department) -> None:
    part = amazon.Workshop([office, load_department(folder, "industrial")], 1).parts[0]
    rows = office.histories.take(np.array([0]))
    scores = amazon.text_alone(part)(rows, office.at[:1]).scores[0]
    unit = part.encoded.unit[rows.label]
    expected = sum(amazon.PEER_DECAY**age * unit[::-1][age] for age in range(4))
    assert scores == pytest.approx(part.encoded.unit @ expected, abs=1e-5)


def test_rows_that_there_are_not_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="--rows"):
        load_department(folder, "office", "train")


def test_a_folder_without_the_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="office_items"):
        amazon.run(tmp_path)
