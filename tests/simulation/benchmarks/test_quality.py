"""The quality benchmark on invented data: real runs, unique cases, both epsilons as asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from groundswell.shared.config import Config
from groundswell.shared.errors import InputError
from groundswell.shared.metrics import paired_difference
from groundswell.simulation import audit_data
from groundswell.simulation.benchmarks import quality
from groundswell.simulation.benchmarks.quality_grid import ALL, Cell, cells
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.sites import by_hash


def invented(config: Config) -> Dataset:
    return audit_data.invent(4, 12, np.random.default_rng(0))


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    plain = Cell("not_private", {"privacy.eps_l": 1e4}, noisy=False)
    private = Cell("private_eps3", {"privacy.eps_l": 1e4, "train.evaluations": 0})
    return quality.run(seeds=2, rounds=2, chosen=(plain, private), load=invented)


def test_each_variant_and_slice_stands_once_with_its_metrics(found: dict[str, Any]) -> None:
    keys = [(case["data"], case["variant"], case["slice"]) for case in found["cases"]]
    assert len(set(keys)) == len(keys)
    assert {variant for _, variant, _ in keys} == {"not_private", "private_eps3", "backoff"}
    for case in found["cases"]:
        assert {"ndcg@10", "hr@10"} <= set(case["metrics"])
        assert 0 <= case["metrics"]["ndcg@10"]["mean"] <= case["metrics"]["hr@10"]["mean"] <= 1


def test_both_sides_are_measured_on_the_same_rows(found: dict[str, Any]) -> None:
    assert found["equal"] is True
    rows = {
        case["variant"]: case["metrics"]["ndcg@10"]["n"]
        for case in found["cases"]
        if case["slice"] == "all"
    }
    assert len(set(rows.values())) == 1
    assert found["ratio"] == found["ours"] / found["peer"]


def test_a_cell_of_other_sites_is_paired_with_the_peer_on_its_own_order_of_users() -> None:
    """Users stand in the order of their sites: paired elsewise, rows of two users would meet."""

    def divided(config: Config) -> Dataset:
        whole = invented(config)
        frame = pl.concat(whole.sites.values()).with_columns(user=pl.col("site") + pl.col("user"))
        return replace(whole, sites=by_hash(frame, config.sites.number))

    plain = {"privacy.eps_l": 1e4, "train.evaluations": 0, "privacy.n_min": 3}
    usual = Cell("not_private", {**plain, "sites.number": 4}, noisy=False)
    more = Cell("sites_6", {**plain, "sites.number": 6}, noisy=False)
    shop = quality.Workshop(divided, rounds=1)
    measured = shop.measure(more, 0)[0].slices["all"]
    own, other = (shop.backoff(cell).slices["all"] for cell in (more, usual))
    right, wrong = (
        paired_difference(measured.sums["ndcg@10"], peer.sums["ndcg@10"], measured.rows).se
        for peer in (own, other)
    )
    assert right != pytest.approx(wrong)
    found = quality.run(seeds=1, rounds=1, chosen=(usual, more), load=divided)
    (case,) = (c for c in found["cases"] if (c["variant"], c["slice"]) == ("sites_6", "all"))
    assert case["paired"]["se"] == pytest.approx(right)


def test_a_private_run_spends_no_more_than_its_cap_and_a_plain_one_has_no_epsilon(
    found: dict[str, Any],
) -> None:
    of = {case["variant"]: case["epsilon"] for case in found["cases"]}
    assert 0 < of["private_eps3"]["eps_c"] <= 3.0
    assert of["private_eps3"]["eps_l"] > of["private_eps3"]["eps_c"]
    assert of["not_private"] == {"eps_c": None, "eps_l": None}


def test_names_of_the_grid_are_unique_and_every_cell_is_a_valid_configuration() -> None:
    names = [cell.variant for cell in cells(ALL)]
    assert len(set(names)) == len(names)
    shop = quality.Workshop(invented)
    configured = {cell.variant: shop.config(cell) for cell in cells(ALL)}
    assert configured["sites_64"].sites.number == 64
    assert configured["private_eps8"].privacy.eps_c == 8.0
    for config in configured.values():
        assert sum(config.privacy.split[kind] for kind in ("popularity", "h5", "pairs")) > 0


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(InputError):
        quality.run(data="groceries")
    with pytest.raises(InputError):
        cells("half")
