"""Rows and paired differences: over seeds where there are several, else over users."""

from __future__ import annotations

import numpy as np
import pytest

from groundswell.shared.metrics import Calibration, cluster_mean
from groundswell.simulation.evaluate import Measurement, SliceSums
from groundswell.simulation.summaries import by_group, paired, rows

USERS = 60


def measurement(shift: float = 0.0, seed: int = 0, probabilities: bool = True) -> Measurement:
    draw = np.random.default_rng(seed)
    count = draw.integers(0, 4, size=USERS).astype(np.float64)
    values = {
        name: count * (draw.random(USERS) + shift)
        for name in ("ndcg@10", "recall@10", "mrr", "top1")
    }
    calibration = None
    if probabilities:
        values["log_loss"] = count * draw.random(USERS)
        bins = draw.random((3, USERS, 15))
        calibration = Calibration(10 * bins[0], bins[1], bins[2])
    return Measurement({"all": SliceSums(count, values, calibration)})


def test_one_seed_has_the_deviation_of_a_bootstrap_over_users() -> None:
    (row,) = rows("m", [measurement()])
    metric = row.metrics["ndcg@10"]
    sums = measurement().slices["all"]
    expected = cluster_mean(sums.sums["ndcg@10"], sums.rows)
    assert metric is not None
    assert metric.mean == pytest.approx(expected.mean)
    assert metric.sd == pytest.approx(expected.se, rel=0.2)
    assert metric.n == expected.n
    assert set(row.metrics) == {"ndcg@10", "recall@10", "mrr", "top1", "log_loss", "ece"}
    assert all(value is not None for value in row.metrics.values())


def test_several_seeds_have_the_deviation_over_seeds() -> None:
    (row,) = rows("m", [measurement(0.0), measurement(0.1), measurement(0.2)])
    metric = row.metrics["ndcg@10"]
    assert metric is not None
    assert metric.sd == pytest.approx(0.1)
    assert metric.mean == pytest.approx(measurement(0.1).slices["all"].mean("ndcg@10"))


def test_a_model_without_probabilities_has_null_for_loss_and_calibration() -> None:
    (row,) = rows("m", [measurement(probabilities=False)])
    assert row.metrics["log_loss"] is None
    assert row.metrics["ece"] is None


def test_the_same_measurement_gives_the_same_rows() -> None:
    assert rows("m", [measurement()]) == rows("m", [measurement()])


def test_a_paired_difference_is_sharper_than_the_models_themselves() -> None:
    found = paired({"backoff": [measurement(0.0)], "ours": [measurement(0.05)]})
    assert {p.metric for p in found} == {"ndcg@10", "recall@10"}
    for difference in found:
        assert (difference.model, difference.against) == ("ours", "backoff")
        assert difference.difference == pytest.approx(0.05)
        assert difference.se == pytest.approx(0, abs=1e-9)


def test_seeds_are_averaged_before_they_are_compared() -> None:
    found = paired({"backoff": [measurement(0.0)], "ours": [measurement(0.0), measurement(0.2)]})
    assert found[0].difference == pytest.approx(0.1)


def test_nothing_is_compared_with_a_model_that_was_not_measured() -> None:
    assert paired({"ours": [measurement()]}) == []


def test_groups_of_users_are_measured_each_on_its_own() -> None:
    sums = measurement().slices["all"]
    site = [f"site {u % 3}" for u in range(USERS)]
    found = by_group(sums, site)
    assert list(found) == ["site 0", "site 1", "site 2"]
    assert sum(n for _, _, n in found.values()) == sums.rows.sum()
    inside = np.arange(USERS) % 3 == 1
    expected = cluster_mean(sums.sums["ndcg@10"][inside], sums.rows[inside])
    assert found["site 1"][0] == pytest.approx(expected.mean)
