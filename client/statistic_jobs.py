"""Jobs of statistics: each user's vector from events before a time of the plan."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from groundswell.client.job import ATTEMPT, Job, Place, Sums
from groundswell.client.mechanism import rounding_keys
from groundswell.shared.blocks import own_block
from groundswell.shared.errors import Refusal
from groundswell.shared.histories import Int64
from groundswell.shared.plan import PlannedRelease
from groundswell.shared.statistic_kind import SparseKind, StatisticKind
from groundswell.shared.transfer import ModelState

_USERS_AT_ONCE = 4096  # of a sparse statistic, whose memory is that of their histories


class StatisticJob(Job):
    """A statistic over users, on events before ``until`` (microseconds) alone."""

    def __init__(
        self,
        workplace: Place,
        release: PlannedRelease,
        model: ModelState,
        kind: StatisticKind,
        until: int | None,
    ) -> None:
        super().__init__(workplace, release, model)
        catalogues = workplace.plan.catalogues
        self.place = own_block(kind, catalogues, workplace.number)
        self.earlier = workplace.own_statistics(model)
        for name, shape in kind.needs(len(workplace.catalogue)).items():
            # Of several catalogues, one may have had no site in the earlier release.
            missing = name not in self.earlier and len(catalogues) > 1
            if not missing and (name not in self.earlier or self.earlier[name].shape != shape):
                raise Refusal(
                    "malformed", f"{kind.name} needs the released {name} of shape {shape}"
                )
        self._kind = kind
        self.until = until

    def vectors(
        self, rows: Int64, attempt_secret: bytes
    ) -> Iterator[tuple[Int64, NDArray[np.floating]]]:
        place, schedule = self.workplace, self.workplace.plan.schedule
        first, until = schedule.train_from or 0, self.until or 0
        times = place.task.prediction_times(first, until - place.task.window_us)
        for block in self.blocks(rows):
            histories = place.histories.take(block).before(np.full(len(block), until))
            if self.release.actions:
                histories = place.searched(histories)
            yield (
                block,
                self._kind.user_vectors(
                    histories, times, place.task, place.catalogue, self.earlier
                ),
            )


class SparseJob(StatisticJob):
    """A statistic of which a user has a few coordinates alone; a user's vector is never dense."""

    def __init__(
        self,
        workplace: Place,
        release: PlannedRelease,
        model: ModelState,
        kind: SparseKind,
        until: int | None,
    ) -> None:
        super().__init__(workplace, release, model, kind, until)
        self._sparse = kind

    def integer_sum(self, rows: Int64, attempt_secret: bytes, slots: int | None) -> Sums:
        total = np.zeros(self.release.dimension, dtype=np.int64)
        users = self.workplace.histories.users
        for block, position, value in self._cells(rows):
            keys = rounding_keys(ATTEMPT + attempt_secret, [users[row] for row in block])
            np.add.at(total[self.place], position.ravel(), self.rounded(value, keys).ravel())
        return total

    def real_sum(self, rows: Int64, attempt_secret: bytes) -> NDArray[np.float64]:
        total = np.zeros(self.release.dimension)
        for _, position, value in self._cells(rows):
            np.add.at(total[self.place], position.ravel(), value.ravel())
        return total

    def _cells(self, rows: Int64) -> Iterator[tuple[Int64, Int64, NDArray[np.float64]]]:
        """Blocks of users, and where in ``place`` their values lie."""
        for start in range(0, len(rows), _USERS_AT_ONCE):
            block = rows[start : start + _USERS_AT_ONCE]
            seen = self.workplace.histories.take(block)
            seen = seen.before(np.full(len(block), self.until or 0))
            labels = len(self.workplace.catalogue)
            yield block, *self._sparse.user_cells(seen, labels, self.earlier)
