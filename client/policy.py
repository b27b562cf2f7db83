"""The site's own rules: what a plan may ask of it, whatever the coordinator says.

The rules stand in the table ``[policy]`` of ``site.toml``, which belongs to the site; no message
can widen them. Their heart is a menu: per kind the least noise, the largest sampling rate and how
often in a budget window. The menu's price is checked once, as a whole, against the caps, and an
event then uses an entry that dominates it. So the order and the choice of events within a window
are free; were each event's noise chosen by what went before, the composition of ``accounting``
would not cover it (docs/privacy.md).
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from groundswell.client.menu import MenuEntry, Price, menu_for, menu_price, plan_price
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.plan import GRADIENT, Hex32, Plan, PlannedRelease, retries_for
from groundswell.shared.scaling import scale

__all__ = ["RETRIES_PER_ROUND", "MenuEntry", "Price", "SitePolicy"]

# Retries of one round that a site pays for (docs/privacy.md).
RETRIES_PER_ROUND = 2


class SitePolicy(BaseModel):
    """One site's rules.

    Attributes:
        eps_c, eps_l: caps on epsilon of each tier in a window; at least one is given.
        delta: of both tiers, fixed for the window.
        menu: what may be released in a window; its price as a whole must meet the caps.
        largest_clip_norm: largest C of any release.
        largest_examples_per_user: largest k.
        n_min: least survivors, the site included.
        least_roster: least number of sites whose masks stand in a sum; for an entry of the menu
            with an ``n_min`` of its own, that.
        colluders: merchants that are assumed to collude with the coordinator.
        least_seconds_per_slot: least time from a request to the vector that answers it; above what
            this site's computing ever takes, it tells nothing of the users.
        backbone_hashes, catalogue_hashes: SHA-256 (hex) of what the site has checked itself.
        window_days: length of the budget window.
        acceptance: ``policy`` takes any plan within these rules, ``explicit`` only plans whose hash
            stands in ``accepted_plans``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    eps_c: float | None = Field(default=None, gt=0)
    eps_l: float | None = Field(default=None, gt=0)
    delta: float = Field(gt=0, lt=1e-3)
    menu: tuple[MenuEntry, ...] = Field(min_length=1)
    largest_clip_norm: float = Field(gt=0)
    largest_examples_per_user: int = Field(ge=1)
    n_min: int = Field(ge=2)
    least_roster: int = Field(default=2, ge=2)
    colluders: int = Field(default=1, ge=0)
    least_seconds_per_slot: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    backbone_hashes: tuple[Hex32, ...]
    catalogue_hashes: tuple[Hex32, ...]
    window_days: int = Field(default=365, ge=1)
    acceptance: Literal["policy", "explicit"] = "policy"
    accepted_plans: tuple[Hex32, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.eps_c is None and self.eps_l is None:
            raise ValueError("at least one of eps_c and eps_l must be given")
        if self.n_min <= self.colluders:
            raise ValueError("n_min must be larger than colluders")
        if any(entry.n_min is not None and entry.n_min <= self.colluders for entry in self.menu):
            raise ValueError("the n_min of a menu entry must be larger than colluders")
        return self

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the table ``[policy]`` of a TOML file.

        Raises:
            InputError: no such file, no such table, or a value that breaks its rule.
        """
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(
                "site.toml", str(path), f"can't be read ({error})", "mend it"
            ) from None
        if "policy" not in table:
            raise InputError(
                "policy", str(path), "has no table [policy]", "add one; see docs/privacy.md"
            )
        try:
            return cls.model_validate(table["policy"])
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in ("policy", *first["loc"]))
            raise InputError(key, first.get("input"), first["msg"], f"mend it in {path}") from None

    @classmethod
    def for_plan(cls, plan: Plan, *, runs: int = 1, window_days: int = 365) -> Self:
        """The narrowest policy that lets ``plan`` run ``runs`` times in a window."""
        menu = menu_for(plan, runs)
        price = menu_price([(each, plan.n_min - plan.colluders) for each in menu], plan.delta)
        return cls(
            eps_c=max(plan.eps_c, price.eps_c),
            eps_l=max(plan.eps_l, price.eps_l),
            delta=plan.delta,
            menu=menu,
            largest_clip_norm=max(release.clip_norm for release in plan.releases),
            largest_examples_per_user=plan.examples_per_user,
            n_min=plan.n_min,
            least_roster=plan.n_min,
            colluders=plan.colluders,
            backbone_hashes=(plan.backbone_hash,),
            catalogue_hashes=tuple(each.hash for each in plan.catalogues),
            window_days=window_days,
        )

    def paying_for(self, plan: Plan) -> Self:
        """This policy with entries of the menu for one more run of ``plan``, and caps to match.

        Entries for a plan that counts on fewer honest survivors have an ``n_min`` of their own.
        """
        least = max(2, plan.n_min - plan.colluders + self.colluders)
        own = least if least < self.n_min else None
        entries = [each.model_copy(update={"n_min": own}) for each in menu_for(plan, 1)]
        clip_norm = max(release.clip_norm for release in plan.releases)
        wider = self.model_copy(
            update={
                "menu": (*self.menu, *entries),
                "largest_clip_norm": max(self.largest_clip_norm, clip_norm),
                "largest_examples_per_user": max(
                    self.largest_examples_per_user, plan.examples_per_user
                ),
            }
        )
        price = wider.price()
        caps = {
            name: None if cap is None else max(cap, cost)
            for name, cap, cost in (
                ("eps_c", self.eps_c, price.eps_c),
                ("eps_l", self.eps_l, price.eps_l),
            )
        }
        return wider.model_copy(update=caps)

    @property
    def honest(self) -> int:
        """Honest sites that a reserve counts on, unless its entry says another n_min: n_min - c."""
        return self.n_min - self.colluders

    def least_roster_of(self, entry: MenuEntry) -> int:
        """Least number of sites whose masks stand in a sum that an entry pays for."""
        return self.least_roster if entry.n_min is None else entry.n_min

    def price(self) -> Price:
        """What the whole menu costs in a window, each entry at its n_min survivors."""
        return menu_price(
            [(entry, entry.honest(self.colluders, self.honest)) for entry in self.menu], self.delta
        )

    def check_menu(self) -> Price:
        """Price the menu as a whole, once (the accountant keeps what it has computed).

        Raises:
            Refusal: ``over-budget``.
        """
        price = self.price()
        for name, cap, found in (
            ("eps_c", self.eps_c, price.eps_c),
            ("eps_l", self.eps_l, price.eps_l),
        ):
            if cap is not None and found > cap:
                raise Refusal(
                    "over-budget", f"the menu as a whole costs {name} {found:.4f}, above {cap:g}"
                )
        return price

    def accept_plan(self, plan: Plan, used: Mapping[str, int] | None = None) -> Price:
        """Decide on a plan as a whole, before the first key is advertised.

        Args:
            plan: as the coordinator signed it.
            used: events that the window has seen already, by ``MenuEntry.account``.

        Returns:
            What the plan costs, every retry included, at its n_min survivors.

        Raises:
            Refusal: with the code of the first rule that the plan breaks.
        """
        self._check_acceptance(plan)
        self._check_frame(plan)
        for release in plan.releases:
            self._check_retries(plan, release)
            self.entries_for(release, plan)
        self._check_counts(plan, used or {})
        self.check_menu()
        return self._plan_price(plan)

    def authorise(self, release: PlannedRelease, plan: Plan) -> tuple[int, ...]:
        """Decide on one event, before anything is computed for it.

        Returns:
            Positions in the menu of the entries that dominate it, the cheapest first.

        Raises:
            Refusal: with the code of the first rule that the event breaks.
        """
        if plan.release(release.kind) != release:
            raise Refusal("plan-changed", f"the accepted plan has no such {release.kind} release")
        self._check_acceptance(plan)
        self._check_frame(plan)
        return self.entries_for(release, plan)

    def entries_for(self, release: PlannedRelease, plan: Plan) -> tuple[int, ...]:
        """Positions of dominating menu entries; refuses with the rule that leaves none."""
        of_kind = [entry for entry in self.menu if entry.kind == release.kind]
        if not of_kind:
            raise Refusal("unknown-kind", f"the menu has no entry of the kind {release.kind!r}")
        ours = [entry for entry in of_kind if self._enough(entry, plan)]
        if not ours:
            raise Refusal("n-min-too-small", self._too_few(plan))
        if release.clip_norm > self.largest_clip_norm:
            raise Refusal(
                "clip-too-large",
                f"clip norm {release.clip_norm:g} of {release.kind} is above the site's "
                f"{self.largest_clip_norm:g}",
            )
        quiet = [entry for entry in ours if release.noise_multiplier >= entry.sigma_min]
        if not quiet:
            raise Refusal(
                "sigma-too-small",
                f"noise multiplier {release.noise_multiplier:g} of {release.kind} is below the "
                f"site's {min(entry.sigma_min for entry in ours):g}",
            )
        if not any(release.sampling_rate <= entry.q_max for entry in quiet):
            raise Refusal(
                "rate-too-large",
                f"sampling rate {release.sampling_rate:g} of {release.kind} is above the site's "
                f"{max(entry.q_max for entry in quiet):g} at this noise",
            )
        _check_scale(release)
        found = [
            (-entry.sigma_min, entry.q_max, position)
            for position, entry in enumerate(self.menu)
            if entry.dominates(release.kind, release.noise_multiplier, release.sampling_rate)
            and self._enough(entry, plan)
        ]
        return tuple(position for _, _, position in sorted(found))

    def _enough(self, entry: MenuEntry, plan: Plan) -> bool:
        """Whether a plan asks for as many survivors, and honest ones, as an entry wants.

        An entry with an ``n_min`` of its own is for the release of the site's region alone: whose
        sites those are stands in certificates, so that the coordinator can't choose them.
        """
        if entry.n_min is not None and not plan.region:
            return False
        least = self.n_min if entry.n_min is None else entry.n_min
        return plan.n_min >= least and plan.n_min - plan.colluders >= entry.honest(
            self.colluders, self.honest
        )

    def _too_few(self, plan: Plan) -> str:
        """The rule, and what an operator who agrees to a region's plan has to write."""
        rule = (
            f"[policy].n_min: {self.n_min} (and {self.honest} of them honest): the plan asks for "
            f"{plan.n_min} survivors"
        )
        if not plan.region:
            return f"{rule} ({plan.n_min - plan.colluders} honest); lower n_min to agree"
        wider = self.paying_for(plan)
        price, menu = plan_price(plan), wider.price()
        entries = "; ".join(
            f'kind = "{each.kind}", sigma_min = {each.sigma_min:g}, q_max = {each.q_max:g}, '
            f"count = {each.count}, n_min = {each.n_min}"
            for each in wider.menu[len(self.menu) :]
        )
        return (
            f"{rule} of the sites of {plan.region} ({plan.n_min - plan.colluders} honest) and "
            f"costs eps_C {price.eps_c:.3f} and eps_L {price.eps_l:.3f} by itself; to agree, add "
            f"to [[policy.menu]] before a budget window begins: {entries}. The menu then costs "
            f"eps_C {menu.eps_c:.3f} and eps_L {menu.eps_l:.3f}, which eps_c and eps_l of [policy] "
            "must allow"
        )

    def _check_acceptance(self, plan: Plan) -> None:
        if self.acceptance == "explicit" and plan.hash().hex() not in self.accepted_plans:
            raise Refusal(
                "plan-not-accepted", f"plan {plan.hash().hex()} is not among the accepted plans"
            )

    def _check_frame(self, plan: Plan) -> None:
        """What holds for every event of a plan."""
        if plan.delta != self.delta:
            raise Refusal(
                "delta-changed", f"delta {plan.delta:g} is not the window's {self.delta:g}"
            )
        if plan.colluders < self.colluders:
            raise Refusal(
                "colluders-too-few",
                f"the plan assumes {plan.colluders} colluding merchants, the site {self.colluders}",
            )
        if plan.examples_per_user > self.largest_examples_per_user:
            raise Refusal(
                "examples-too-many",
                f"{plan.examples_per_user} examples a user are above the site's "
                f"{self.largest_examples_per_user}",
            )
        if plan.seconds_per_slot < self.least_seconds_per_slot:
            raise Refusal(
                "slot-too-short",
                f"vectors after {plan.seconds_per_slot:g} s are sooner than the site's "
                f"{self.least_seconds_per_slot:g} s",
            )
        if plan.backbone_hash not in self.backbone_hashes:
            raise Refusal("unknown-backbone", f"backbone {plan.backbone_hash} is not allowed here")
        for catalogue in plan.catalogues:
            if catalogue.hash not in self.catalogue_hashes:
                raise Refusal(
                    "unknown-catalogue", f"catalogue {catalogue.hash} is not allowed here"
                )

    def _check_retries(self, plan: Plan, release: PlannedRelease) -> None:
        if release.kind == GRADIENT and release.retries > retries_for(plan.rounds):
            raise Refusal(
                "retries-too-many",
                f"{release.retries} retries in {plan.rounds} rounds; at most "
                f"{retries_for(plan.rounds)} are paid for",
            )

    def _check_counts(self, plan: Plan, used: Mapping[str, int]) -> None:
        """Whether the window's menu still holds every attempt of the plan, retries included."""
        for release in plan.releases:
            paid = self.paid(release, plan)
            left = sum(max(0, count - used.get(each, 0)) for each, count in paid.items())
            wanted = release.count + release.retries
            if wanted > left:
                raise Refusal(
                    "over-budget",
                    f"{wanted} events of the kind {release.kind} are more than the {left} that "
                    f"are left of the {paid.total()} that [[policy.menu]] pays for in a window",
                )

    def paid(self, release: PlannedRelease, plan: Plan) -> Counter[str]:
        """Events like this one that the menu pays for in a window, by ``MenuEntry.account``."""
        found: Counter[str] = Counter()
        for position in self.entries_for(release, plan):
            entry = self.menu[position]
            found[entry.account] += entry.count
        return found

    def _plan_price(self, plan: Plan) -> Price:
        """Refuses a plan that does not keep the caps that it prints itself."""
        price = plan_price(plan)
        if price.eps_c > plan.eps_c or price.eps_l > plan.eps_l:
            raise Refusal(
                "plan-overspends",
                f"the plan costs eps_C {price.eps_c:.4f} and eps_L {price.eps_l:.4f}, above its "
                f"own caps {plan.eps_c:g} and {plan.eps_l:g}",
            )
        return price


def check_delta(plan: Plan, declared: int) -> None:
    """Refuse a delta of more than a tenth of one user: the site can't have it for its own users.

    The coordinator keeps the same rule over all sites together, which a site can't check.

    Args:
        declared: N of the site's certificate.

    Raises:
        Refusal: ``delta-too-large``.
    """
    if plan.delta > 1 / (10 * declared):
        raise Refusal(
            "delta-too-large", f"delta {plan.delta:g} is above 1/(10 x {declared}) for this site"
        )


def _check_scale(release: PlannedRelease) -> None:
    """Sensitivity follows from the clip: a Delta of the coordinator's choosing is refused."""
    try:
        expected = scale(release.noise_multiplier, release.max_nonzero)
    except InputError as error:
        raise Refusal("scale-changed", str(error)) from error
    if release.scale != expected:
        raise Refusal(
            "scale-changed",
            f"scale {release.scale} of {release.kind} is not the {expected} that sigma and the "
            "non-zero coordinates ask for",
        )
