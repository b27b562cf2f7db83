"""What every kind of statistic over users says of itself.

A *kind* is one released vector. Each user contributes one vector, divided by public constants so
that one L2 clip of the whole vector to ``clip_norm`` cuts little. A user's vector depends on that
user's own events, on constants of the plan, and on an earlier charged release alone; empty, zero
and non-finite vectors count 0. Everything in ``estimate`` is post-processing of a private sum and
costs nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.histories import Float32, Histories, Int64
from groundswell.shared.task import Task

Float64 = NDArray[np.float64]
Statistics = Mapping[str, Float32]


class StatisticKind(ABC):
    """One kind of release over users.

    Attributes:
        name: the kind's name in plan, policy and ledger.
        clip_norm: C, the L2 bound of one user's vector.
        before_rounds: also released before the rounds, which learn with it; else only after them.
    """

    name: str
    clip_norm: float
    before_rounds: bool = True

    @abstractmethod
    def dimension(self, labels: int) -> int:
        """Coordinates of the vector for a catalogue of ``labels`` labels."""

    def needs(self, labels: int) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the earlier statistics that a user's vector is computed with, by name."""
        return {}

    def max_nonzero(self, labels: int) -> int:
        """Most coordinates of one user's vector that are not 0."""
        return self.dimension(labels)

    @abstractmethod
    def user_vectors(
        self,
        h: Histories,
        windows_at: Int64,
        task: Task,
        catalogue: Catalogue,
        earlier: Statistics,
    ) -> Float64:
        """What each user contributes, before the clip.

        Args:
            h: one row a user, holding no event that the release must not see. Pass users in blocks:
                the result takes ``8 U dim`` bytes.
            windows_at: int64 ``[T]``, where the windows begin (microseconds); every window ends
                before the release's last event.
            earlier: statistics from earlier releases, an untrusted parameter.

        Returns:
            float64 ``[U, dim]``.
        """

    @abstractmethod
    def estimate(
        self,
        noisy_sum: Float64,
        users: float,
        noise_std: float,
        catalogue: Catalogue,
        earlier: Statistics,
        label_embeddings: Float32,
    ) -> dict[str, Float32]:
        """Named statistics from the sum over users.

        Args:
            noisy_sum: float64 ``[dim]``, in the unit of ``user_vectors``.
            users: declared number of users behind the sum.
            noise_std: standard deviation of the noise on each coordinate of ``noisy_sum``.
            label_embeddings: float32 ``[L, D]``, rows of unit length.
        """


class SparseKind(StatisticKind):
    """A kind of which a user has a few coordinates among very many: no dense vector is made.

    Clip and rounding see a user's values alone: coordinates that are 0 change neither.
    """

    @abstractmethod
    def user_cells(self, h: Histories, labels: int, earlier: Statistics) -> tuple[Int64, Float64]:
        """Positions in the vector and values, ``[U, max_nonzero]`` each, before the clip.

        A user's positions are different ones; where a user has fewer, the rest of the values is 0
        and their positions say nothing. For ``earlier`` see ``user_vectors``.
        """

    def user_vectors(
        self, h: Histories, windows_at: Int64, task: Task, catalogue: Catalogue, earlier: Statistics
    ) -> Float64:
        labels = len(catalogue.labels)
        position, value = self.user_cells(h, labels, earlier)
        dense = np.zeros((len(h), self.dimension(labels)))
        row, place = np.nonzero(value)
        dense[row, position[row, place]] = value[row, place]
        return dense


def merged(
    name: str, mean: Float64, deviation: float, earlier: Statistics
) -> tuple[Float64, float, dict[str, Float32]]:
    """A release averaged with the one before it, and what the next one needs to do the same.

    Both are private already, so this is free; it takes the noise's variance down by up to a half.
    The older one counts no more than the newer, so that old behaviour fades over many refreshes.
    """
    released = earlier.get(f"{name}_mean")
    if released is not None and released.shape == mean.shape:
        older = max(float(earlier[f"{name}_deviation"][0]), deviation, 1e-12)
        share = deviation**2 / (deviation**2 + older**2)
        mean = (1 - share) * mean + share * released.astype(np.float64)
        deviation = float(np.hypot((1 - share) * deviation, share * older))
    kept = {
        f"{name}_mean": mean.astype(np.float32),
        f"{name}_deviation": np.array([deviation], dtype=np.float32),
    }
    return mean, deviation, kept
