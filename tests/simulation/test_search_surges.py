"""A search surge in a generated market: its own block shows it, through clip, noise and secure sum;
what is bought does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from groundswell.server.rounds import Outcome
from groundswell.shared.config_file import LoadedConfig, load_config
from groundswell.shared.demand_release import (
    ALL_ACTIONS,
    DemandBlock,
    DemandRelease,
    released_demand,
)
from groundswell.shared.searched import nearest_labels
from groundswell.shared.spec import ModelSpec
from groundswell.shared.statistics import WeeklyDemand
from groundswell.simulation.datasets.marketplace import START, generate
from groundswell.simulation.datasets.marketplace_merchants import taxonomy
from groundswell.simulation.federated import Federated, run_in_process
from groundswell.simulation.federation import load_dataset
from groundswell.simulation.setting import Setting

pytestmark = pytest.mark.slow

WEEKS = 28
SURGE_WEEK = WEEKS - 2  # the last one before the window that is held back
WORDS, LABEL = "bike helmet", "cycling"
SEARCHERS = 150
SEARCHES = DemandBlock("search")
Blocks = dict[DemandBlock, DemandRelease]


def plant(folder: Path) -> None:
    """In one week 150 shoppers of all merchants look for the same thing; none of them buys it."""
    users = (
        pl.scan_parquet(folder / "events" / "*.parquet")
        .select("site", "user_id")
        .unique()
        .sort("site", "user_id")
        .collect()
        .sample(SEARCHERS, seed=1)
    )
    begins = datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(weeks=SURGE_WEEK)
    users.select(
        "site",
        "user_id",
        pl.lit(begins + timedelta(days=2)).cast(pl.Datetime("us", "UTC")).alias("ts"),
        pl.lit("search").alias("event"),
        pl.lit(None, pl.String).alias("item"),
        pl.lit(WORDS).alias("query"),
        pl.lit(None, pl.Float64).alias("price"),
    ).write_parquet(folder / "events" / "planted-0.parquet")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedConfig:
    folder = tmp_path_factory.mktemp("market") / "market"
    generate(folder, 6000, 3, merchants=4, days=7 * WEEKS)
    plant(folder)
    chosen = {
        "model.statistics": ["demand"],
        "model.demand_actions": ["search"],
        "task.actions": {"purchase": 1.0, "search": 0.0},
        "train.rounds": 0,
        "evaluation.validation": 1,
        "privacy.eps_l": 50.0,
    }
    return load_config(folder / "groundswell.toml", chosen)


@pytest.fixture(scope="module")
def setting(loaded: LoadedConfig) -> Setting:
    return Setting.build(loaded.config, load_dataset(loaded), 0)


def released(setting: Setting, folder: Path, *, noisy: bool) -> tuple[Federated, Blocks]:
    plan = setting.plan(setting.config, ModelSpec.of(setting.config.model))
    with run_in_process(setting, plan, folder, seed=0, noisy=noisy) as run:
        assert run.report.outcome is Outcome.FINISHED
        assert plan.schedule.train_until is not None
        return run, released_demand(run.model.statistics, plan.schedule.train_until)


@pytest.fixture(scope="module")
def noised(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> tuple[Federated, Blocks]:
    return released(setting, tmp_path_factory.mktemp("noised"), noisy=True)


def growth(release: DemandRelease) -> NDArray[np.float64]:
    """float64 ``[L]``: the last window less the mean of the eight before, in deviations of that."""
    last, level = release.values[:, -1], release.values[:, -9:-1].mean(axis=1)
    weights = np.zeros(release.values.shape[1])
    weights[-9:] = [*[-1 / 8] * 8, 1.0]
    found: NDArray[np.float64] = (last - level) / (weights @ release.noise @ weights) ** 0.5
    return found


def test_the_plan_tells_the_blocks_and_their_size(noised: tuple[Federated, Blocks]) -> None:
    (planned,) = noised[0].plan.releases
    assert planned.actions == ("search",)
    assert planned.clip_norm == WeeklyDemand.clip_norm
    assert b'"actions":["search"]' in noised[0].plan.canonical_bytes()
    labels = noised[0].plan.catalogues[0].labels
    assert planned.dimension == planned.max_nonzero == 2 * 26 * labels


def test_a_search_surge_stands_out_of_its_own_block_and_not_of_what_is_bought(
    setting: Setting, noised: tuple[Federated, Blocks]
) -> None:
    place = setting.dataset.catalogue.index[LABEL]
    searched, bought = growth(noised[1][SEARCHES]), growth(noised[1][ALL_ACTIONS])
    assert int(np.argmax(searched)) == place
    assert searched[place] > 5
    assert bought[place] < 3


def test_words_find_their_label_or_none_in_the_language_of_the_backbone(setting: Setting) -> None:
    """The demo's backbone reads English; that it misreads Chinese stands in docs/query.md."""
    truth = {
        phrase: row[f"category{end}"]
        for row in taxonomy().to_dicts()
        for end in ("", "_zh")
        for column in ("queries", "products")
        for phrase in row[column + end].split("|")
    }
    catalogue = setting.dataset.catalogue
    phrases = sorted(p for p, label in truth.items() if label in catalogue.index)
    unit = setting.backbone.encode(phrases, setting.config.model.layers).unit
    places = nearest_labels(unit, setting.encoded.unit)
    for english, right, wrong in ((True, 0.35, 0.05), (False, 0.1, 0.35)):
        mine = [
            (truth[phrase], catalogue.labels[place] if place >= 0 else None)
            for phrase, place in zip(phrases, places, strict=True)
            if phrase.isascii() == english
        ]
        assert np.mean([label == found for label, found in mine]) > right
        assert np.mean([found not in (label, None) for label, found in mine]) < wrong


def test_noise_is_added_to_every_value_of_every_block(
    setting: Setting, noised: tuple[Federated, Blocks], tmp_path: Path
) -> None:
    exact, _ = released(setting, tmp_path, noisy=False)
    for block, release in noised[1].items():
        assert release.values.shape[1] > 20
        noise = (
            noised[0].model.statistics[block.tensor] - exact.model.statistics[block.tensor]
        ).astype(np.float64)
        assert (noise != 0).mean() > 0.99
        noise = noise[-release.values.shape[1] :] / release.deviations[:, None]
        assert noise.std() == pytest.approx(1, rel=0.05)
        assert noise[-1].std() == pytest.approx(1, rel=0.2)
        assert abs(np.median(noise)) < 0.1


def test_each_site_is_charged_once_for_all_blocks(noised: tuple[Federated, Blocks]) -> None:
    """One vector is one event, whatever it counts."""
    assert [each.kind for each in noised[0].state.spent] == ["demand"]
