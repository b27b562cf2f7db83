"""From measurements to the rows and paired differences of ``results.json``.

Several seeds of a model give the mean and the standard deviation over seeds; one gives the
deviation of a bootstrap over users. Differences are paired over users, seeds averaged first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from groundswell.shared.metrics import Calibration, Float64, cluster_mean, paired_difference
from groundswell.shared.results import Metric, Paired, Row
from groundswell.simulation.evaluate import Measurement, SliceSums

RESAMPLES = 300
METRICS = ("ndcg@10", "recall@10", "mrr", "top1", "log_loss", "ece")
PAIRED_METRICS = ("ndcg@10", "recall@10", "recall@5")

_WEIGHTS_AT_ONCE = 4_000_000  # bootstrap weights in memory at a time


def rows(model: str, measured: Sequence[Measurement]) -> list[Row]:
    """One row for each slice that the model was measured on.

    Args:
        measured: one measurement for each seed, all of the same rows.
    """
    return [
        Row(model=model, slice=name, metrics=_metrics([m.slices[name] for m in measured]))
        for name in measured[0].slices
    ]


def paired(measured: Mapping[str, Sequence[Measurement]], against: str = "backoff") -> list[Paired]:
    """Every model against one, on the slices and metrics that both have."""
    if against not in measured:
        return []
    found = []
    for model, ours in measured.items():
        if model == against:
            continue
        for name in ours[0].slices:
            theirs = [m.slices[name] for m in measured[against] if name in m.slices]
            if not theirs:
                continue
            own = [m.slices[name] for m in ours]
            for metric in PAIRED_METRICS:
                if metric not in own[0].sums or metric not in theirs[0].sums:
                    continue
                difference = paired_difference(
                    _average(own, metric), _average(theirs, metric), own[0].rows
                )
                if difference.n:
                    found.append(
                        Paired(
                            model=model,
                            against=against,
                            slice=name,
                            metric=metric,
                            difference=difference.mean,
                            se=difference.se,
                        )
                    )
    return found


def by_group(
    sums: SliceSums, group: Sequence[str], metric: str = "ndcg@10"
) -> dict[str, tuple[float, float, int]]:
    """Mean, standard error and rows of each group of users (their sites), by name.

    Args:
        group: the group of each of ``U`` users.
    """
    names = np.asarray(group)
    found = {}
    for name in sorted(set(group)):
        inside = names == name
        estimate = cluster_mean(sums.sums[metric][inside], sums.rows[inside])
        if estimate.n:
            found[name] = (estimate.mean, estimate.se, estimate.n)
    return found


def _metrics(seeds: Sequence[SliceSums]) -> dict[str, Metric | None]:
    first = seeds[0]
    names = list(first.sums)
    n = round(float(first.rows.sum()))
    means = {name: [each.mean(name) for each in seeds] for name in names}
    if first.calibration is not None:
        means["ece"] = [_ece(each) for each in seeds]
    spread = (
        {name: float(np.std(values, ddof=1)) for name, values in means.items()}
        if len(seeds) > 1
        else _bootstrap(first)
    )
    found: dict[str, Metric | None] = {
        name: Metric(mean=float(np.mean(values)), sd=spread[name], n=n)
        for name, values in means.items()
        if n
    }
    if any(name in METRICS for name in names):
        found = {name: found.get(name) for name in METRICS}
    return found


def _ece(sums: SliceSums) -> float:
    parts = sums.calibration
    if parts is None:
        return float("nan")
    whole = Calibration(parts.pairs.sum(0), parts.predicted.sum(0), parts.actual.sum(0))
    return float(whole.error)


def _average(seeds: Sequence[SliceSums], metric: str) -> Float64:
    total: Float64 = np.mean([each.sums[metric] for each in seeds], axis=0)
    return total


def _bootstrap(sums: SliceSums) -> dict[str, float]:
    """Deviation of every metric when users are drawn anew; the draws are the same for all models.

    Seeded by a constant, so that the same measurement always prints the same deviation.
    """
    inside = sums.rows > 0
    users = int(inside.sum())
    if users < 2:
        return dict.fromkeys([*sums.sums, "ece"], float("nan"))
    draw = np.random.default_rng(0)
    stacked = np.stack([values[inside] for values in sums.sums.values()], axis=1)
    counts = sums.rows[inside]
    parts = sums.calibration
    means: list[Float64] = []
    errors: list[Float64] = []
    step = max(1, _WEIGHTS_AT_ONCE // users)
    for start in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - start)
        drawn = draw.integers(users, size=(size, users))
        drawn += np.arange(size)[:, None] * users
        weights = np.bincount(drawn.ravel(), minlength=size * users).reshape(size, users)
        weights = weights.astype(np.float64)
        means.append((weights @ stacked) / (weights @ counts)[:, None])
        if parts is not None:
            resampled = Calibration(
                *(weights @ each[inside] for each in (parts.pairs, parts.predicted, parts.actual))
            )
            errors.append(resampled.error)
    deviation = np.concatenate(means).std(axis=0, ddof=1)
    found = dict(zip(sums.sums, deviation.tolist(), strict=True))
    if errors:
        found["ece"] = float(np.concatenate(errors).std(ddof=1))
    return found
