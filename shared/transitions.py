"""Which item follows which: ordered pairs of near steps, for catalogues whose labels are items.

Of millions of possible pairs few ever occur. So a user's vector is sparse, and what is made of the
noised sum leaves most pairs at 0. Items follow what is like them, so the nearer two texts are, the
more is believed of what stands above the noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError
from groundswell.shared.histories import Float32, Histories, Int64
from groundswell.shared.sparse_means import posterior_means
from groundswell.shared.statistic_kind import Float64, SparseKind, Statistics

LAGS: Mapping[int, float] = MappingProxyType({1: 1.0, 2: 0.5})  # steps apart to a pair's weight
MOST_PAIRS = 64  # of one user, the newest
LARGEST = 1 << 24  # coordinates: 128 MiB of a site's memory, and of every message
# Pairs are told apart by how near the second item's text is to the first one's: nine tenths of what
# occurs often lies among the thirty nearest of thousands (docs/benchmarks.md).
NEARNESS = (1, 4, 11, 31, 101, 301)  # ranks at which the next class begins; an item itself has 0
NEAR = 4  # classes whose pairs are remembered until the next release, which is averaged with them
LEAST = 0.05  # deviations of the noise below which what is left of a pair is dropped

PRIOR = 10.0  # users added to all that came after an item

KEPT, NEARBY, USERS = "transitions", "transitions_near", "transitions_users"
_NOTHING: Float32 = np.zeros((0, 3), dtype=np.float32)


class Transitions(SparseKind):
    """How often an item came one or two steps before another, or before itself.

    Released is the whole matrix, row by row, an item's row saying what came after it. One vector a
    user, from all events, without windows.
    """

    name = "transitions"
    clip_norm = 1.0

    def dimension(self, labels: int) -> int:
        if labels * labels > LARGEST:
            raise InputError(
                "[model].statistics",
                self.name,
                f"{labels} labels make {labels * labels} ordered pairs; at most {LARGEST} are "
                "released",
                "leave it out, or take labels that stand for more items each",
            )
        return labels * labels

    def max_nonzero(self, labels: int) -> int:
        return min(MOST_PAIRS, labels * labels)

    def user_cells(self, h: Histories, labels: int) -> tuple[Int64, Float64]:
        counted = np.flatnonzero((h.label >= 0) & (h.weight > 0))
        row, label = h.row()[counted], h.label[counted].astype(np.int64)
        # Of each lag: the pairs' owners, positions, weights, and when they were complete.
        parts: list[tuple[Int64, Int64, Float64, Int64]] = []
        for lag, each in LAGS.items():
            first = np.flatnonzero(row[:-lag] == row[lag:])
            position = label[first] * labels + label[first + lag]
            parts.append((row[first], position, np.full(len(first), each), first + lag))
        owner = np.concatenate([part[0] for part in parts])
        position = np.concatenate([part[1] for part in parts])
        weight = np.concatenate([part[2] for part in parts])
        complete = np.concatenate([part[3] for part in parts])
        newest = np.lexsort((-weight, -complete, owner))
        owner, position, weight = owner[newest], position[newest], weight[newest]
        kept = _rank(owner) < self.max_nonzero(labels)
        owner, position, weight = owner[kept], position[kept], weight[kept]
        cell, back = np.unique(np.stack([owner, position], axis=1), axis=0, return_inverse=True)
        total = np.bincount(back.reshape(-1), weights=weight, minlength=len(cell))
        positions = np.zeros((len(h), self.max_nonzero(labels)), dtype=np.int64)
        values = np.zeros(positions.shape)
        slot = _rank(cell[:, 0])
        positions[cell[:, 0], slot] = cell[:, 1]
        values[cell[:, 0], slot] = total
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
        mean, deviation = noisy_sum / users, noise_std / users
        kind = _nearness(label_embeddings)
        near = kind < NEAR
        remembered = _listed(np.flatnonzero(near), mean[near], labels)
        older = earlier.get(NEARBY)
        counts = np.zeros(len(mean))
        if older is None:
            counts = posterior_means(mean, deviation, kind)
        else:
            # The older release had fewer events, so it counts no more than the newer.
            place = older[:, 0].astype(np.int64) * labels + older[:, 1].astype(np.int64)
            both = (mean[place] + older[:, 2]) / 2
            counts[place] = posterior_means(both, deviation / np.sqrt(2), kind[place])
            alone = np.ones(len(mean), dtype=np.bool_)
            alone[place] = False
            counts[alone] = posterior_means(mean[alone], deviation, kind[alone])
        kept = np.flatnonzero(counts > LEAST * deviation)
        return {
            KEPT: _listed(kept, counts[kept], labels),
            NEARBY: remembered,
            USERS: np.array([users], dtype=np.float32),
        }


@dataclass(frozen=True)
class Followers:
    """Released transitions by the item that came first, in users; CSR form.

    Attributes:
        begins: int64 ``[L + 1]``, where each item's followers begin.
        item, count: int64 and float32 ``[n]``, the followers, none of them itself.
        itself: float32 ``[L]``, how often an item follows itself.
        users: behind the release, 0 where there was none.
    """

    begins: Int64 = field(repr=False)
    item: Int64 = field(repr=False)
    count: Float32 = field(repr=False)
    itself: Float32 = field(repr=False)
    users: float

    @classmethod
    def of(cls, statistics: Statistics, labels: int) -> Followers:
        """From released statistics, which may hold anything: what is no pair is left out."""
        listed = statistics.get(KEPT, _NOTHING)
        if listed.ndim != _NOTHING.ndim or listed.shape[1] != _NOTHING.shape[1]:
            listed = _NOTHING
        users = float(np.nan_to_num(statistics.get(USERS, np.zeros(1)).sum(), posinf=0, neginf=0))
        with np.errstate(invalid="ignore"):
            sound = ((listed[:, :2] >= 0) & (listed[:, :2] < labels)).all(axis=1)
            sound &= (listed[:, 2] > 0) & (listed[:, 2] <= 1)
        first, second = listed[sound, 0].astype(np.int64), listed[sound, 1].astype(np.int64)
        count = (listed[sound, 2] * np.float32(max(users, 0.0))).astype(np.float32)
        same = first == second
        itself = np.zeros(labels, dtype=np.float32)
        itself[first[same]] = count[same]
        first, second, count = first[~same], second[~same], count[~same]
        _, unique = np.unique(first * labels + second, return_index=True)
        begins = np.searchsorted(first[unique], np.arange(labels + 1))
        return cls(begins, second[unique], count[unique], itself, max(users, 0.0))

    def after(self, item: int) -> tuple[Int64, Float32]:
        """What came after an item, each once, and how often."""
        place = slice(self.begins[item], self.begins[item + 1])
        return self.item[place], self.count[place]

    def scale(self, item: int) -> np.float32:
        """What makes counts after an item a share of all that came after it."""
        return np.float32(1 / (float(self.after(item)[1].sum()) + PRIOR))


def of_other_labels(statistics: Statistics, source: Int64) -> dict[str, Float32]:
    """Transitions between the labels of another catalogue that are known.

    Args:
        source: int64 ``[L]``, each label's place among the known ones, -1 for an unknown one.
    """
    if KEPT not in statistics or USERS not in statistics:
        return {}
    listed = statistics[KEPT]
    place = np.full(int(max(source.max(initial=-1), listed[:, :2].max(initial=-1))) + 1, -1)
    place[source[source >= 0]] = np.flatnonzero(source >= 0)
    moved = listed.copy()
    moved[:, :2] = place[listed[:, :2].astype(np.int64)]
    return {KEPT: moved[(moved[:, :2] >= 0).all(axis=1)], USERS: statistics[USERS]}


def _nearness(embeddings: Float32) -> NDArray[np.int8]:
    """int8 ``[L L]``: the class of each pair, by how many texts are nearer to the first item's."""
    labels = len(embeddings)
    kind = np.zeros((labels, labels), dtype=np.int8)
    if not embeddings.any():  # without texts
        kind[:] = NEAR
        np.fill_diagonal(kind, 0)
        return kind.ravel()
    classes = np.digitize(np.arange(labels), NEARNESS).astype(np.int8)
    for item, embedding in enumerate(embeddings):
        likeness = embeddings @ embedding
        likeness[item] = np.inf
        kind[item, np.argsort(-likeness, kind="stable")] = classes
    return kind.ravel()


def _rank(owner: Int64) -> Int64:
    """The place of each entry among those of its owner; equal owners follow each other."""
    return np.arange(len(owner)) - np.searchsorted(owner, owner)


def _listed(place: Int64, value: NDArray[np.floating], labels: int) -> Float32:
    """float32 ``[n, 3]``: first item, second item, value."""
    first, second = np.divmod(place, labels)
    return np.stack([first, second, value], axis=1).astype(np.float32)
