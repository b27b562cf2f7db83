"""How much noise a run needs: the least sigma per kind of release that meets both epsilon caps.

The whole run is sized at once, every retry reserved. One number is free, the budget mu^2 of the
central tier, and each kind takes its share of it. For a full-batch kind (q = 1) mu^2 = count /
sigma_C^2 is exact. For a subsampled kind mu^2 = q^2 count (e^(1/sigma_C^2) - 1), the limit of Bu,
Dong, Long, Su 2020 (arXiv 1911.11607). It only says how the budget is divided; what the run costs
is always taken from ``accounting``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.optimize import brentq

from groundswell.shared.accounting import (
    central_multiplier,
    reported_epsilon,
    warnings_for,
)
from groundswell.shared.config import ROUNDS, Privacy
from groundswell.shared.errors import InputError
from groundswell.shared.plan import EVALUATION, GRADIENT, retries_for

__all__ = [
    "DEFAULT_SHARES",
    "KindBudget",
    "SizedKind",
    "SizedPlan",
    "check_n_min",
    "default_budgets",
    "default_delta",
    "size_plan",
]

# Shares of mu^2: first release and refresh of the statistics together, and adapter and head; an
# evaluation takes what sigma_L 8.94 costs in the demo's federation.
DEFAULT_SHARES: Mapping[str, float] = {
    GRADIENT if name == ROUNDS else name: share for name, share in Privacy().split.items()
}
REFRESHED_ALONE = frozenset({"demand"})  # statistics that no round learns with
EVALUATION_SHARE = 0.006
# Bounds the search, and the noise that a plan may ask for: beyond it nothing is learned.
LARGEST_MULTIPLIER = 1e4
TOLERANCE = 1e-6
LEAST_CAP = 0.02


@dataclass(frozen=True)
class KindBudget:
    """What a run wants of one kind of release, before the noise is known.

    Exactly one of ``share`` (a weight; weights need not add up to 1) and ``noise_multiplier`` (a
    sigma_L that is already fixed) is given.
    """

    kind: str
    sampling_rate: float
    count: int
    retries: int = 0
    share: float | None = None
    noise_multiplier: float | None = None


@dataclass(frozen=True)
class SizedKind:
    """One kind of release with its noise: ``noise_multiplier`` is sigma_L."""

    kind: str
    sampling_rate: float
    count: int
    retries: int
    noise_multiplier: float


@dataclass(frozen=True)
class Price:
    """What the run would cost less, in each tier's epsilon, without a release."""

    eps_c: float
    eps_l: float


@dataclass(frozen=True)
class SizedPlan:
    """A run that meets its caps with every retry spent and no more than n_min survivors.

    Attributes:
        kinds: in the order asked for.
        eps_c: reserved central epsilon, at n_min - c noises, retries included.
        eps_l: local epsilon, retries included.
        delta: of both.
        honest: n_min - c, the honest sites that the reserve counts on.
        warnings: sentences to print beside the epsilons.
    """

    kinds: tuple[SizedKind, ...]
    eps_c: float
    eps_l: float
    delta: float
    honest: int
    warnings: tuple[str, ...]

    def kind(self, name: str) -> SizedKind:
        """The entry of one kind; KeyError where the plan has none."""
        for entry in self.kinds:
            if entry.kind == name:
                return entry
        raise KeyError(name)

    def only(self, *names: str) -> SizedPlan:
        """One attempt of each of these kinds at this noise; KeyError where one is none."""
        kinds = tuple(replace(self.kind(name), count=1, retries=0) for name in names)
        found = _epsilons(kinds, self.delta, self.honest)
        warnings = warnings_for(found.eps_l, self.honest)
        return SizedPlan(kinds, found.eps_c, found.eps_l, self.delta, self.honest, warnings)

    def noise_multipliers(self) -> dict[str, float]:
        """sigma_L by kind."""
        return {entry.kind: entry.noise_multiplier for entry in self.kinds}

    def expected(self, sites: int, colluders: int) -> Price:
        """Both epsilons if all ``sites`` survive every attempt and no retry is needed."""
        due = [replace(entry, retries=0) for entry in self.kinds]
        return _epsilons(due, self.delta, sites - colluders)

    def price(self, name: str, attempts: int | None = None) -> Price:
        """What ``attempts`` of one kind (None: all, with retries) add to the reserved epsilons."""
        left = []
        for entry in self.kinds:
            if entry.kind == name:
                total = entry.count + entry.retries
                rest = 0 if attempts is None else max(0, total - attempts)
                left.append(replace(entry, count=rest, retries=0))
            else:
                left.append(entry)
        without = _epsilons(left, self.delta, self.honest)
        return Price(max(0.0, self.eps_c - without.eps_c), max(0.0, self.eps_l - without.eps_l))

    def price_of_all(self, names: Collection[str]) -> Price:
        """What several kinds together add to the reserved epsilons."""
        left = [entry for entry in self.kinds if entry.kind not in names]
        without = _epsilons(left, self.delta, self.honest)
        return Price(max(0.0, self.eps_c - without.eps_c), max(0.0, self.eps_l - without.eps_l))

    def rounds_affordable(self, eps_c: float | None, eps_l: float | None) -> int:
        """Most rounds, with their retries, that fit the caps at these noise multipliers."""

        def fits(rounds: int) -> bool:
            kinds = [
                replace(entry, count=rounds, retries=retries_for(rounds))
                if entry.kind == GRADIENT
                else entry
                for entry in self.kinds
            ]
            found = _epsilons(kinds, self.delta, self.honest)
            return found.eps_c <= (eps_c or math.inf) and found.eps_l <= (eps_l or math.inf)

        if all(entry.kind != GRADIENT for entry in self.kinds) or not fits(0):
            return 0
        low, high = 0, max(1, self.kind(GRADIENT).count)
        while fits(high):
            low, high = high, 2 * high
            if high > 1_000_000:
                return low
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low


