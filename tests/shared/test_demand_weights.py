"""Weighed windows: exactly undone, the same for everybody, and less noise where it is read."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundswell.shared import demand_weights
from groundswell.shared.demand_weights import WINDOWS, covariance, matrix, unweighed, weighed


def test_without_noise_the_counts_come_back() -> None:
    counts = np.random.default_rng(0).poisson(700.0, (2, WINDOWS, 5)).astype(float)
    np.testing.assert_allclose(unweighed(weighed(counts)), counts, rtol=1e-12)


def test_who_was_active_lately_counts_no_less_than_who_was_long_ago() -> None:
    """The cut before weighing looks at all windows alike; the clip after it seldom cuts again."""
    draw = np.random.default_rng(4)
    cells = (draw.random((400, WINDOWS, 60)) < 0.06).astype(float)
    cut = demand_weights.shares(cells.sum(axis=(1, 2)))
    assert np.linalg.norm((cells * cut[:, None, None]).reshape(400, -1), axis=1) == pytest.approx(6)
    lengths = np.linalg.norm(weighed(cells).reshape(400, -1), axis=1)
    alone = np.minimum(1, 6 / lengths)
    both = cut * np.minimum(1, 6 / (cut * lengths))

    def newest(weight: np.ndarray) -> float:
        """What is left of the newest window, over what is left of all."""
        by_window = (cells.sum(axis=2) * weight[:, None]).sum(axis=0) / cells.sum(axis=(0, 2))
        return float(by_window[-1] / by_window.mean())

    assert newest(alone) < 0.99
    assert newest(both) == pytest.approx(1, abs=0.005)
    assert (cut * lengths > 6).mean() < 0.1
    assert demand_weights.shares(np.array([0.0, 36.0, 144.0])).tolist() == [1, 1, 0.5]


@given(st.lists(st.booleans(), min_size=WINDOWS, max_size=WINDOWS))
def test_a_users_weighed_cells_are_exact_so_that_no_order_of_adding_shows(
    acted: list[bool],
) -> None:
    cells = np.array(acted, dtype=float)[:, None]
    exact = [math.fsum(row[acted]) for row in matrix()]
    assert weighed(cells)[:, 0].tolist() == exact
    assert weighed(np.repeat(cells, 40, axis=1))[:, 7].tolist() == exact


def test_the_noise_that_is_told_is_that_of_the_counts() -> None:
    drawn = unweighed(np.random.default_rng(1).normal(0, 3.0, (WINDOWS, 60_000)))
    told = covariance(3.0)
    found = np.cov(drawn)
    spread = np.sqrt(np.outer(np.diagonal(told), np.diagonal(told)))
    assert np.abs((found - told) / spread).max() < 0.03
    assert not covariance(0.0).any()


def test_the_newest_window_and_forecasts_have_less_noise_than_plain_sums_would_have() -> None:
    """Of the same clip and the same share of a user's demand that it lets through."""
    told = covariance(1.0)
    deviations = np.sqrt(np.diagonal(told))
    assert deviations[-1] < 0.75
    assert deviations.max() < 1.5
    newest = np.zeros(WINDOWS)
    newest[-9:] = [*[-1 / 8] * 8, 1.0]
    assert np.sqrt(newest @ told @ newest) < 0.95 * np.linalg.norm(newest)
    shared = demand_weights.course(WINDOWS + 1, 0.2, 1e-4, 0.03)
    looks = np.linalg.solve(
        shared[:WINDOWS, :WINDOWS] + 0.005 * np.eye(WINDOWS), shared[:WINDOWS, WINDOWS]
    )
    assert np.sqrt(looks @ told @ looks) < 0.55 * np.linalg.norm(looks)


def test_all_sites_and_the_coordinator_use_one_constant_matrix() -> None:
    """A changed number would make the release of an older site something else."""
    kept = matrix()
    assert kept is matrix()
    assert kept[-1, -1] == pytest.approx(1.375999, abs=1e-5)
    assert np.square(kept).sum() == pytest.approx(WINDOWS * (6 / 7) ** 2, rel=1e-5)
    assert np.array_equal(kept * 2.0**20, np.rint(kept * 2.0**20))
    assert not np.tril(kept, -1).any()
    with pytest.raises(ValueError, match="read-only"):
        kept[0, 0] = 1.0
