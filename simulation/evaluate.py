"""Measures a forecast on held-back windows, slice by slice (protocol: ``docs/benchmarks.md``).

A row is a user at a prediction time: a user with a counted event before it and one in the window
after it. A scorer is handed the events before that time only, so it can't see what it is asked for.
Values are kept as sums by user: means, spreads over users and paired differences follow from them,
and memory does not grow with the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.histories import MICROSECONDS_PER_DAY, Float32, Histories, Int64
from groundswell.shared.metrics import (
    Bools,
    Calibration,
    Float64,
    calibration,
    hit_rate,
    hits,
    log_loss,
    ranking_metrics,
    recall,
)
from groundswell.shared.targets import label_weights
from groundswell.shared.task import Task

ALL = "all"
FLUCTUATION = "fluctuation"
LITTLE_HISTORY = "little_history"
LITTLE_HISTORY_FLUCTUATION = "little_history_fluctuation"
UNSEEN_LABELS = "unseen_labels"
SLICES = (ALL, FLUCTUATION, LITTLE_HISTORY, LITTLE_HISTORY_FLUCTUATION)

LITTLE_BASKETS = 5
RECENT_DAYS = 28
UNSEEN_K = 5
UNSEEN_STEP, UNSEEN_LIMIT = 7, 40

# Shares over hundreds of labels are small: a diagram needs bins of equal ratio, not of equal width.
RELIABILITY_EDGES = 10.0 ** np.arange(-5, 0.01, 0.25)

_CELLS_AT_ONCE = 600_000  # rows times labels of one chunk: a few MB for each array of a scorer
_MAX_ROWS = 2048


@dataclass(frozen=True)
class Forecast:
    """What a scorer says of ``B`` rows.

    Attributes:
        scores: float ``[B, L]``, larger is likelier.
        probabilities: float ``[B, L]``, rows sum to 1; None where a model has none.
    """

    scores: NDArray[np.floating]
    probabilities: NDArray[np.floating] | None = None


Scorer = Callable[[Histories, Int64], Forecast]


def unseen_labels(labels: int) -> Int64:
    """Labels held out for ``unseen_labels``: every seventh in catalogue order, at most 40."""
    return np.arange(0, labels, UNSEEN_STEP, dtype=np.int64)[:UNSEEN_LIMIT]


@dataclass(frozen=True)
class EvaluationSet:
    """The rows that a forecast is measured on.

    Attributes:
        histories: whole histories, one row a user.
        row: int64 ``[B]``, row of ``histories``; rows of one prediction time follow each other.
        at: int64 ``[B]``, prediction time, microseconds.
        labels: number L of labels.
        window_us: length of the window, microseconds.
        held_out: int64, the labels that ``unseen_labels`` ranks.
    """

    histories: Histories
    row: Int64
    at: Int64
    labels: int
    window_us: int
    held_out: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @classmethod
    def build(cls, histories: Histories, times: Int64, task: Task, labels: int) -> EvaluationSet:
        """All rows of ``histories`` at ``times`` (int64 ``[T]``, microseconds)."""
        counted = (histories.label >= 0) & (histories.weight > 0)
        row, time = histories.row()[counted], histories.time[counted]
        rows, ats = [], []
        for at in times.tolist():
            coming = (time >= at) & (time < at + task.window_us)
            known = np.bincount(row[time < at], minlength=len(histories)) > 0
            active = np.bincount(row[coming], minlength=len(histories)) > 0
            rows.append(np.flatnonzero(known & active))
            ats.append(np.full(len(rows[-1]), at, dtype=np.int64))
        empty = np.zeros(0, dtype=np.int64)
        return cls(
            histories,
            np.concatenate([empty, *rows]),
            np.concatenate([empty, *ats]),
            labels,
            task.window_us,
            unseen_labels(labels),
        )

    def __len__(self) -> int:
        return len(self.row)

    def of_users(self, chosen: Bools) -> EvaluationSet:
        """The rows of some users (bool ``[U]``); sums by user keep their places."""
        kept = chosen[self.row]
        return replace(self, row=self.row[kept], at=self.at[kept])

    def chunks(self) -> Iterator[Chunk]:
        """The rows in pieces that fit into memory."""
        size = max(1, min(_MAX_ROWS, _CELLS_AT_ONCE // max(1, self.labels)))
        for start in range(0, len(self), size):
            row, at = self.row[start : start + size], self.at[start : start + size]
            whole = self.histories.take(row)
            yield Chunk(
                row,
                at,
                whole.before(at),
                label_weights(whole, at, self.window_us, self.labels),
            )


@dataclass(frozen=True)
class Chunk:
    """Some rows of an evaluation set.

    Attributes:
        user: int64 ``[B]``, row of the set's histories.
        at: int64 ``[B]``.
        known: the rows' histories before ``at``.
        weights: float32 ``[B, L]``, the targets, not normalised.
    """

    user: Int64
    at: Int64
    known: Histories
    weights: Float32


@dataclass(frozen=True)
class SliceSums:
    """What a slice adds up to for each of ``U`` users.

    Attributes:
        rows: float64 ``[U]``, rows of each user.
        sums: float64 ``[U]`` for each metric, the sum over the user's rows.
        calibration: sums by user in 15 bins, None for a model without probabilities.
        reliability: sums in ``RELIABILITY_EDGES`` bins over all users, None likewise.
    """

    rows: Float64
    sums: Mapping[str, Float64]
    calibration: Calibration | None
    reliability: Calibration | None = None

    def mean(self, metric: str) -> float:
        """Mean of a metric over the slice's rows, NaN where it has none."""
        rows = float(self.rows.sum())
        return float(self.sums[metric].sum()) / rows if rows else float("nan")


