"""The scale benchmark: laws are fitted right, and a prediction that is wrong makes it void."""

from __future__ import annotations

from typing import Protocol

import pytest

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.histories import Histories
from groundswell.shared.task import EvaluationTimes, Task
from groundswell.simulation.benchmarks import parts, scale
from groundswell.simulation.benchmarks.parts import SumCost
from groundswell.simulation.benchmarks.scale import Law
from groundswell.simulation.benchmarks.train import TrainData


class Small(Protocol):
    """The small data set of the tests of simulation."""

    histories: Histories
    catalogue: Catalogue
    task: Task
    times: EvaluationTimes


@pytest.fixture(scope="module")
def data(small: Small) -> TrainData:
    return TrainData(
        small.histories, (), small.task, small.catalogue, small.times.train, small.times.validation
    )


def test_a_law_finds_the_weights_that_made_the_costs() -> None:
    sizes = [(n, d) for n in (4, 8, 16) for d in (10, 100, 1000)]
    costs = [3.0 + 0.5 * n + 2e-4 * n * d for n, d in sizes]
    law = Law.fit([(0, 0), (1, 0), (0, 1), (1, 1)], sizes, costs)
    assert law.weights == pytest.approx((3.0, 0.5, 0.0, 2e-4), rel=1e-6, abs=1e-9)
    assert law.at(100, 10_000) == pytest.approx(3 + 50 + 200)


def test_costs_and_scenarios_are_worked_out_on_a_small_scale(data: TrainData) -> None:
    found = scale.run(data=data, quick=True)
    assert found["ours"] > 0
    assert found["peer"] > 0
    paper = [case for case in found["cases"] if "users_a_site" in case]
    assert [case["sites"] for case in paper] == [sites for sites, _, _ in scale.SCENARIOS]
    assert all(case["value"] > 0 for case in found["cases"] if "value" in case)
    # A hundred times the users, a hundred times the histories; the sum does not notice.
    few, many = paper[1], paper[2]
    assert many["vault_history_GB"] == pytest.approx(100 * few["vault_history_GB"])
    assert many["site_MB_a_run"] == few["site_MB_a_run"]


def test_a_wrong_prediction_makes_the_figure_void(
    data: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = parts.sum_cost

    def slower(sites: int, dim: int, repeats: int = 3) -> SumCost:
        cost = real(sites, dim, repeats)
        if (sites, dim) == (12, 10_000):
            return SumCost(
                5 * cost.site_seconds, 5 * cost.coordinator_seconds, cost.site_bytes, cost.exact
            )
        return cost

    monkeypatch.setattr(parts, "sum_cost", slower)
    assert scale.run(data=data, quick=True)["equal"] is False
