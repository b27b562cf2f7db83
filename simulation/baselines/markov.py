"""First-order Markov chain over user-days: what follows the labels of the last day."""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy import sparse

from groundswell.shared.histories import Histories, Int64
from groundswell.shared.metrics import share
from groundswell.simulation.baselines.baseline import TrainingData
from groundswell.simulation.baselines.counts import Float64, UserDays
from groundswell.simulation.baselines.population import Population
from groundswell.simulation.evaluate import Forecast


class Markov:
    """Mean over the last day's labels of the shares that followed them; popularity without any."""

    def fit(self, data: TrainingData) -> Self:
        self._data = data
        self._population = Population(data)
        return self

    def scores(self, h: Histories, at: Int64) -> Forecast:
        days = UserDays.of(h, self._data.task, self._data.labels)
        last = last_day(days, len(h), self._data.labels)
        scores = np.empty((len(h), self._data.labels))
        for time in np.unique(at).tolist():
            rows = at == time
            snapshot = self._population.at(time)
            scores[rows] = followed(last[rows], snapshot.transition, snapshot.popularity)
        return Forecast(scores, share(scores))


def last_day(days: UserDays, rows: int, labels: int) -> sparse.csr_matrix:
    """Sparse ``[rows, L]``: 1 where the label was acted on on the row's last day."""
    latest = np.full(rows, np.iinfo(np.int64).min)
    np.maximum.at(latest, days.row, days.day)
    on_last = days.day == latest[days.row]
    return sparse.csr_matrix(
        (np.ones(int(on_last.sum())), (days.row[on_last], days.label[on_last])),
        shape=(rows, labels),
    )


def followed(last: sparse.csr_matrix, transition: Float64, otherwise: Float64) -> Float64:
    """Mean of the transition rows of each row's last labels, float64 ``[B, L]``."""
    count = np.asarray(last.sum(axis=1)).reshape(-1, 1)
    mean: Float64 = np.where(count > 0, (last @ transition) / np.maximum(count, 1), otherwise)
    return mean
