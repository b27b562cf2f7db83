"""The benchmark of noise counts what the sites would release, and noise costs what it should."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from groundswell.client.annotate import encode
from groundswell.shared.config_file import load_config
from groundswell.shared.statistics import WeeklyDemand
from groundswell.simulation.benchmarks import demand_noise
from groundswell.simulation.datasets import own
from groundswell.simulation.datasets.marketplace import START, generate


def test_its_counts_are_those_that_the_sites_would_release(tmp_path: Path) -> None:
    generate(tmp_path, 400, 3, days=210)
    cells, labels, windows = demand_noise.read_cells(tmp_path)
    dataset = own.load(load_config(tmp_path / "groundswell.toml").config).dataset
    kind, task = WeeklyDemand(), dataset.task
    last = demand_noise.past(cells, windows - 1, labels)
    total = np.zeros(kind.dimension(len(dataset.catalogue)))
    start = round(datetime.combine(START, time(), UTC).timestamp() * 1_000_000)
    windows_at = start + np.arange(last.first, windows - 1) * task.window_us
    for events in dataset.sites.values():
        h = encode(events, dataset.catalogue, task)
        vectors = kind.user_vectors(h, windows_at, task, dataset.catalogue, {})
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        clipped = vectors * np.minimum(1, kind.clip_norm / np.maximum(norms, 1e-9))
        total += clipped.sum(axis=0)
    empty = np.zeros((len(dataset.catalogue), 4), dtype=np.float32)
    found = kind.estimate(total, 400.0, 0.0, dataset.catalogue, {}, empty)["demand"]
    names = np.argsort(np.array(dataset.catalogue.labels, dtype=object))
    assert last.released == pytest.approx(found.T[names], rel=1e-5, abs=1e-4)


def test_a_market_gives_the_same_numbers_whatever_the_process_has_met_before(
    tmp_path: Path,
) -> None:
    """Numbers of categories come in the order in which a process met their names."""
    generate(tmp_path, 400, 3, days=210)
    cells, labels, windows = demand_noise.read_cells(tmp_path)
    names = pl.read_csv(tmp_path / "catalogue.csv")["category"].unique().sort()
    names.reverse().cast(pl.Categorical)
    again, _, _ = demand_noise.read_cells(tmp_path)
    assert again.equals(cells)
    assert cells.equals(cells.sort("user", "label", "window"))
    newest = cells.filter(pl.col("window") == windows - 1).group_by("label").len()
    counted = demand_noise.past(cells, windows - 1, labels).came
    assert counted.nonzero()[0].tolist() == sorted(newest["label"])
    shuffled = cells.sample(fraction=1.0, shuffle=True, seed=5).sort("user", "label", "window")
    for origin in (windows - 3, windows - 1):
        one, two = (demand_noise.past(each, origin, labels) for each in (cells, shuffled))
        assert one.released.tobytes() == two.released.tobytes()


def test_more_of_the_budget_is_less_noise() -> None:
    default = demand_noise.noise_deviation(10_000)
    assert 0 < demand_noise.noise_deviation(10_000, demand_noise.HALF) < 0.7 * default


def test_noise_costs_accuracy_and_hides_small_labels() -> None:
    generator = np.random.default_rng(0)
    level = np.geomspace(5, 2000, 40)[:, None]
    counts = generator.poisson(level, (40, 27)).astype(float)
    past = demand_noise.Past(0, counts[:, :-1], counts[:, -1])
    exact = demand_noise.measure([past], None, 0)
    noised = demand_noise.measure([past], 40.0, 0)
    assert noised["wmape"] > exact["wmape"]
    assert exact["resolvable"] == 1.0
    assert 0 < noised["resolvable"] < 1.0
    assert demand_noise.measure([replace(past)], 40.0, 0) == noised


def test_the_method_for_noised_counts_is_also_measured_without_noise() -> None:
    generator = np.random.default_rng(0)
    level = np.geomspace(50, 2000, 40)[:, None]
    counts = generator.poisson(level, (40, 27)).astype(float)
    past = demand_noise.Past(0, counts[:, :-1], counts[:, -1])
    same = demand_noise.measure([past], 0.0, 0)
    assert same["forecasts"] == 40
    assert same["wmape"] < demand_noise.measure([past], 80.0, 0)["wmape"]
