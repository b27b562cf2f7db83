"""Population statistics: what each user contributes, and what the noised sum is made into.

What a kind of statistic is, says ``statistic_kind``. A user's vector is here the mean over the
user's own windows, unless a kind says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from groundswell.shared import demand_weights
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.demand_release import ALL_ACTIONS, NOISE_TENSOR, DemandBlock, acted_on
from groundswell.shared.habits import LEVELS, RECENT_BASKETS
from groundswell.shared.histories import Float32, Histories, Int64
from groundswell.shared.pairs import (
    RANK,
    association_vectors,
    denoised_factor,
    directions,
    projected,
    released_pairs,
)
from groundswell.shared.plan import DEMAND
from groundswell.shared.smoothing import similarity, smoothed_popularity, smoothed_rates
from groundswell.shared.statistic_kind import Float64, StatisticKind, Statistics, merged
from groundswell.shared.targets import label_weights
from groundswell.shared.task import Task
from groundswell.shared.transitions import NEAR, Transitions, nearest


class Popularity(StatisticKind):
    """Share of a user's active windows in which a label was acted on.

    Args:
        compared: whether pairs are released too, whose directions follow from the first release.
        items: whether transitions are: labels are then items, of which a window holds one or two,
            so that a user's vector is short, and so is the clip. The first release says which items
            are near each other.
    """

    name = "popularity"
    clip_norm = 2.0
    CLIP_OF_ITEMS = 0.5

    def __init__(self, *, compared: bool = True, items: bool = False) -> None:
        self._compared, self._items = compared, items
        if items:
            self.clip_norm = self.CLIP_OF_ITEMS

    def dimension(self, labels: int) -> int:
        return labels

    def user_vectors(
        self, h: Histories, windows_at: Int64, task: Task, catalogue: Catalogue, earlier: Statistics
    ) -> Float64:
        labels = len(catalogue.labels)
        total = np.zeros((len(h), labels))
        windows = np.zeros(len(h))
        for at in windows_at:
            acted = _acted(h, int(at), task, labels)
            total += acted
            windows += acted.any(axis=1)
        return total / np.maximum(windows, 1)[:, None]

    def estimate(
        self,
        noisy_sum: Float64,
        users: float,
        noise_std: float,
        catalogue: Catalogue,
        earlier: Statistics,
        label_embeddings: Float32,
    ) -> dict[str, Float32]:
        mean, deviation, kept = merged(self.name, noisy_sum / users, noise_std / users, earlier)
        popularity = smoothed_popularity(mean, deviation, catalogue, label_embeddings)
        released = {"popularity": popularity.astype(np.float32), **kept}
        if self._items and NEAR not in earlier:
            released[NEAR] = nearest(similarity(label_embeddings, catalogue))
        if self._compared and "pairs_basis" not in earlier:
            basis = directions(popularity, similarity(label_embeddings, catalogue))
            released |= {
                "pairs_basis": basis.astype(np.float32),
                "pairs_popularity": released["popularity"],
            }
        return released


class RepeatRates(StatisticKind):
    """h5: how often a label is bought, by how many of the last five baskets held it.

    Blocks: bought at levels 0..5 over ``BOUGHT``, at risk at levels 1..5 over ``AT_RISK``, all over
    sqrt 2. At risk at level 0 is the rest of the users and is not released.
    """

    name = "h5"
    clip_norm = 1.0
    BOUGHT = 1.5
    AT_RISK = 3.0

    def dimension(self, labels: int) -> int:
        return (2 * LEVELS - 1) * labels

    def user_vectors(
        self, h: Histories, windows_at: Int64, task: Task, catalogue: Catalogue, earlier: Statistics
    ) -> Float64:
        labels = len(catalogue.labels)
        bought = np.zeros((len(h), LEVELS, labels))
        at_risk = np.zeros((len(h), LEVELS, labels))
        windows = np.zeros(len(h))
        for at in windows_at:
            acted = _acted(h, int(at), task, labels)
            level = _levels(h, int(at), task, labels)
            active: NDArray[np.bool_] = np.asarray(acted.any(axis=1))
            windows += active
            for k in range(LEVELS):
                here = np.equal(level, np.int8(k)) & active[:, None]
                bought[:, k] += acted * here
                at_risk[:, k] += here
        bought /= np.maximum(windows, 1)[:, None, None] * self.BOUGHT
        at_risk /= np.maximum(windows, 1)[:, None, None] * self.AT_RISK
        blocks = np.concatenate([bought, at_risk[:, 1:]], axis=1)
        return np.asarray(blocks.reshape(len(h), -1) / np.sqrt(2), dtype=np.float64)

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
        mean, deviation, kept = merged(self.name, noisy_sum / users, noise_std / users, earlier)
        blocks = mean.reshape(2 * LEVELS - 1, labels) * np.sqrt(2)
        deviation *= float(np.sqrt(2))
        popularity = self._popularity(blocks, deviation, catalogue, earlier, label_embeddings)
        rates = smoothed_rates(
            bought=blocks[:LEVELS] * self.BOUGHT,
            at_risk=blocks[LEVELS:] * self.AT_RISK,
            bought_std=deviation * self.BOUGHT,
            at_risk_std=deviation * self.AT_RISK,
            popularity=popularity,
            embeddings=label_embeddings,
            catalogue=catalogue,
        )
        return {
            "h5": rates.astype(np.float32),
            "popularity": popularity.astype(np.float32),
            **kept,
        }

    def _popularity(
        self,
        blocks: Float64,
        deviation: float,
        catalogue: Catalogue,
        earlier: Statistics,
        embeddings: Float32,
    ) -> Float64:
        """Popularity from its own release and from this one's sum over levels, float64 ``[L]``."""
        again = blocks[:LEVELS].sum(axis=0) * self.BOUGHT
        if "popularity_mean" not in earlier:
            if "popularity" in earlier:
                return np.maximum(earlier["popularity"].astype(np.float64), 0)
            alone = deviation * self.BOUGHT * float(np.sqrt(LEVELS))
            return smoothed_popularity(again, alone, catalogue, embeddings)
        released = earlier["popularity_mean"].astype(np.float64)
        own = float(earlier["popularity_deviation"][0])
        # The clips differ, so the two may differ by a factor, which all labels share.
        factor = np.clip(released.sum() / max(float(again.sum()), 1e-9), 0.5, 2.0)
        other = deviation * self.BOUGHT * np.sqrt(LEVELS) * factor
        share = own**2 / max(own**2 + other**2, 1e-18)
        mean = (1 - share) * released + share * factor * again
        noise = float(np.hypot((1 - share) * own, share * other))
        return smoothed_popularity(mean, noise, catalogue, embeddings)


