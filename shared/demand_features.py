"""What a demand forecast looks at: own past, who is due, totals, calendar, public texts, plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.demand_windows import Windows
from groundswell.shared.task import Occasion

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

FIRST_ORIGIN = 12  # weeks before the first forecast that is learned from
LEVEL_WEEKS = 8
RUN_UP_DAYS = 7
# Spending follows pay days: shares of a week's days in these parts of the month; the rest is 27-31.
MONTH_PHASES = ((1, 5), (6, 12), (13, 19), (20, 26))
SURGE_RATIO = 1.5  # a surge exceeds this many times the mean of the last eight weeks
SURGE_COUNT = 5.0  # and has at least so many buyers
_LIFT_PRIOR = 20.0  # buyers whose response to an occasion is taken to be none
_TOTAL_PRIOR = 20.0
_TOTAL_SMOOTHING = 0.4
_HABIT_PRIOR = 10.0  # weeks that the site's usual share of surges is worth in a series
_DISPERSION_PRIOR = 10.0  # expected count that the average dispersion is worth in a series
_RECENT = 0.8  # weight of a surge a week further back
_ANSWER_PRIOR = 1.0  # plan squared times level that the site's usual answer is worth in a series
_LEAST_PLAN = 0.02  # spread of a plan below which its changes are not told apart


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
        due: float64 ``[S, T + 1]``, users expected in a week from those before it, see
            :mod:`groundswell.shared.demand_due`; None where only counts are known.
        themes: float64 ``[K, S, T + H]``, what public texts say of a series in a week, see
            :mod:`groundswell.shared.demand_themes`; None for nothing.
    """

    counts: Float64
    site: Int64
    calendar: Float64
    phases: Float64
    totals: Float64 | None = None
    plan: Float64 | None = None
    due: Float64 | None = None
    themes: Float64 | None = None

    def __post_init__(self) -> None:
        series, weeks = self.counts.shape
        checks = [("site", len(self.site) == series)]
        checks += [
            (name, known.shape[-1] >= weeks)
            for name, known in (("calendar", self.calendar), ("phases", self.phases))
        ]
        if self.totals is not None:
            checks.append(("totals", self.totals.shape == self.counts.shape))
        for name, public in (("plan", self.plan), ("themes", self.themes)):
            if public is not None:
                fits = public.shape[1] == series and public.shape[2] >= weeks
                checks.append((name, fits))
        if self.due is not None:
            checks.append(("due", self.due.shape == (series, weeks + 1)))
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

    def counts(self, deviation: Float64) -> Float64:
        """The counts, at least 0, that predicted targets mean."""
        result: Float64 = np.maximum(self.base + self.scale * deviation, 0.0)
        return result