@dataclass(frozen=True)
class Measurement:
    """One trained model on one evaluation set; ``unseen_labels`` may come from another set."""

    slices: Mapping[str, SliceSums]

    def joined(self, other: Measurement) -> Measurement:
        """Both measurements' slices, as the rows of one model."""
        return Measurement({**self.slices, **other.slices})


def merged(parts: Sequence[Measurement]) -> Measurement:
    """Measurements of disjoint users of one evaluation set as one."""
    return Measurement(
        {name: _added([part.slices[name] for part in parts]) for name in parts[0].slices}
    )


def side_by_side(parts: Sequence[Measurement]) -> Measurement:
    """Measurements of several evaluation sets, whose users are different ones, as one."""
    return Measurement(
        {name: _stacked([part.slices[name] for part in parts]) for name in parts[0].slices}
    )


def _stacked(parts: Sequence[SliceSums]) -> SliceSums:
    by_user = [part.calibration for part in parts if part.calibration is not None]
    whole = [part.reliability for part in parts if part.reliability is not None]
    known = len(by_user) == len(parts)
    return SliceSums(
        np.concatenate([part.rows for part in parts]),
        {metric: np.concatenate([part.sums[metric] for part in parts]) for metric in parts[0].sums},
        Calibration(
            np.concatenate([each.pairs for each in by_user]),
            np.concatenate([each.predicted for each in by_user]),
            np.concatenate([each.actual for each in by_user]),
        )
        if known
        else None,
        sum(whole[1:], start=whole[0]) if known and len(whole) == len(parts) else None,
    )


def _added(parts: Sequence[SliceSums]) -> SliceSums:
    total = parts[0]
    for part in parts[1:]:
        names = {*total.sums, *part.sums}
        nothing = np.zeros_like(total.rows)
        calibration = total.calibration
        if part.calibration is not None:
            calibration = (
                part.calibration if calibration is None else calibration + part.calibration
            )
        total = SliceSums(
            total.rows + part.rows,
            {k: total.sums.get(k, nothing) + part.sums.get(k, nothing) for k in sorted(names)},
            calibration,
        )
    return total