def check_n_min(key: str, n_min: int, sites: int) -> None:
    """Raise InputError where not even all sites together are enough for a secure sum.

    Args:
        key: how the caller's user sets ``n_min``.
    """
    if n_min > sites:
        two = "; with 2 the central tier equals the local one" if sites == 2 else ""
        raise InputError(
            key,
            n_min,
            f"a secure sum needs so many survivors (unset: max(3, sites - 2)), and there are "
            f"{sites} sites",
            f"lower it, or give more sites{two}",
        )


def default_delta(users: int | None) -> float:
    """min(1e-6, 1 / (10 users)) over all sites' declared users (docs/privacy.md)."""
    return 1e-6 if not users else min(1e-6, 1 / (10 * users))


def default_budgets(
    rounds: int,
    sampling_rate: float,
    *,
    refreshes: int = 1,
    evaluations: int = 1,
    statistics: Sequence[str] = ("popularity", "h5", "pairs"),
    shares: Mapping[str, float] = DEFAULT_SHARES,
) -> list[KindBudget]:
    """The demo's kinds: statistics ``1 + refreshes`` times each, the rounds, the evaluations.

    Statistics that no round learns with are released at the refreshes alone, at least once.
    """
    counts = {kind: max(1, refreshes) for kind in REFRESHED_ALONE}
    budgets = [
        KindBudget(kind, 1.0, counts.get(kind, 1 + refreshes), share=shares[kind])
        for kind in statistics
    ]
    if rounds:
        budgets.append(
            KindBudget(
                GRADIENT, sampling_rate, rounds, retries_for(rounds), share=shares[GRADIENT]
            )
        )  # fmt: skip
    if evaluations:
        share = EVALUATION_SHARE * evaluations
        budgets.append(KindBudget(EVALUATION, 1.0, evaluations, share=share))
    return budgets


def size_plan(
    budgets: Sequence[KindBudget],
    *,
    eps_c: float | None,
    eps_l: float | None,
    delta: float,
    n_min: int,
    colluders: int,
) -> SizedPlan:
    """The least noise with which the whole run meets both caps, retries included.

    Args:
        budgets: the kinds of release.
        eps_c: cap on the central epsilon at n_min survivors, or None.
        eps_l: cap on the local epsilon, or None; at least one cap is given.
        delta: of both tiers.
        n_min: least survivors, the site included.
        colluders: c, sites of the merchants that are assumed to collude.

    Raises:
        InputError: caps that no noise meets, or impossible arguments.
    """
    _check(budgets, eps_c, eps_l)
    honest = n_min - colluders
    if honest < 1:
        raise InputError("n_min", n_min, f"must exceed colluders = {colluders}", "raise n_min")
    shares = sum(budget.share or 0.0 for budget in budgets)

    def kinds_at(mu: float) -> list[SizedKind]:
        return [_sized(budget, shares, mu, honest) for budget in budgets]

    mus: list[float] = []
    for cap, tier in ((eps_c, "eps_c"), (eps_l, "eps_l")):
        if cap is not None:
            largest = min(mus, default=math.inf)
            mus.append(_largest_mu(_tier_cost(kinds_at, delta, honest, tier), cap, tier, largest))
    kinds = kinds_at(min(mus))
    found = _epsilons(kinds, delta, honest)
    warnings = warnings_for(found.eps_l, honest)
    return SizedPlan(tuple(kinds), found.eps_c, found.eps_l, delta, honest, warnings)


