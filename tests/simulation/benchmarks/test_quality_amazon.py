"""The Amazon part of the quality benchmark, on invented departments of the same form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from groundswell.shared.backbone import load_backbone
from groundswell.shared.errors import InputError
from groundswell.simulation.benchmarks import quality_amazon as amazon
from groundswell.simulation.benchmarks.amazon_counts import THRESHOLD, deviations, released
from groundswell.simulation.benchmarks.amazon_data import load_department

ITEMS, COLD_ITEM = 12, 11


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
        for user in range(60):
            start = int(draw.integers(10))
            walk = [(start + step) % 10 for step in range(5)]
            rows["valid"].append((user, walk[:3], walk[3]))
            rows["test"].append((user, walk[:4], COLD_ITEM if user % 10 == 0 else walk[4]))
        for part, found in rows.items():
            table = pl.DataFrame(found, schema=["user", "history", "target"], orient="row")
            table.write_parquet(path / f"{name}_{part}.parquet")
    return path


def test_no_target_is_learned_from(folder: Path) -> None:
    department = load_department(folder, "office", load_backbone())
    assert len(department.learned) == 60
    # The validation target is the fourth step; only the three before it are seen.
    assert {len(history) for history in department.learned} == {3}
    assert department.cold.sum() == 6


def test_each_variant_and_slice_stands_once_with_its_rows(folder: Path) -> None:
    found = amazon.run(folder, seeds=2)
    keys = [(case["data"], case["variant"], case["slice"]) for case in found["cases"]]
    assert len(set(keys)) == len(keys)
    assert ("amazon_office", "private_eps8", "all") in keys
    assert ("amazon_industrial", "not_private", "cold_items") in keys
    assert ("amazon_office", "private_eps8", "transfer") in keys
    by_key = dict(zip(keys, found["cases"], strict=True))
    plain = by_key["amazon_office", "not_private", "all"]["metrics"]["ndcg@10"]
    elsewhere = by_key["amazon_office", "not_private", "transfer"]["metrics"]["ndcg@10"]
    assert plain["n"] == 60
    assert by_key["amazon_office", "not_private", "cold_items"]["metrics"]["hr@10"]["n"] == 6
    # Everyone walks the same way, so pair counts must help.
    assert plain["mean"] > elsewhere["mean"]
    assert found["equal"] is True


def test_noise_falls_with_epsilon_and_the_larger_share_has_less() -> None:
    strict, loose = deviations(3.0), deviations(8.0)
    assert all(strict[kind] > loose[kind] for kind in strict)
    assert loose["pairs"] < loose["popularity"]


def test_a_released_pair_is_above_the_threshold_of_its_noise(folder: Path) -> None:
    department = load_department(folder, "office", load_backbone())
    counts = released(department, 8.0, 0)
    assert counts.pairs.data.min() >= THRESHOLD * deviations(8.0)["pairs"]


def test_rows_to_choose_by_are_those_of_validation(folder: Path) -> None:
    valid = load_department(folder, "office", load_backbone(), "valid")
    test = load_department(folder, "office", load_backbone())
    assert {len(history) for history in valid.histories} == {3}
    assert {len(history) for history in test.histories} == {4}
    assert valid.cold.sum() == 0


def test_a_folder_without_the_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="office_items"):
        amazon.run(tmp_path)