class Features:
    """Designs of any origin of one history."""

    def __init__(self, history: DemandHistory) -> None:
        self._history = history

    def at(self, origin: int, horizon: int) -> Design:
        """The design of week ``origin + horizon - 1`` from counts before ``origin``.

        Raises:
            ValueError: calendar, phases, themes or plan do not reach that week, or fewer than eight
                weeks lie before the origin.
        """
        history, week = self._history, origin + horizon - 1
        if origin < LEVEL_WEEKS:
            raise ValueError(f"{origin} weeks are too few, {LEVEL_WEEKS} are needed")
        ahead = (history.calendar, history.phases, history.themes, history.plan)
        if week >= min(each.shape[-1] for each in ahead if each is not None):
            raise ValueError(f"calendar, themes or plan end before week {week}")
        counts = history.counts[:, :origin]
        base = counts[:, -LEVEL_WEEKS:].mean(axis=1)
        scale = np.sqrt(base + 1)
        size = base / scale
        columns = _levels(counts, base, scale) + self._habits(counts, base)
        columns += [change * size for change in self._traffic(counts)]
        columns += [np.full_like(base, phase[week]) for phase in history.phases]
        if history.totals is not None:
            columns += [change * size for change in _changes(history.totals[:, :origin])]
        columns += self._occasions(origin, week, size)
        if history.due is not None:
            columns.append((history.due[:, origin] - base) / scale)
        for theme in history.themes if history.themes is not None else ():
            usual = theme[:, origin - LEVEL_WEEKS : origin].mean(axis=1)
            columns += [(theme[:, when] - usual) * size for when in (week, origin - 1)]
        for plan in history.plan if history.plan is not None else ():
            columns += self._answers(plan, origin, week, size)
        return Design(np.stack(columns, axis=1), base, scale)

    def _occasions(self, origin: int, week: int, size: Float64) -> list[Float64]:
        """Each float64 ``[S]``: what the week, and the one before the origin, have in occasions.

        One site's counts answer each kind too seldom for a weight of its own: they get their sum.
        """
        found = []
        for number, exposure in enumerate(self._history.calendar):
            lift = self._lift(number, origin)
            kind = [exposure[when] * lift * size for when in (week, origin - 1)]
            if self._history.totals is not None:
                kind += [exposure[when] * size for when in (week, origin - 1)]
            found.append(kind)
        if self._history.totals is None and found:
            return [np.sum(column, axis=0) for column in zip(*found, strict=True)]
        return [column for kind in found for column in kind]

    def _habits(self, counts: Float64, base: Float64) -> list[Float64]:
        """Each float64 ``[S]``: how far a surge is, and how often and lately there was one."""
        origin = counts.shape[1]
        needed = least_surge(base)
        level = self._own_level[:, LEVEL_WEEKS:origin]
        later = counts[:, LEVEL_WEEKS:]
        past = surged(later, level).astype(np.float64)
        usual = (past.sum() + 1) / (past.size + 20)
        squares = (later - level) ** 2
        average = squares.sum() / max(float(level.sum()), 1.0)
        return [
            (needed - base) / np.sqrt(base + 1),
            1 / needed,
            np.log(counts.max(axis=1) + 1) - np.log(needed),
            np.log((past.sum(axis=1) + _HABIT_PRIOR * usual) / (past.shape[1] + _HABIT_PRIOR)),
            np.log(((counts >= needed[:, None]).sum(axis=1) + 1) / (origin + 5)),
            np.log((counts[:, -13:] >= needed[:, None]).sum(axis=1) + 0.3),
            past @ _RECENT ** np.arange(past.shape[1])[::-1],
            np.log(
                (squares.sum(axis=1) + _DISPERSION_PRIOR * average + 1e-3)
                / (level.sum(axis=1) + _DISPERSION_PRIOR)
            ),
            (np.maximum(later - level, 0) ** 3).sum(axis=1) / (squares.sum(axis=1) + 5) ** 1.5,
        ]

    def _traffic(self, counts: Float64) -> list[Float64]:
        """Each float64 ``[S]``: change of the site's whole count in the last two weeks."""
        sums = self._by_site(counts[:, -LEVEL_WEEKS:])
        mean = sums.mean(axis=1)
        return [(sums[:, -back] - mean) / (mean + 10) for back in (1, 2)]

    def _answers(self, plan: Float64, origin: int, week: int, size: Float64) -> list[Float64]:
        """Each float64 ``[S]``: the plan's change, and what such changes did to the series.

        A series' answer is shrunk to its site's.
        """
        weeks = np.arange(LEVEL_WEEKS, origin)
        known = plan[:, : week + 1]
        usual = _mean_before(known)
        change = known[:, weeks] - usual[:, weeks]
        level = self._own_level[:, weeks]
        answer = ((self._history.counts[:, weeks] - level) * change).sum(axis=1)
        possible = (level * change**2).sum(axis=1)
        common = self._by_site(answer) / (self._by_site(possible) + 1)
        lift = (answer + _ANSWER_PRIOR * common) / (possible + _ANSWER_PRIOR)
        now = known[:, week] - known[:, origin - LEVEL_WEEKS : origin].mean(axis=1)
        before = known[:, LEVEL_WEEKS:origin]
        return [
            known[:, week],
            now,
            now * size,
            known[:, origin - 1] - known[:, origin - LEVEL_WEEKS : origin].mean(axis=1),
            now * lift,
            now * lift * size,
            (known[:, week] - before.mean(axis=1)) / (before.std(axis=1) + _LEAST_PLAN),
        ]

    def _by_site(self, values: Float64) -> Float64:
        """Sums over the series of each one's site, of the shape of ``values``."""
        sites = np.unique(self._history.site, return_inverse=True)[1]
        sums = np.zeros((int(sites.max(initial=-1)) + 1, *values.shape[1:]))
        np.add.at(sums, sites, values)
        result: Float64 = sums[sites]
        return result

    def _lift(self, number: int, origin: int) -> Float64:
        """float64 ``[S]``: how the label answered earlier occasions of a kind, shrunk to not at
        all; from the federation's total where that is known."""
        weeks = np.arange(LEVEL_WEEKS, origin)
        exposure = self._history.calendar[number, weeks]
        level = self._total_level[:, weeks]
        answer = ((self._totals[:, weeks] - level) * exposure).sum(axis=1)
        possible = (level * exposure**2).sum(axis=1)
        result: Float64 = answer / (possible + _LIFT_PRIOR)
        return result

    @cached_property
    def _totals(self) -> Float64:
        totals = self._history.totals
        return self._history.counts if totals is None else totals

    @cached_property
    def _own_level(self) -> Float64:
        return _mean_before(self._history.counts)

    @cached_property
    def _total_level(self) -> Float64:
        return _mean_before(self._totals)