def _check(budgets: Sequence[KindBudget], eps_c: float | None, eps_l: float | None) -> None:
    if eps_c is None and eps_l is None:
        raise InputError("eps_c", None, "at least one of eps_c and eps_l is needed", "set eps_c")
    for key, cap in (("eps_c", eps_c), ("eps_l", eps_l)):
        if cap is not None and not LEAST_CAP <= cap < math.inf:
            key = f"[privacy].{key}"
            raise InputError(key, cap, f"must be a number of at least {LEAST_CAP}", "raise the cap")
    if len({budget.kind for budget in budgets}) != len(budgets) or not budgets:
        raise InputError("kinds", len(budgets), "must be there, each once", "name each kind once")
    for budget in budgets:
        given = (budget.share is None) + (budget.noise_multiplier is None)
        if given != 1 or not (budget.share or budget.noise_multiplier or 0) > 0:
            raise InputError(
                budget.kind, budget.share, "needs either a share or a noise multiplier, above 0",
                "give one of them",
            )  # fmt: skip
        if not 0 < budget.sampling_rate <= 1 or budget.count < 0 or budget.retries < 0:
            raise InputError(
                budget.kind, budget.sampling_rate, "needs q in (0, 1] and counts of 0 or more",
                "check the plan",
            )  # fmt: skip


def _sized(budget: KindBudget, shares: float, mu: float, honest: int) -> SizedKind:
    """The kind at a central budget mu^2, sigma_L rounded up at the sixth digit."""
    attempts = budget.count + budget.retries
    sigma_l = budget.noise_multiplier
    if sigma_l is None:
        q, part = budget.sampling_rate, (budget.share or 0.0) / shares * mu**2
        if attempts == 0:
            sigma_c = LARGEST_MULTIPLIER
        elif q == 1:
            sigma_c = math.sqrt(attempts / part)
        else:
            sigma_c = 1 / math.sqrt(math.log1p(part / (q * q * attempts)))
        # What the lemma takes off the central multiplier is put on again here.
        sigma_l = _round_up(min(sigma_c / central_multiplier(1.0, honest), LARGEST_MULTIPLIER))
    return SizedKind(budget.kind, budget.sampling_rate, budget.count, budget.retries, sigma_l)


def _round_up(value: float, digits: int = 6) -> float:
    unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return float(f"{math.ceil(value / unit) * unit:.{digits}g}")


def _tier_cost(
    kinds_at: Callable[[float], list[SizedKind]], delta: float, honest: int, tier: str
) -> Callable[[float], float]:
    def cost(mu: float) -> float:
        return reported_epsilon(_events(kinds_at(mu), honest if tier == "eps_c" else 1), delta)

    return cost


def _largest_mu(cost: Callable[[float], float], cap: float, tier: str, largest: float) -> float:
    """The largest mu, at most ``largest``, whose cost stays within the cap."""
    if math.isfinite(largest) and cost(largest) <= cap:
        return largest
    high = min(largest, 1.0)
    while cost(high) <= cap:
        high *= 2
    low = high / 2
    while cost(low) > cap:
        low /= 2
        if low < 1e-6:
            raise InputError(
                tier, cap, "no noise meets this cap with the fixed noise multipliers",
                "raise the cap, or let more kinds be sized",
            )  # fmt: skip
    root = brentq(lambda mu: cost(mu) - cap, low, high, rtol=TOLERANCE, xtol=TOLERANCE * low)
    mu = float(root)
    while cost(mu) > cap:
        mu *= 1 - TOLERANCE
    return mu


def _events(kinds: Sequence[SizedKind], honest: int) -> list[tuple[float, float, int]]:
    return [
        (
            central_multiplier(entry.noise_multiplier, honest),
            entry.sampling_rate,
            entry.count + entry.retries,
        )
        for entry in kinds
    ]


def _epsilons(kinds: Sequence[SizedKind], delta: float, honest: int) -> Price:
    return Price(
        reported_epsilon(_events(kinds, honest), delta), reported_epsilon(_events(kinds, 1), delta)
    )
