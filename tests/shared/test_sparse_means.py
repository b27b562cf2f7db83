"""Figures of which few are not 0, told from their noise."""

from __future__ import annotations

import numpy as np
import pytest

from groundswell.shared.sparse_means import posterior_means


def few_of_many(draw: np.random.Generator, share: float) -> np.ndarray:
    figures = np.zeros(40_000)
    chosen = draw.random(len(figures)) < share
    figures[chosen] = draw.exponential(5.0, int(chosen.sum()))
    return figures


@pytest.mark.parametrize("share", [0.001, 0.02])
def test_the_error_is_below_that_of_any_threshold(share: float) -> None:
    draw = np.random.default_rng(0)
    figures, deviation = few_of_many(draw, share), 1.3
    seen = figures + deviation * draw.standard_normal(len(figures))
    found = posterior_means(seen, deviation, np.zeros(len(seen), dtype=np.int8))
    error = ((found - figures) ** 2).sum()
    for threshold in (0, 2, 3, 4, 5):
        cut = np.where(seen >= threshold * deviation, seen, 0)
        assert error < ((cut - figures) ** 2).sum()


def test_noise_alone_leaves_next_to_nothing() -> None:
    seen = 2.0 * np.random.default_rng(1).standard_normal(100_000)
    found = posterior_means(seen, 2.0, np.zeros(len(seen), dtype=np.int8))
    assert found.sum() < 0.01 * np.maximum(seen, 0).sum()


def test_a_class_in_which_more_is_found_believes_more_of_what_it_sees() -> None:
    draw = np.random.default_rng(2)
    figures = np.concatenate([few_of_many(draw, 0.1), few_of_many(draw, 0.0005)])
    seen = figures + draw.standard_normal(len(figures))
    kind = np.repeat([0, 1], 40_000)
    seen[[0, -1]] = 3.0
    found = posterior_means(seen, 1.0, kind)
    assert found[0] > 10 * found[-1]


def test_without_noise_to_speak_of_every_figure_stays() -> None:
    figures = few_of_many(np.random.default_rng(3), 0.01)
    found = posterior_means(figures, 1e-6, np.zeros(len(figures), dtype=np.int8))
    assert found == pytest.approx(figures, abs=1e-5)


def test_figures_far_beyond_the_noise_stay_finite() -> None:
    seen = np.array([1e9, -1e9, 0.0, 5.0])
    found = posterior_means(seen, 1e-3, np.zeros(4, dtype=np.int8))
    assert np.isfinite(found).all()
    assert found[:3] == pytest.approx([1e9, 0, 0], rel=1e-6, abs=1e-3)
