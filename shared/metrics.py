"""How a ranking of labels, and a probability over labels, is scored.

Shapes: scores, positives, candidates, probabilities and targets are ``[B, L]`` (rows: a user at a
prediction time); every metric is float64 ``[B]``, NaN for a row that has no positive candidate.

Ties count against the forecast: a label ranks after all others of the same score. A constant score
therefore earns nothing, and no order of labels can help. NaN ranks last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

CALIBRATION_BINS = 15
EQUAL_WIDTH = np.arange(CALIBRATION_BINS + 1, dtype=np.float64) / CALIBRATION_BINS
LEAST_PROBABILITY = 1e-12  # keeps the loss of a wrong certainty finite

_PAIRS_AT_ONCE = 4_000_000  # comparisons in memory at a time, 16 MB


@dataclass(frozen=True)
class Hits:
    """Where the positive candidates of ``B`` rows rank.

    Attributes:
        row: int64 ``[P]``, the row of each positive, ascending.
        rank: int64 ``[P]``, its rank among the row's candidates, from 1, the worst where tied.
        count: int64 ``[B]``, positives of each row.
    """

    row: Int64
    rank: Int64
    count: Int64


def hits(scores: Floats, positives: Bools, candidates: Bools | None = None) -> Hits:
    """Rank every positive candidate: how many candidates score at least as much.

    Args:
        scores: ``[B, L]``, larger is better.
        positives: bool ``[B, L]``; a positive that is no candidate does not count.
        candidates: bool ``[B, L]``, None for all labels.
    """
    values = np.where(np.isnan(scores), -np.inf, scores)
    if candidates is not None:
        # NaN compares as False, so what is no candidate is ahead of nothing.
        values = np.where(candidates, values, np.nan)
        positives = positives & candidates
    row, label = np.nonzero(positives)
    own = values[row, label]
    rank = np.empty(len(row), dtype=np.int64)
    step = max(1, _PAIRS_AT_ONCE // max(1, scores.shape[1]))
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        rank[part] = (values[row[part]] >= own[part, None]).sum(axis=1)
    return Hits(row, rank, np.bincount(row, minlength=len(scores)).astype(np.int64))


def ndcg(found: Hits, k: int = 10) -> Float64:
    """Binary NDCG@k, the ideal over min(k, positives) places (Jarvelin and Kekalainen 2002)."""
    gains = 1 / np.log2(np.arange(k, dtype=np.float64) + 2)
    inside = found.rank <= k
    gained = np.bincount(
        found.row[inside], weights=gains[found.rank[inside] - 1], minlength=len(found.count)
    )
    ideal = np.concatenate([[np.nan], np.cumsum(gains)])
    result: Float64 = gained / ideal[np.minimum(found.count, k)]
    return result


def recall(found: Hits, k: int = 10) -> Float64:
    """Share of a row's positives that rank within k."""
    inside = np.bincount(found.row[found.rank <= k], minlength=len(found.count))
    return _where_positive(found, inside / np.maximum(found.count, 1))


def hit_rate(found: Hits, k: int = 10) -> Float64:
    """1 where any positive ranks within k, else 0."""
    return _where_positive(found, (_best(found) <= k).astype(np.float64))


def reciprocal_rank(found: Hits) -> Float64:
    """One over the rank of the best positive; its mean is MRR."""
    return _where_positive(found, 1 / _best(found))


def top1(found: Hits) -> Float64:
    """1 where the label in first place is a positive."""
    return hit_rate(found, 1)


def ranking_metrics(found: Hits, k: int = 10) -> dict[str, Float64]:
    """The metrics that every model has, by their names in ``results.json``."""
    return {
        f"ndcg@{k}": ndcg(found, k),
        f"recall@{k}": recall(found, k),
        "mrr": reciprocal_rank(found),
        "top1": top1(found),
    }


def log_loss(probabilities: Floats, targets: Floats, candidates: Bools | None = None) -> Float64:
    """Cross-entropy (nats) to the target; both are normalised over the candidates first."""
    probability = share(probabilities, candidates)
    target = share(targets, candidates)
    loss = -(target * np.log(np.maximum(probability, LEAST_PROBABILITY))).sum(axis=1)
    result: Float64 = np.where(target.sum(axis=1) > 0, loss, np.nan)
    return result


def share(values: Floats, candidates: Bools | None = None) -> Float64:
    """Rows scaled to sum 1 over the candidates, 0 elsewhere; rows of zeros stay zeros."""
    kept = np.asarray(values, dtype=np.float64)
    if candidates is not None:
        kept = np.where(candidates, kept, 0.0)
    total = kept.sum(axis=1, keepdims=True)
    result: Float64 = kept / np.where(total > 0, total, 1.0)
    return result