def least_surge(level: Float64) -> Float64:
    """float64 ``[S]``: the smallest whole count that is a surge over this mean of eight weeks."""
    least = np.floor(SURGE_RATIO * np.maximum(level, 0.0)) + 1
    result: Float64 = np.maximum(least, SURGE_COUNT)
    return result


def surged(actual: Float64, level: Float64) -> NDArray[np.bool_]:
    """Whether counts are surges over the mean of the eight weeks before; of their shape."""
    result: NDArray[np.bool_] = (actual > SURGE_RATIO * level) & (actual >= SURGE_COUNT)
    return result


def _mean_before(values: Float64) -> Float64:
    """float64 ``[S, T]``: mean of the eight weeks before each week, 0 for the first eight."""
    sums = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    level = np.zeros(values.shape)
    level[:, LEVEL_WEEKS:] = (sums[:, LEVEL_WEEKS:-1] - sums[:, : -LEVEL_WEEKS - 1]) / LEVEL_WEEKS
    return np.maximum(level, 0.0)


def _levels(counts: Float64, base: Float64, scale: Float64) -> list[Float64]:
    """Each float64 ``[S]``: lags, longer means, the highest week and the spread over the base."""
    lags = [counts[:, -k] for k in (1, 2, 3, 4)]
    means = [counts[:, -13:].mean(axis=1), counts[:, -26:].mean(axis=1), counts.mean(axis=1)]
    highest, spread = counts[:, -LEVEL_WEEKS:].max(axis=1), counts[:, -LEVEL_WEEKS:].std(axis=1)
    size = np.log(base + 0.5)
    relative = [(column - base) / scale for column in (*lags, *means, highest)]
    return [*relative, spread / scale, size, size**2]


def _changes(totals: Float64) -> list[Float64]:
    """Relative changes of the federation's totals, shrunk where they are small."""
    base = np.maximum(totals[:, -LEVEL_WEEKS:].mean(axis=1), 0.0)
    share = _TOTAL_SMOOTHING * (1 - _TOTAL_SMOOTHING) ** np.arange(totals.shape[1])[::-1]
    levels = [totals[:, -k] for k in (1, 2, 3)]
    levels += [totals[:, -26:].mean(axis=1), totals @ (share / share.sum())]
    return [(level - base) / (base + _TOTAL_PRIOR) for level in levels]


def run_up(occasions: tuple[Occasion, ...], windows: Windows) -> Float64:
    """float64 ``[C, W]`` by category in alphabetical order: share of the seven days up to and
    including each occasion that fall into each window."""
    names = sorted({occasion.category for occasion in occasions})
    days = np.zeros((len(names), windows.days))
    for each in occasions:
        begun = each.date - timedelta(days=RUN_UP_DAYS - 1)
        days[names.index(each.category), windows.between(begun, each.date)] += 1
    return windows.means(days) * (windows.length / timedelta(days=RUN_UP_DAYS))


def month_phases(windows: Windows) -> Float64:
    """float64 ``[P, W]``: share of each window's days in each part of the month."""
    first = windows.first_day
    days = np.array([(first + timedelta(days=k)).day for k in range(windows.days)])
    parts = np.stack([(low <= days) & (days <= high) for low, high in MONTH_PHASES])
    return windows.means(parts.astype(np.float64))
