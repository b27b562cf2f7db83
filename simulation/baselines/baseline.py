"""What every baseline is: fitted on whole histories once, then asked for scores of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.histories import Histories, Int64
from groundswell.shared.metrics import hits, ndcg
from groundswell.shared.task import EvaluationTimes, Task
from groundswell.simulation.evaluate import EvaluationSet, Forecast, candidates, views

P = TypeVar("P")
Scores = NDArray[np.floating]


@dataclass(frozen=True)
class TrainingData:
    """What a baseline is fitted on.

    Attributes:
        histories: whole histories of all users. A baseline may count what lies before the time
            that it is asked about, refreshed at every prediction time; it learns weights on the
            train windows and chooses on the validation windows alone.
        seed: of whatever is random in fitting.
    """

    histories: Histories
    task: Task
    catalogue: Catalogue
    times: EvaluationTimes
    seed: int = 0

    @property
    def labels(self) -> int:
        return len(self.catalogue)

    def rows(self, times: Int64) -> EvaluationSet:
        """The rows at the given times."""
        return EvaluationSet.build(self.histories, times, self.task, self.labels)


class Baseline(Protocol):
    """A central model without privacy to compare with."""

    def fit(self, data: TrainingData) -> Self:
        """Learn and choose; returns itself."""
        ...

    def scores(self, h: Histories, at: Int64) -> Forecast:
        """Scores of rows as of ``at``; ``h`` holds nothing at or after it."""
        ...


def choose(
    data: EvaluationSet,
    parameters: Sequence[P],
    family: Callable[[Histories, Int64], Callable[[P], Scores]],
    slices: Sequence[str],
) -> P:
    """The parameter with the best NDCG@10, averaged over the slices; the first where data is empty.

    Args:
        family: prepares a view once and then scores it with any parameter.
    """
    total = {name: np.zeros((len(parameters), 2)) for name in slices}
    for chunk in data.chunks():
        positives = chunk.weights > 0
        for view, names in views(chunk, slices):
            scorer = family(view, chunk.at)
            ranked = {name: candidates(name, view, chunk.at, data) for name in names}
            for i, parameter in enumerate(parameters):
                scores = scorer(parameter)
                for name in names:
                    value = ndcg(hits(scores, positives, ranked[name]))
                    counted = ~np.isnan(value)
                    total[name][i] += value[counted].sum(), counted.sum()
    means: NDArray[np.float64] = np.sum(
        [sums[:, 0] / np.maximum(sums[:, 1], 1) for sums in total.values()], axis=0
    )
    return parameters[int(means.argmax())]


def by_time(at: Int64, table: Callable[[int], NDArray[np.float64]]) -> NDArray[np.float64]:
    """Rows of ``table(t)`` (float64 ``[L]``) for each of ``B`` times: float64 ``[B, L]``."""
    times, index = np.unique(at, return_inverse=True)
    return np.stack([table(int(t)) for t in times])[index]