class Pairs(StatisticKind):
    """Which labels go together: the Gram matrix of users' association vectors, cut to low rank.

    Released is the upper triangle of ``z z^T``, off-diagonal entries times sqrt 2, so that a user's
    vector has the norm ``|z|^2 <= 1``. One ``z`` a user, from all events, without windows. What
    labels are weighted by and compared along comes with the first release of popularity and stays,
    so that later releases can be averaged; without it nothing is released but noise.
    """

    name = "pairs"
    clip_norm = 1.0

    def dimension(self, labels: int) -> int:
        rank = min(RANK, labels)
        return rank * (rank + 1) // 2

    def needs(self, labels: int) -> Mapping[str, tuple[int, ...]]:
        return {"pairs_popularity": (labels,), "pairs_basis": (labels, min(RANK, labels))}

    def user_vectors(
        self, h: Histories, windows_at: Int64, task: Task, catalogue: Catalogue, earlier: Statistics
    ) -> Float64:
        labels = len(catalogue.labels)
        basis = earlier.get("pairs_basis")
        if basis is None or basis.shape != (labels, min(RANK, labels)):
            return np.zeros((len(h), self.dimension(labels)))
        counts = _occasion_counts(h, labels)
        x = association_vectors(counts, earlier["pairs_popularity"])
        return released_pairs(projected(x, basis))

    def estimate(
        self,
        noisy_sum: Float64,
        users: float,
        noise_std: float,
        catalogue: Catalogue,
        earlier: Statistics,
        label_embeddings: Float32,
    ) -> dict[str, Float32]:
        if "pairs_basis" not in earlier:
            return {}
        mean, deviation, kept = merged(self.name, noisy_sum / users, noise_std / users, earlier)
        basis = earlier["pairs_basis"].astype(np.float64)
        return {"pairs": denoised_factor(mean, deviation, basis).astype(np.float32), **kept}


