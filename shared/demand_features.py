"""What a demand forecast looks at: own lags, the federation's total, public calendar and plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.task import Occasion

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

FIRST_ORIGIN = 12  # weeks before the first forecast that is learned from
LEVEL_WEEKS = 8
RUN_UP_DAYS = 7
# Spending follows pay days: shares of a week's days in these parts of the month; the rest is 27-31.
MONTH_PHASES = ((1, 5), (6, 12), (13, 19), (20, 26))
_LIFT_PRIOR = 20.0  # buyers whose response to an occasion is taken to be none
_TOTAL_PRIOR = 20.0
_SMOOTHING = 0.2
_TOTAL_SMOOTHING = 0.4


@dataclass(frozen=True)
class DemandHistory:
    """Weekly counts of ``S`` series over ``T`` weeks, and what is known of ``T + H`` weeks.

    Attributes:
        counts: float64 ``[S, T]``, e.g. distinct buyers of a label at a site.
        site: int64 ``[S]``, the site of each series.
        calendar: float64 ``[C, T + H]``, see :func:`run_up`.
        phases: float64 ``[P, T + H]``, see :func:`month_phases`.
        totals: float64 ``[S, T]``, the same label's count over all sites, as the federation knows
            it; None where only own counts are known.
        plan: float64 ``[M, S, T + H]``, planned promotion of a series in a week; None for none.
        noise: standard deviation of the noise in each count, 0 for exact ones.
    """

    counts: Float64
    site: Int64
    calendar: Float64
    phases: Float64
    totals: Float64 | None = None
    plan: Float64 | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        series, weeks = self.counts.shape
        checks = [("site", len(self.site) == series)]
        checks += [
            (name, known.shape[-1] >= weeks)
            for name, known in (("calendar", self.calendar), ("phases", self.phases))
        ]
        if self.totals is not None:
            checks.append(("totals", self.totals.shape == self.counts.shape))
        if self.plan is not None:
            fits = self.plan.shape[1] == series and self.plan.shape[2] >= weeks
            checks.append(("plan", fits))
        for name, fits in checks:
            if not fits:
                raise ValueError(f"{name} does not fit {series} series of {weeks} weeks")


@dataclass(frozen=True)
class Design:
    """Regressors of one origin, scaled like the target.

    Attributes:
        x: float64 ``[S, F]``.
        base: float64 ``[S]``, mean of the last eight weeks.
        scale: float64 ``[S]``, root of one more than that.
    """

    x: Float64
    base: Float64
    scale: Float64

    def target(self, counts: Float64) -> Float64:
        result: Float64 = (counts - self.base) / self.scale
        return result

    def counts(self, weights: Float64) -> Float64:
        """The counts that weights predict, at least 0."""
        result: Float64 = np.maximum(self.base + self.scale * (self.x @ weights), 0.0)
        return result


class Features:
    """Designs of any origin of one history."""

    def __init__(self, history: DemandHistory) -> None:
        self._history = history

    def at(self, origin: int, horizon: int) -> Design:
        """The design of week ``origin + horizon - 1`` from counts before ``origin``.

        Raises:
            ValueError: calendar, phases or plan do not reach that week, or fewer than eight weeks
                lie before the origin.
        """
        history, week = self._history, origin + horizon - 1
        if origin < LEVEL_WEEKS:
            raise ValueError(f"{origin} weeks are too few, {LEVEL_WEEKS} are needed")
        known = min(history.calendar.shape[-1], history.phases.shape[-1])
        if history.plan is not None:
            known = min(known, history.plan.shape[-1])
        if week >= known:
            raise ValueError(f"calendar and plan end before week {week}")
        counts = history.counts[:, :origin]
        # Noise can push a count below zero; no level lies there.
        base = np.maximum(counts[:, -LEVEL_WEEKS:].mean(axis=1), 0.0)
        scale = np.sqrt(base + 1)
        size = base / scale
        columns = [(column - base) / scale for column in _levels(counts, _SMOOTHING)]
        if history.noise > 0:
            # A noised lag says much of a large series and little of a small one: each column is
            # there once by how far the counts' own variance outweighs the noise, once by the rest.
            trusted = base / (base + history.noise**2)
            columns = [part * column for column in columns for part in (trusted, 1 - trusted)]
        columns += [size, 1 / scale, self._traffic(counts) * size]
        if history.totals is not None:
            columns += [change * size for change in _changes(history.totals[:, :origin])]
        for phase in history.phases:
            columns += [phase[week] * size, phase[origin - 1] * size]
        for number, exposure in enumerate(history.calendar):
            lift = self._lift(number, origin)
            for when in (week, origin - 1):
                columns += [exposure[when] * size, exposure[when] * lift * size]
        for plan in history.plan if history.plan is not None else ():
            usual = plan[:, origin - LEVEL_WEEKS : origin].mean(axis=1)
            change = plan[:, week] - usual
            columns += [change * size, change / scale, (plan[:, origin - 1] - usual) * size]
        return Design(np.stack(columns, axis=1), base, scale)

    def _traffic(self, counts: Float64) -> Float64:
        """float64 ``[S]``: change of the site's whole count last week."""
        sites = np.unique(self._history.site, return_inverse=True)[1]
        sums = np.zeros((int(sites.max(initial=-1)) + 1, LEVEL_WEEKS))
        np.add.at(sums, sites, counts[:, -LEVEL_WEEKS:])
        change = sums[:, -1] / np.maximum(sums.mean(axis=1), 1.0) - 1
        result: Float64 = change[sites]
        return result

    def _lift(self, number: int, origin: int) -> Float64:
        """float64 ``[S]``: how the label answered earlier occasions of a kind, shrunk to not at
        all; from the federation's total where that is known."""
        weeks = np.arange(LEVEL_WEEKS, origin)
        exposure = self._history.calendar[number, weeks]
        level = self._level_before[:, weeks]
        answer = ((self._heard[:, weeks] - level) * exposure).sum(axis=1)
        possible = (level * exposure**2).sum(axis=1)
        result: Float64 = answer / (possible + _LIFT_PRIOR)
        return result

    @cached_property
    def _heard(self) -> Float64:
        totals = self._history.totals
        return self._history.counts if totals is None else totals

    @cached_property
    def _level_before(self) -> Float64:
        """float64 ``[S, T]``: mean of the eight weeks before each week, 0 for the first eight."""
        sums = np.cumsum(np.pad(self._heard, ((0, 0), (1, 0))), axis=1)
        level = np.zeros(self._heard.shape)
        level[:, LEVEL_WEEKS:] = (sums[:, LEVEL_WEEKS:-1] - sums[:, : -LEVEL_WEEKS - 1]) / (
            LEVEL_WEEKS
        )
        return np.maximum(level, 0.0)


