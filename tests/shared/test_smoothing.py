"""Smoothing leans on similar labels where noise is heavy, and leaves clear figures alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.smoothing import similarity, smooth, smoothed_popularity
from groundswell.shared.unseen import extended_statistics

GROUPS = 6
PER_GROUP = 10


def catalogue(labels: int) -> Catalogue:
    names = tuple(f"{i % GROUPS}-{i:03d}" for i in range(labels))
    return Catalogue(
        "made up",
        names,
        names,
        tuple(name[0] for name in names),
        np.ones(labels, dtype=np.float32),
        {},
    )


@pytest.fixture(scope="module")
def world() -> tuple[Catalogue, NDArray[np.float32], NDArray[np.float64]]:
    """Labels whose popularity goes with their group, and whose texts tell the group."""
    rng = np.random.default_rng(0)
    labels = GROUPS * PER_GROUP
    group = np.arange(labels) % GROUPS
    embeddings = rng.normal(size=(GROUPS, 16))[group] + 0.2 * rng.normal(size=(labels, 16))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    level = np.array([0.3, 0.1, 0.05, 0.02, 0.01, 0.004])
    popularity = level[group] * np.exp(0.2 * rng.normal(size=labels))
    return catalogue(labels), embeddings.astype(np.float32), popularity


def test_clear_figures_stay(
    world: tuple[Catalogue, NDArray[np.float32], NDArray[np.float64]],
) -> None:
    shop, embeddings, popularity = world
    found = smoothed_popularity(popularity, 1e-6, shop, embeddings)
    np.testing.assert_allclose(found, popularity, rtol=0.02)


def test_smoothing_beats_the_noisy_figures(
    world: tuple[Catalogue, NDArray[np.float32], NDArray[np.float64]],
) -> None:
    shop, embeddings, popularity = world
    noise = 0.01
    noisy = popularity + np.random.default_rng(1).normal(0, noise, len(popularity))
    found = smoothed_popularity(noisy, noise, shop, embeddings)

    def off(value: NDArray[np.float64]) -> float:
        return float(np.mean(np.abs(np.log(np.maximum(value, 1e-4) / popularity))))

    assert off(found) < 0.6 * off(noisy)


def test_a_label_never_observed_gets_what_its_like_have(
    world: tuple[Catalogue, NDArray[np.float32], NDArray[np.float64]],
) -> None:
    shop, embeddings, popularity = world
    noise = np.full(len(popularity), 1e-4)
    noise[:GROUPS] = np.inf
    kernel = 1.5 * similarity(embeddings, shop)
    found = smooth(np.where(np.isinf(noise), np.nan, popularity), noise, kernel).mean
    assert np.corrcoef(np.log(found[:GROUPS]), np.log(popularity[:GROUPS]))[0, 1] > 0.9


def test_statistics_extend_to_new_labels_and_keep_the_old(
    world: tuple[Catalogue, NDArray[np.float32], NDArray[np.float64]],
) -> None:
    shop, embeddings, popularity = world
    known = Catalogue("known", shop.labels[6:], shop.texts[6:], shop.groups[6:], shop.sizes[6:], {})
    rng = np.random.default_rng(2)
    released = {
        "popularity": popularity[6:].astype(np.float32),
        "h5": np.repeat(popularity[6:, None], 6, axis=1).astype(np.float32),
        "pairs": rng.normal(size=(len(known), 4)).astype(np.float32),
        "pairs_popularity": popularity[6:].astype(np.float32),
    }
    found = extended_statistics(released, known, shop, embeddings)
    for name, value in released.items():
        assert found[name].shape[0] == len(shop)
        np.testing.assert_allclose(found[name][6:], value, rtol=1e-6, err_msg=name)
    order = np.argsort(-found["popularity"][:6])
    np.testing.assert_array_equal(order, np.argsort(-popularity[:6]))
    same = extended_statistics(released, known, known, embeddings[6:])
    assert all(same[name] is value for name, value in released.items())
