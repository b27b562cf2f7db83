"""From weekly demand, exact or noised, to what shops ask: what rises, what to restock, what fades.

Pure; the gateway hosts it on the federation's released counts, a site on its own exact ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.demand import DemandForecast, forecast
from groundswell.shared.demand_features import FIRST_ORIGIN, DemandHistory, month_phases, run_up
from groundswell.shared.demand_release import DemandRelease
from groundswell.shared.demand_windows import Windows
from groundswell.shared.questions import Horizon, LabelTrend, Trend, moment
from groundswell.shared.task import Task

HORIZONS = 4
LEAST_WINDOWS = FIRST_ORIGIN + HORIZONS + 1  # that a forecast so far ahead learns from
_LEAST_LEVEL = 0.5
_CORRELATION = 0.15  # of the errors of two windows that are forecast at once

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class SiteKnowledge:
    """What a site knows beside its counts of ``W`` windows, see ``DemandHistory``.

    Attributes:
        due: float64 ``[L, W + 1]``.
        themes: float64 ``[K, L, W + HORIZONS]``.
        plan: float64 ``[M, L, W + HORIZONS]``; None for none.
    """

    due: Float64
    themes: Float64
    plan: Float64 | None


def public_windows(release: DemandRelease, task: Task) -> Windows:
    """A release's windows and those that are forecast, where public days are placed."""
    return Windows.ending(moment(release.as_of), task, release.values.shape[1], HORIZONS)


def demand_trends(
    release: DemandRelease,
    labels: Sequence[str],
    task: Task,
    lead: int,
    knowledge: SiteKnowledge | None = None,
) -> list[LabelTrend] | None:
    """The trend of every label, the largest coming demand first, labels in the noise last.

    A label rises or fades by its coming demand over the mean of all windows released.

    Args:
        labels: ``L`` names.
        lead: windows until a restock arrives, at most ``HORIZONS``.
        knowledge: a site's own; None at a gateway.

    Returns:
        None where the release holds too few windows to learn from.
    """
    windows = release.values.shape[1]
    if windows < LEAST_WINDOWS:
        return None
    known = public_windows(release, task)
    history = DemandHistory(
        counts=release.values,
        site=np.zeros(len(labels), dtype=np.int64),
        calendar=run_up(task.calendar, known),
        phases=month_phases(known),
        plan=knowledge.plan if knowledge else None,
        due=knowledge.due if knowledge else None,
        themes=knowledge.themes if knowledge else None,
    )
    found = forecast(history, HORIZONS, noise=release.noise if release.noise.any() else None)
    usual = np.maximum(release.values.mean(axis=1), _LEAST_LEVEL)
    trends = [
        _trend(release, found, label, row, float(usual[row]), lead)
        for row, label in enumerate(labels)
    ]
    return sorted(
        trends, key=lambda t: (not t.resolvable, -(t.horizons[0].p50 if t.horizons else 0))
    )


def restock(p50: Float64, p90: Float64) -> float:
    """P90 of the sum of coming windows, from float64 ``[H]`` each.

    What errs in one window errs in the next as well: their spreads add in squares, and two windows'
    errors are taken to correlate by ``_CORRELATION``. It is public and the same for all labels; it
    was chosen on The Complete Journey's weeks before November, so that about nine sums of ten stay
    below, whatever their length (``docs/benchmarks.md``).
    """
    spread = p90 - p50
    variance = (1 - _CORRELATION) * np.square(spread).sum() + _CORRELATION * spread.sum() ** 2
    return float(p50.sum() + np.sqrt(variance))


def _trend(
    release: DemandRelease, found: DemandForecast, label: str, row: int, usual: float, lead: int
) -> LabelTrend:
    history = tuple(float(value) for value in release.values[row])
    noise = tuple(float(deviation) for deviation in release.deviations)
    if not found.resolvable[row]:
        return LabelTrend(
            label=label, resolvable=False, trend=Trend.STEADY, history=history, noise=noise
        )
    p50, p90 = found.p50[row], found.p90[row]
    return LabelTrend(
        label=label,
        resolvable=True,
        trend=Trend.of(float(found.mean[row, 0]) / usual),
        history=history,
        noise=noise,
        horizons=tuple(
            Horizon(window=i + 1, p50=float(p50[i]), p90=float(p90[i])) for i in range(HORIZONS)
        ),
        surge=float(found.surge[row, 0]),
        surge_low=float(found.surge_low[row, 0]),
        surge_high=float(found.surge_high[row, 0]),
        restock=restock(p50[:lead], p90[:lead]),
    )