def evaluate(scorer: Scorer, data: EvaluationSet, slices: Sequence[str] = SLICES) -> Measurement:
    """Score every row and measure the slices.

    ``little_history`` slices score the rows a second time, from their last five baskets.
    """
    collected = {name: _Collector(len(data.histories)) for name in slices}
    for chunk in data.chunks():
        for view, names in views(chunk, slices):
            forecast = scorer(view, chunk.at)
            for name in names:
                collected[name].add(name, chunk, forecast, candidates(name, view, chunk.at, data))
    return Measurement({name: each.result() for name, each in collected.items()})


def views(chunk: Chunk, slices: Sequence[str]) -> Iterator[tuple[Histories, list[str]]]:
    """What the rows' scorer may see, and the slices that it sees it for."""
    little = [name for name in slices if name.startswith(LITTLE_HISTORY)]
    whole = [name for name in slices if name not in little]
    if whole:
        yield chunk.known, whole
    if little:
        yield chunk.known.last_baskets(LITTLE_BASKETS), little


def candidates(name: str, view: Histories, at: Int64, data: EvaluationSet) -> Bools | None:
    """Labels that a slice ranks for each row of a view, bool ``[B, L]``; None for all."""
    if name in (ALL, LITTLE_HISTORY):
        return None
    if name == UNSEEN_LABELS:
        held_out = np.zeros(data.labels, dtype=bool)
        held_out[data.held_out] = True
        never: Bools = ~bought_since(view, np.full_like(at, np.iinfo(np.int64).min), data.labels)
        return never & held_out
    return ~bought_since(view, at - RECENT_DAYS * MICROSECONDS_PER_DAY, data.labels)


def bought_since(h: Histories, since: Int64, labels: int) -> Bools:
    """bool ``[B, L]``: the row has a counted event on the label at or after ``since``."""
    row = h.row()
    counted = (h.label >= 0) & (h.weight > 0) & (h.time >= since[row])
    cells = np.zeros(len(h) * labels, dtype=bool)
    cells[row[counted] * labels + h.label[counted]] = True
    return cells.reshape(len(h), labels)


class _Collector:
    """Adds the chunks of one slice up by user."""

    def __init__(self, users: int) -> None:
        self._users = users
        self._rows = np.zeros(users)
        self._sums: dict[str, Float64] = {}
        self._calibration: Calibration | None = None
        self._reliability: Calibration | None = None

    def add(self, name: str, chunk: Chunk, forecast: Forecast, ranked: Bools | None) -> None:
        positives = chunk.weights > 0
        found = hits(forecast.scores, positives, ranked)
        if name == UNSEEN_LABELS:
            values = {f"recall@{UNSEEN_K}": recall(found, UNSEEN_K)}
        else:
            values = {**ranking_metrics(found), "hr@10": hit_rate(found)}
            if forecast.probabilities is not None:
                values["log_loss"] = log_loss(forecast.probabilities, chunk.weights, ranked)
                self._add_calibration(chunk, forecast.probabilities, ranked)
        counted = found.count > 0
        user = chunk.user[counted]
        self._rows += np.bincount(user, minlength=self._users)
        for metric, value in values.items():
            added = np.bincount(user, weights=value[counted], minlength=self._users).astype(
                np.float64
            )
            if metric in self._sums:
                self._sums[metric] += added
            else:
                self._sums[metric] = added

    def _add_calibration(
        self, chunk: Chunk, probabilities: NDArray[np.floating], ranked: Bools | None
    ) -> None:
        user, group = np.unique(chunk.user, return_inverse=True)
        part = calibration(probabilities, chunk.weights, group, len(user), ranked)
        if self._calibration is None:
            shape = (self._users, part.pairs.shape[1])
            self._calibration = Calibration(np.zeros(shape), np.zeros(shape), np.zeros(shape))
        self._calibration.pairs[user] += part.pairs
        self._calibration.predicted[user] += part.predicted
        self._calibration.actual[user] += part.actual
        everyone = np.zeros(len(chunk.user), dtype=np.int64)
        whole = calibration(
            probabilities, chunk.weights, everyone, 1, ranked, edges=RELIABILITY_EDGES
        )
        self._reliability = whole if self._reliability is None else self._reliability + whole

    def result(self) -> SliceSums:
        return SliceSums(self._rows, self._sums, self._calibration, self._reliability)
