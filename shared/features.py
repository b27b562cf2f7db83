"""Scores of a user for a label, tilts of their sum, and facts about the user: inputs of the head.

Every value depends on one row's own events before its prediction time, on public constants, and on
released statistics. Scales are public constants, so that each score sums to about ten over labels
and one learning rate serves all. The tilts say how a label stands in the user's own rhythm; they
need no statistic, so they cost no budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.habits import HALF_LIVES, LEVELS, NEVER, Habits
from groundswell.shared.histories import Float32
from groundswell.shared.pairs import associations
from groundswell.shared.products import rows_times
from groundswell.shared.statistic_kind import Statistics

DAYS_A_WEEK = 7.0
LABELS_A_WEEK = 10.0  # scale of every score: its sum over labels is about this
ASSOCIATION_SCALE = 60.0
GROUP_SCALE = 3.0
BASKETS_PRIOR = 2.0  # keeps the share of a user with one basket below 1
NEIGHBOUR_COSINE = 0.3  # texts less alike than this don't lend counts to each other
LEAST_POPULARITY = 1e-5
LEAST_HAZARD = 0.02
# Logarithms: the hazard of a label bought every month, and how far out of rhythm still counts.
_HAZARD_CENTRE, _LARGEST_LATENESS = -1.5, 2.0
_TILT_SCALE = 0.25


class Family(StrEnum):
    """What a score rests on; each family can be switched off."""

    HABIT = "habit"
    STATISTICS = "statistics"
    BERT = "bert"


_DECAYED = tuple(f"decayed_{half_life:.0f}" for half_life in HALF_LIVES)
# What each score needs; it is 0 when any of them is off.
SCORES: dict[str, frozenset[Family]] = {
    **{name: frozenset({Family.HABIT}) for name in _DECAYED},
    "share": frozenset({Family.HABIT}),
    "popularity": frozenset(),
    "repeat": frozenset({Family.HABIT, Family.STATISTICS}),
    "group": frozenset({Family.HABIT}),
    "association": frozenset({Family.HABIT, Family.STATISTICS}),
    "neighbours": frozenset({Family.HABIT, Family.BERT}),
}
# Added to the logarithm of the scores' sum, each times a factor of the user.
TILTS = ("lateness", "lateness_squared", "hazard")
FACTS = ("labels", "baskets", "idle", "tenure")
# A quarter of each fact's log1p, centred: one learning rate then serves gates and their slopes.
_FACT_CENTRES = np.array([0.9, 0.75, 0.4, 1.2], dtype=np.float32)


@dataclass(frozen=True)
class LabelSpace:
    """What the public catalogue says of its labels.

    Attributes:
        embeddings: float32 ``[L, D]``, text embeddings, rows of unit length.
        directions: float32 ``[L, D]``, the same about their mean, rows of unit length.
        centre: float32 ``[D]``, the mean of ``embeddings``.
        neighbours: float32 ``[L, L]``, text similarity to other labels, columns of sum 1 or 0.
        group: int64 ``[L]``, number of each label's group; a label without one is its own.
    """

    embeddings: Float32
    directions: Float32
    centre: Float32
    neighbours: Float32
    group: NDArray[np.int64]

    @classmethod
    def of(cls, catalogue: Catalogue, embeddings: Float32) -> LabelSpace:
        """From a catalogue and its texts' embeddings, float32 ``[L, D]``, rows of unit length."""
        centre = embeddings.mean(axis=0)
        about = embeddings - centre
        norm = np.linalg.norm(about, axis=1, keepdims=True)
        near = embeddings @ embeddings.T
        np.fill_diagonal(near, 0.0)
        near = np.maximum(near - NEIGHBOUR_COSINE, 0.0)
        near = near / np.maximum(near.sum(axis=1, keepdims=True), 1e-6)
        names = {name: i for i, name in enumerate(sorted(set(catalogue.groups) - {""}))}
        numbers = [names.get(name, len(names) + i) for i, name in enumerate(catalogue.groups)]
        _, group = np.unique(np.array(numbers, dtype=np.int64), return_inverse=True)
        return cls(
            embeddings.astype(np.float32),
            (about / np.maximum(norm, 1e-6)).astype(np.float32),
            centre.astype(np.float32),
            near.T.astype(np.float32),
            group.astype(np.int64),
        )


def relative_popularity(statistics: Statistics, labels: int) -> Float32:
    """float32 ``[L]``, > 0, sum ``LABELS_A_WEEK``; uniform where popularity is not known."""
    if "popularity" not in statistics:
        return np.full(labels, LABELS_A_WEEK / labels, dtype=np.float32)
    p = np.maximum(statistics["popularity"], LEAST_POPULARITY)
    return np.asarray(p * (LABELS_A_WEEK / p.sum()), dtype=np.float32)


