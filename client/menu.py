"""The heart of a site's policy: what may be released in a budget window, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from groundswell.shared.accounting import central_multiplier, reported_epsilon
from groundswell.shared.plan import EVALUATION, GRADIENT, Plan


class Price(BaseModel):
    """Epsilon of both tiers for a set of events, retries included."""

    model_config = ConfigDict(frozen=True)

    eps_c: float
    eps_l: float


class MenuEntry(BaseModel):
    """Up to ``count`` events of one kind in a window, each at least this private.

    Attributes:
        kind: kind of release.
        sigma_min: least noise multiplier sigma_L of this site.
        q_max: largest sampling rate.
        count: events in a budget window, retries included.
        n_min: least survivors of an event that this entry pays for, the site included; unset: the
            policy's. So a site agrees to a region's release without lowering what all else needs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    sigma_min: float = Field(gt=0, allow_inf_nan=False)
    q_max: float = Field(gt=0, le=1)
    count: int = Field(gt=0)
    n_min: int | None = Field(default=None, ge=2)

    @property
    def account(self) -> str:
        """What its events are counted under: entries of one kind and n_min pay together."""
        return self.kind if self.n_min is None else f"{self.kind} (n_min {self.n_min})"

    def dominates(self, kind: str, sigma_l: float, q: float) -> bool:
        """Whether an event costs no more than this entry says, at as many honest sites."""
        return kind == self.kind and sigma_l >= self.sigma_min and q <= self.q_max

    def honest(self, colluders: int, otherwise: int) -> int:
        """n_min - c: honest sites that its price counts on; ``otherwise`` without an own n_min."""
        return otherwise if self.n_min is None else self.n_min - colluders


def menu_price(menu: Iterable[tuple[MenuEntry, int]], delta: float) -> Price:
    """Epsilon of both tiers if every entry is used up at its least noise and largest rate.

    Args:
        menu: each entry with the number of sites whose noise counts in its central tier.
        delta: of both tiers.
    """
    central, local = [], []
    for entry, honest in menu:
        local.append((entry.sigma_min, entry.q_max, entry.count))
        central.append((central_multiplier(entry.sigma_min, honest), entry.q_max, entry.count))
    return Price(eps_c=reported_epsilon(central, delta), eps_l=reported_epsilon(local, delta))


def menu_for(plan: Plan, runs: int) -> tuple[MenuEntry, ...]:
    """The entries that pay for ``runs`` runs of a plan, retries and later refreshes included."""
    entries = []
    for release in plan.releases:
        later = 0 if release.kind in (GRADIENT, EVALUATION) else plan.later_refreshes
        count = release.count + release.retries + later
        if count:
            entries.append(
                MenuEntry(
                    kind=release.kind,
                    sigma_min=release.noise_multiplier,
                    q_max=release.sampling_rate,
                    count=runs * count,
                )
            )
    return tuple(entries)


def plan_price(plan: Plan) -> Price:
    """What a plan costs with its later refreshes, at its own n_min survivors."""
    honest = plan.n_min - plan.colluders
    return menu_price([(entry, honest) for entry in menu_for(plan, 1)], plan.delta)
