"""The federation benchmark: equal losses or void, and a grid that grows with the cohort."""

from __future__ import annotations

import numpy as np
import pytest

from groundswell.simulation.benchmarks import federation, federation_sides
from groundswell.simulation.benchmarks.federation_task import (
    FederationTask,
    Outcome,
    held_out_loss,
)


def test_ours_ends_with_the_bare_loops_weights_to_the_bit() -> None:
    task = FederationTask(20, 4, 3)
    expected = federation_sides.bare(task).weights
    assert np.array_equal(federation_sides.ours(task).weights, expected)


def test_training_lowers_the_loss() -> None:
    few, many = (
        held_out_loss(federation_sides.bare(FederationTask(20, 10, rounds)).weights)
        for rounds in (1, 12)
    )
    assert many < 0.95 * few


def test_all_cases_have_the_bare_loops_loss() -> None:
    found = federation.run(20, 4, 2, repeats=1, ray=False, populations=(60,))
    assert found["equal"] is True
    assert found["ratio"] == found["peer"] / found["ours"]
    by_name = [case["case"] for case in found["cases"]]
    assert by_name[:2] == ["bare loop", "ours"]
    assert sum(name.startswith("privacy part") for name in by_name) == 6


def test_another_loss_makes_the_figure_void(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(task: FederationTask) -> Outcome:
        found = federation_sides.ours(task)
        return Outcome(found.seconds, found.weights * np.float32(1.01))

    monkeypatch.setattr(federation, "ours", other)
    found = federation.run(20, 4, 2, repeats=1, ray=False, populations=())
    assert found["equal"] is False