def _levels(counts: Float64, smoothing: float) -> list[Float64]:
    """Each float64 ``[S]``: the last four weeks, longer means, and a smoothed level."""
    share = smoothing * (1 - smoothing) ** np.arange(counts.shape[1])[::-1]
    smoothed = counts @ (share / share.sum())
    lags = [counts[:, -k] for k in (1, 2, 3, 4)]
    return [*lags, counts[:, -13:].mean(axis=1), counts[:, -26:].mean(axis=1), smoothed]


def _changes(totals: Float64) -> list[Float64]:
    """Relative changes of the federation's totals, shrunk where they are small."""
    base = np.maximum(totals[:, -LEVEL_WEEKS:].mean(axis=1), 0.0)
    lag1, lag2, lag3, _, _, long, smoothed = _levels(totals, _TOTAL_SMOOTHING)
    return [(level - base) / (base + _TOTAL_PRIOR) for level in (lag1, lag2, lag3, long, smoothed)]


def run_up(occasions: tuple[Occasion, ...], first: date, weeks: int) -> Float64:
    """float64 ``[C, weeks]`` by category in alphabetical order: share of the seven days up to and
    including each occasion that fall into each week; ``first`` is the first week's first day."""
    names = sorted({occasion.category for occasion in occasions})
    exposure = np.zeros((len(names), weeks))
    for occasion in occasions:
        for back in range(RUN_UP_DAYS):
            week = (occasion.date - timedelta(days=back) - first).days // 7
            if 0 <= week < weeks:
                exposure[names.index(occasion.category), week] += 1 / RUN_UP_DAYS
    return exposure


def month_phases(first: date, weeks: int) -> Float64:
    """float64 ``[P, weeks]``: share of each week's days in each part of the month."""
    days = np.array([[(first + timedelta(7 * w + k)).day for k in range(7)] for w in range(weeks)])
    return np.stack([((low <= days) & (days <= high)).mean(axis=1) for low, high in MONTH_PHASES])