def softmax(scores: Floats) -> Float64:
    """Softmax over the labels of each row; a score of -inf has probability 0."""
    values = np.asarray(scores, dtype=np.float64)
    top = values.max(axis=1, keepdims=True)
    powers = np.exp(values - np.where(np.isfinite(top), top, 0.0))
    return share(powers)


@dataclass(frozen=True)
class Calibration:
    """Sums over row-label pairs in bins of the predicted probability.

    Sums of two sets of pairs add up to those of their union, so they can be taken in pieces.

    Attributes:
        pairs: float64 ``[..., bins]``, number of pairs in each bin.
        predicted: float64 ``[..., bins]``, sum of predicted probabilities.
        actual: float64 ``[..., bins]``, sum of the normalised targets.
    """

    pairs: Float64
    predicted: Float64
    actual: Float64

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(
            self.pairs + other.pairs,
            self.predicted + other.predicted,
            self.actual + other.actual,
        )

    @property
    def error(self) -> Float64:
        """Expected calibration error ``[...]`` (Guo et al. 2017, equation 3), NaN for no pairs."""
        gap = np.abs(self.predicted - self.actual).sum(axis=-1)
        pairs = self.pairs.sum(axis=-1)
        result: Float64 = gap / np.where(pairs > 0, pairs, np.nan)
        return result


def calibration(
    probabilities: Floats,
    targets: Floats,
    group: Int64,
    groups: int,
    candidates: Bools | None = None,
    *,
    edges: Float64 = EQUAL_WIDTH,
) -> Calibration:
    """Calibration sums by group of rows; arrays are ``[groups, bins]``.

    Args:
        probabilities: ``[B, L]``; normalised over the candidates here, like the targets.
        targets: ``[B, L]``.
        group: int64 ``[B]``, the group of each row (its user).
        groups: number of groups.
        candidates: bool ``[B, L]``, None for all; rows without a target among them don't count.
        edges: float64 ``[bins + 1]``, ascending; what lies outside falls into the outer bins.
    """
    probability = share(probabilities, candidates)
    target = share(targets, candidates)
    counted = np.broadcast_to(target.sum(axis=1, keepdims=True) > 0, probability.shape)
    if candidates is not None:
        counted = counted & candidates
    row, label = np.nonzero(counted)
    p, y = probability[row, label], target[row, label]
    bins = len(edges) - 1
    cell = group[row] * bins + np.searchsorted(edges[1:-1], p, side="right")

    def sums(weights: Float64 | None) -> Float64:
        total = np.bincount(cell, weights=weights, minlength=groups * bins)
        return total.astype(np.float64).reshape(groups, bins)

    return Calibration(sums(None), sums(p), sums(y))


@dataclass(frozen=True)
class Estimate:
    """A mean over ``n`` rows and its standard error."""

    mean: float
    se: float
    n: int


def cluster_mean(sums: Float64, counts: Float64) -> Estimate:
    """Mean over rows that come in clusters (a user's rows), with its cluster-robust error.

    The estimator is a ratio of sums, linearised: se^2 = U/(U-1) sum_u (s_u - m n_u)^2 / n^2
    (Cochran, Sampling Techniques, 1977, section 9.4 and equation 2.46), what a bootstrap over the
    clusters tends to.

    Args:
        sums: float64 ``[U]``, sum of the rows' values in each cluster.
        counts: float64 ``[U]``, rows of each cluster; clusters of 0 rows don't count.
    """
    inside = counts > 0
    clusters, n = int(inside.sum()), float(counts.sum())
    if not clusters:
        return Estimate(float("nan"), float("nan"), 0)
    mean = float(sums[inside].sum() / n)
    if clusters == 1:
        return Estimate(mean, float("nan"), round(n))
    residual = sums[inside] - mean * counts[inside]
    variance = clusters / (clusters - 1) * float((residual**2).sum()) / n**2
    return Estimate(mean, variance**0.5, round(n))


def paired_difference(ours: Float64, theirs: Float64, counts: Float64) -> Estimate:
    """Mean of ours minus theirs over the same rows, its error by :func:`cluster_mean`.

    Args:
        ours: float64 ``[U]``, each user's sum of our metric.
        theirs: float64 ``[U]``, the same of the other model.
        counts: float64 ``[U]``, rows of each user.
    """
    return cluster_mean(ours - theirs, counts)


def _best(found: Hits) -> Float64:
    """float64 ``[B]``: the best positive's rank, inf without one."""
    best = np.full(len(found.count), np.inf)
    np.minimum.at(best, found.row, found.rank)
    return best


def _where_positive(found: Hits, values: Float64) -> Float64:
    result: Float64 = np.where(found.count > 0, values, np.nan)
    return result
