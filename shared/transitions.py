"""Which item follows which: ordered pairs of near steps, for catalogues whose labels are items.

Of millions of possible pairs few ever occur, and items follow what is like them. So pairs alone
count whose second item is among those nearest to the first, by text and group. The first release of
popularity names these: a public list, a row an item. What else a user's history holds then takes
nothing of the user's one clip, and the sum stays short.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.histories import Float32, Histories, Int64
from groundswell.shared.sparse_means import posterior_means
from groundswell.shared.statistic_kind import Float64, SparseKind, Statistics, merged

LAGS: Mapping[int, float] = MappingProxyType({1: 1.0, 2: 0.5})  # steps apart to a pair's weight
NEIGHBOURS = 100  # nearest items of each, itself not among them
MOST_PAIRS = 64  # near steps of one user that count, the newest
# Places in the list at which pairs are believed less; an item itself has the first one.
NEARNESS = (1, 4, 11, 31)
LEAST = 0.05  # deviations of the noise below which what is left of a pair is dropped
_MOST_USERS = 1e12
FOLLOWERS_PRIOR = 10.0  # users added to all that came after an item

NEAR, KEPT, USERS = "transitions_nearest", "transitions", "transitions_users"


class Transitions(SparseKind):
    """How often an item came one or two steps before one of those near it, or before itself.

    One vector a user, from all events, without windows. Without the list of what is near nothing is
    released but noise.
    """

    name = "transitions"
    clip_norm = 1.0

    def dimension(self, labels: int) -> int:
        return labels * _width(labels)

    def needs(self, labels: int) -> Mapping[str, tuple[int, ...]]:
        return {NEAR: (labels, _width(labels))}

    def max_nonzero(self, labels: int) -> int:
        return min(MOST_PAIRS, self.dimension(labels))

    def user_cells(self, h: Histories, labels: int, earlier: Statistics) -> tuple[Int64, Float64]:
        most = self.max_nonzero(labels)
        positions = np.zeros((len(h), most), dtype=np.int64)
        values = np.zeros(positions.shape)
        near = _listed(earlier.get(NEAR), labels)
        if near is None:
            return positions, values
        owner, pair, weight, complete = _pairs(h, labels)
        position = _places(near, pair)
        known = position >= 0
        owner, position, weight = owner[known], position[known], weight[known]
        newest = np.lexsort((-weight, -complete[known], owner))
        owner, position, weight = owner[newest], position[newest], weight[newest]
        kept = _rank(owner) < most
        cell, back = np.unique(
            np.stack([owner[kept], position[kept]], axis=1), axis=0, return_inverse=True
        )
        slot = _rank(cell[:, 0])
        positions[cell[:, 0], slot] = cell[:, 1]
        values[cell[:, 0], slot] = np.bincount(
            back.reshape(-1), weights=weight[kept], minlength=len(cell)
        )
        return positions, values

    def estimate(
        self,
        noisy_sum: Float64,
        users: float,
        noise_std: float,
        catalogue: Catalogue,
        earlier: Statistics,
        label_embeddings: Float32,
    ) -> dict[str, Float32]:
        labels = len(catalogue.labels)
        if _listed(earlier.get(NEAR), labels) is None:
            return {}
        mean, deviation, kept = merged(self.name, noisy_sum / users, noise_std / users, earlier)
        width = _width(labels)
        nearness = np.tile(np.digitize(np.arange(width), NEARNESS), labels)
        counts = posterior_means(mean, deviation, nearness)
        counts[counts <= LEAST * deviation] = 0
        return {
            KEPT: (counts * users).reshape(labels, width).astype(np.float32),
            USERS: np.array([users], dtype=np.float32),
            **kept,
        }


@dataclass(frozen=True)
class Followers:
    """Released transitions by the item that came first, in users.

    Attributes:
        item, count: int64 and float32 ``[L, W]``: those near an item, itself first, and how often
            they came after it; 0 where nothing was released.
        users: behind the release, 0 where there was none.
    """

    item: Int64 = field(repr=False)
    count: Float32 = field(repr=False)
    users: float

    @classmethod
    def of(cls, statistics: Statistics, labels: int) -> Followers:
        """From released statistics, which may hold anything: what is no pair counts 0."""
        near, count = _listed(statistics.get(NEAR), labels), statistics.get(KEPT)
        if near is None or count is None or count.shape != near.shape:
            near, count = np.zeros((labels, 1), dtype=np.int64), np.zeros((labels, 1), np.float32)
        told = np.nan_to_num(statistics.get(USERS, np.zeros(1)), posinf=0, neginf=0)
        users = float(np.clip(told.sum(), 0, _MOST_USERS))
        sound = (near >= 0) & np.isfinite(count) & (count > 0)
        count = np.where(sound, np.minimum(count, np.float32(users)), 0).astype(np.float32)
        return cls(np.maximum(near, 0), count, users)

    def after(self, item: int) -> tuple[Int64, Float32]:
        """What came after an item, others alone, and how often."""
        return self.item[item, 1:], self.count[item, 1:]

    def itself(self, item: int) -> np.float32:
        """How often an item followed itself."""
        return np.float32(self.count[item, 0])

    def scale(self, item: int) -> np.float32:
        """What makes counts after an item a share of all that came after it."""
        return np.float32(1 / (float(self.count[item, 1:].sum()) + FOLLOWERS_PRIOR))


def nearest(likeness: Float64) -> Float32:
    """float32 ``[L, W]``: each item, then the items most like it; a public list.

    Args:
        likeness: ``[L, L]``.
    """
    width = _width(len(likeness))
    near = np.empty((len(likeness), width), dtype=np.float32)
    for item, row in enumerate(likeness):
        ranked = np.where(np.arange(len(row)) == item, np.inf, row)
        near[item] = np.argsort(-ranked, kind="stable")[:width]
    return near


def of_other_labels(statistics: Statistics, source: Int64, known: int) -> dict[str, Float32]:
    """Transitions between the labels of another catalogue, where both are known.

    Args:
        source: int64 ``[L]``, each label's place among the ``known`` ones, -1 for an unknown one.
    """
    near = _listed(statistics.get(NEAR), known)
    count = statistics.get(KEPT)
    if near is None or count is None or count.shape != near.shape or USERS not in statistics:
        return {}
    place = np.full(known + 1, -1)  # the last one stands for no item
    place[source[source >= 0]] = np.flatnonzero(source >= 0)
    shape = (len(source), _width(len(source)))
    own, counts = np.full(shape, -1.0, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    own[:, 0] = np.arange(len(source))
    for label in np.flatnonzero(source >= 0):
        moved, taken = place[near[source[label]]], count[source[label]]
        # Of a list that is longer than the new one the items that came after most often are kept.
        kept = np.flatnonzero(moved[1:] >= 0) + 1
        kept = np.sort(kept[np.argsort(-taken[kept], kind="stable")][: shape[1] - 1])
        own[label, 1 : 1 + len(kept)], counts[label, 1 : 1 + len(kept)] = moved[kept], taken[kept]
        counts[label, 0] = taken[0]
    return {NEAR: own, KEPT: counts, USERS: statistics[USERS]}


def _width(labels: int) -> int:
    return min(labels, NEIGHBOURS + 1)


def _listed(near: NDArray[np.floating] | None, labels: int) -> Int64 | None:
    """The list of what is near, int64 ``[L, W]``, -1 for what is no item; None: it is no list."""
    if near is None or near.shape != (labels, _width(labels)):
        return None
    with np.errstate(invalid="ignore"):
        sound = (near >= 0) & (near < labels)
    return np.where(sound, near, -1).astype(np.int64)


def _pairs(h: Histories, labels: int) -> tuple[Int64, Int64, Float64, Int64]:
    """Near steps: row, first item times ``labels`` plus second, weight, and when complete."""
    counted = np.flatnonzero((h.label >= 0) & (h.weight > 0))
    row, label = h.row()[counted], h.label[counted].astype(np.int64)
    parts: list[tuple[Int64, Int64, Float64, Int64]] = []
    for lag, weight in LAGS.items():
        first = np.flatnonzero(row[:-lag] == row[lag:])
        pair = label[first] * labels + label[first + lag]
        parts.append((row[first], pair, np.full(len(first), weight), first + lag))
    return (
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
        np.concatenate([part[3] for part in parts]),
    )


def _places(near: Int64, pair: Int64) -> Int64:
    """Where each pair stands in the list, row by row, -1 where it does not."""
    labels = len(near)
    listed = (np.arange(labels)[:, None] * labels + near).ravel()
    listed[near.ravel() < 0] = -1
    order = np.argsort(listed, kind="stable")
    # Of an item that a row names twice the first place counts.
    found = np.minimum(np.searchsorted(listed[order], pair), len(order) - 1)
    place = order[found]
    return np.where(listed[place] == pair, place, -1)


def _rank(owner: Int64) -> Int64:
    """The place of each entry among those of its owner; equal owners follow each other."""
    return np.arange(len(owner)) - np.searchsorted(owner, owner)
