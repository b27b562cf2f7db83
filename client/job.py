"""A job: one release that a site was asked for, and the exact integer sum that it adds to it.

A job's sum depends on each user through that user's own vector alone, and every vector is at most
``release.scale`` long (``mechanism.clip_and_round``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from groundswell.client.mechanism import clip_and_round, rounding_keys
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.histories import Float32, Histories, Int64
from groundswell.shared.plan import Plan, PlannedRelease
from groundswell.shared.task import Task
from groundswell.shared.transfer import ModelState

Sums = NDArray[np.int64]

BLOCK_VALUES = 1 << 23  # of one block of users' vectors: bounds its memory to some 64 MiB
ATTEMPT = b"attempt\0"  # what rounding keys are derived for


class Place(Protocol):
    """What a job needs of its site under a plan; ``contributions.Workplace`` is it."""

    plan: Plan
    number: int
    histories: Histories
    catalogue: Catalogue
    task: Task

    def own_statistics(self, model: ModelState) -> dict[str, Float32]:
        """What a model knows of the site's own catalogue, by plain names."""

    def searched(self, h: Histories) -> Histories:
        """The same events, searches under the labels that their words are about."""


class Job(ABC):
    """One release that this site was asked for.

    Attributes:
        users: number of users that the Poisson sample is drawn from.
        place: where users' vectors lie in the released one; the rest of it is 0 for all of them.
    """

    def __init__(self, workplace: Place, release: PlannedRelease, model: ModelState) -> None:
        self.workplace = workplace
        self.release = release
        self.model = model
        self.users = len(workplace.histories)
        self.place = slice(0, release.dimension)

    def integer_sum(self, rows: Int64, attempt_secret: bytes, slots: int | None) -> Sums:
        """int64 ``[d]``: the sum of the sampled users' integer vectors.

        Args:
            rows: users in the sample, ascending.
            attempt_secret: keys the rounding, with each user's pseudonym.
            slots: users' worth of work to do in all; None for as many as there are.
        """
        total = np.zeros(self.release.dimension, dtype=np.int64)
        users = self.workplace.histories.users
        for block, vectors in self.vectors(rows, attempt_secret):
            keys = rounding_keys(ATTEMPT + attempt_secret, [users[row] for row in block])
            total[self.place] += self.rounded(vectors, keys).sum(axis=0)
        return total

    def real_sum(self, rows: Int64, attempt_secret: bytes) -> NDArray[np.float64]:
        """float64 ``[d]``: the sum of the users' real vectors, not clipped; it never leaves."""
        total = np.zeros(self.release.dimension)
        for _, vectors in self.vectors(rows, attempt_secret):
            total[self.place] += np.asarray(vectors, dtype=np.float64).sum(axis=0)
        return total

    def rounded(self, vectors: NDArray[np.floating], keys: Sequence[bytes]) -> Sums:
        """int64 ``[U, m]``: clipped and rounded as the plan says; see ``clip_and_round``."""
        release = self.release
        return clip_and_round(vectors, release.clip_norm, release.scale, release.max_nonzero, keys)

    @abstractmethod
    def vectors(
        self, rows: Int64, attempt_secret: bytes
    ) -> Iterator[tuple[Int64, NDArray[np.floating]]]:
        """Blocks of users and what of their real vectors lies in ``place``, before any clip."""

    def blocks(self, rows: Int64) -> Iterator[Int64]:
        """``rows`` in blocks whose vectors fit into memory."""
        size = max(1, BLOCK_VALUES // self.release.dimension)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]