def scores(
    habits: Habits,
    statistics: Statistics,
    space: LabelSpace,
    families: frozenset[Family] = frozenset(Family),
) -> Float32:
    """The non-negative scores, float32 ``[B, L, len(SCORES)]``.

    Args:
        statistics: released statistics by name; a score whose statistic is missing is 0.
        families: those switched on.
    """
    rows, labels = habits.count.shape
    if Family.STATISTICS not in families:
        statistics = {}
    popularity = relative_popularity(statistics, labels)
    out = np.zeros((rows, labels, len(SCORES)), dtype=np.float32)
    for k, (name, needs) in enumerate(SCORES.items()):
        if needs <= families:
            out[:, :, k] = _score(name, habits, statistics, space, popularity)
    return out


def _score(
    name: str, habits: Habits, statistics: Statistics, space: LabelSpace, popularity: Float32
) -> Float32:
    longest = habits.decayed[-1]
    value: NDArray[np.floating] = np.zeros((1, 1), dtype=np.float32)
    if name in _DECAYED:
        i = _DECAYED.index(name)
        value = habits.decayed[i] * np.float32(DAYS_A_WEEK * np.log(2) / HALF_LIVES[i])
    elif name == "share":
        value = habits.count / (np.maximum(habits.baskets, 1) + BASKETS_PRIOR)[:, None]
    elif name == "popularity":
        value = popularity
    elif name == "repeat" and "h5" in statistics:
        levels = np.minimum(habits.level, LEVELS - 1)
        value = statistics["h5"][np.arange(levels.shape[1])[None, :], levels]
    elif name == "group":
        total = np.maximum(longest.sum(axis=1, keepdims=True), 1e-3)
        value = _within_groups(longest, space.group) / total * popularity * GROUP_SCALE
    elif name == "association" and "pairs" in statistics:
        found = associations(habits.count, statistics["pairs_popularity"], statistics["pairs"])
        value = np.maximum(found, 0) * ASSOCIATION_SCALE
    elif name == "neighbours":
        value = rows_times(np.log1p(longest), space.neighbours) * popularity
    return np.asarray(value, dtype=np.float32)


def tilts(habits: Habits, window_days: float = DAYS_A_WEEK) -> Float32:
    """How labels stand in the user's own rhythm, float32 ``[B, L, len(TILTS)]``, any sign.

    Lateness is the logarithm of the time since the last occasion over the usual gap, 0 where there
    is no gap yet; half a window is added to both, as nothing finer than a window is forecast.
    """
    half = np.float32(window_days / 2)
    so_far = np.floor(np.minimum(habits.since, NEVER)) + 1
    lateness = np.log((so_far + half) / (habits.gap + half))
    lateness = np.where(habits.gap > 0, lateness, 0).clip(-_LARGEST_LATENESS, _LARGEST_LATENESS)
    hazard = np.log(habits.hazard + np.float32(LEAST_HAZARD)) - np.float32(_HAZARD_CENTRE)
    hazard = np.where(habits.count > 0, hazard, 0)
    found = np.stack([lateness, lateness**2 / 2, hazard], axis=-1)
    return np.asarray(found * np.float32(_TILT_SCALE), dtype=np.float32)


def evidence(
    habits: Habits,
    statistics: Statistics,
    space: LabelSpace,
    families: frozenset[Family] = frozenset(Family),
    window_days: float = DAYS_A_WEEK,
) -> Float32:
    """Scores, then tilts: float32 ``[B, L, len(SCORES) + len(TILTS)]``; tilts are 0 without habits.

    Args:
        window_days: length of the window that is forecast.
    """
    tilted = tilts(habits, window_days)
    if Family.HABIT not in families:
        tilted = np.zeros_like(tilted)
    return np.concatenate([scores(habits, statistics, space, families), tilted], axis=-1)


def facts(habits: Habits) -> Float32:
    """Facts of the user in public units, float32 ``[B, len(FACTS)]``, about in [-.5, .5]."""
    labels = (habits.count > 0).sum(axis=1).astype(np.float32)
    raw = np.stack([labels, habits.baskets, habits.idle, habits.tenure], axis=1)
    return np.asarray(np.log1p(np.maximum(raw, 0)) / 4 - _FACT_CENTRES, dtype=np.float32)


def _within_groups(values: Float32, group: NDArray[np.int64]) -> Float32:
    """float32 ``[B, L]``: each label's sum of ``values`` (``[B, L]``) over its group."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) > 0])
    sums = np.add.reduceat(values[:, order], starts, axis=1)
    return np.asarray(sums[:, group], dtype=np.float32)