class WeeklyDemand(StatisticKind):
    """How many users acted on each label in each of the last windows: demand over all sites.

    A user's cells are 1 for each (block, window, label) acted on, newest window last, and 0 in
    windows before the first one of the plan. The vector is the cells, cut to a public length, with
    their windows turned by a public matrix (``demand_weights``), as one whole under one clip: very
    active users count less, in every block and window alike.

    Args:
        actions: of the task's, those with a block of their own after that of all together.
    """

    name = DEMAND
    clip_norm = 6.0
    before_rounds = False
    WINDOWS = demand_weights.WINDOWS

    def __init__(self, actions: tuple[str, ...] = ()) -> None:
        self._blocks = (ALL_ACTIONS, *map(DemandBlock, actions))

    def dimension(self, labels: int) -> int:
        return len(self._blocks) * self.WINDOWS * labels

    def user_vectors(
        self, h: Histories, windows_at: Int64, task: Task, catalogue: Catalogue, earlier: Statistics
    ) -> Float64:
        labels = len(catalogue.labels)
        cells = np.zeros((len(h), len(self._blocks), self.WINDOWS, labels))
        newest = windows_at[-self.WINDOWS :]
        for place, at in enumerate(newest, self.WINDOWS - len(newest)):
            times = np.full(len(h), int(at), dtype=np.int64)
            for number, block in enumerate(self._blocks):
                cells[:, number, place] = acted_on(h, times, task, labels, block.action)
        vectors = demand_weights.weighed(cells).reshape(len(h), self.dimension(labels))
        return vectors * demand_weights.shares(cells.sum(axis=(1, 2, 3)))[:, None]

    def estimate(
        self,
        noisy_sum: Float64,
        users: float,
        noise_std: float,
        catalogue: Catalogue,
        earlier: Statistics,
        label_embeddings: Float32,
    ) -> dict[str, Float32]:
        sums = noisy_sum.reshape(len(self._blocks), self.WINDOWS, -1)
        grids = demand_weights.unweighed(sums).astype(np.float32)
        return {
            NOISE_TENSOR: demand_weights.covariance(noise_std).astype(np.float32),
            **{block.tensor: grid for block, grid in zip(self._blocks, grids, strict=True)},
        }


def _acted(h: Histories, at: int, task: Task, labels: int) -> Float64:
    """float64 ``[U, L]`` in [0, 1]: weight of the window at ``at``, for users seen before it."""
    times = np.full(len(h), at, dtype=np.int64)
    acted = np.minimum(label_weights(h, times, task.window_us, labels), 1).astype(np.float64)
    seen = np.diff(h.before(times).offsets) > 0
    return acted * seen[:, None]


def _levels(h: Histories, at: int, task: Task, labels: int) -> NDArray[np.int8]:
    """int8 ``[U, L]``: how many of the last five baskets before ``at`` held the label."""
    times = np.full(len(h), at, dtype=np.int64)
    recent = h.between(times - task.history_us, times).last_baskets(RECENT_BASKETS)
    return _occasion_counts(recent, labels).clip(0, LEVELS - 1).astype(np.int8)


def _occasion_counts(h: Histories, labels: int) -> Float64:
    """float64 ``[U, L]``: number of baskets that hold the label."""
    counted = (h.label >= 0) & (h.weight > 0)
    cell = h.row()[counted] * labels + h.label[counted]
    key = np.unique(cell * (int(h.basket.max(initial=0)) + 1) + h.basket[counted])
    cells = key // (int(h.basket.max(initial=0)) + 1)
    counts = np.bincount(cells, minlength=len(h) * labels)
    return counts.reshape(len(h), labels).astype(np.float64)


STATISTICS: Mapping[str, StatisticKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (Popularity(), RepeatRates(), Pairs(), Transitions(), WeeklyDemand())
    }
)


def statistic_of(
    kind: str, actions: tuple[str, ...] = (), beside: Collection[str] = ()
) -> StatisticKind:
    """The statistic of a planned release; KeyError where there is none of this kind.

    Args:
        actions: of demand, as planned.
        beside: the plan's other kinds, for which popularity may have something to prepare.
    """
    if kind == DEMAND:
        return WeeklyDemand(actions)
    if kind == Popularity.name:
        return Popularity(compared=Pairs.name in beside, items=Transitions.name in beside)
    return STATISTICS[kind]
