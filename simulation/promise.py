"""The privacy figures of a simulated run, read from its sites' ledgers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from groundswell.client.ledger import Ledger
from groundswell.client.policy import SitePolicy
from groundswell.client.spending import Tier
from groundswell.shared.accounting import central_multiplier, tpr_bound
from groundswell.shared.plan import GRADIENT, Plan
from groundswell.shared.results import Privacy, SiteSpent, Spent, TierPrivacy

REHEARSAL = "rehearsal: seeded, not a release"
NOT_PRIVATE = "no privacy: --no-privacy was set"
ALWAYS_EXCLUDED = ("a user who shops at several sites: the unit is one user at one site",)


def privacy_of(plan: Plan, ledgers: Iterable[Ledger], excludes: Iterable[str]) -> Privacy:
    """Both tiers, each at the site that spent most; simulated noise is always seeded."""
    spends = [ledger.spend() for ledger in ledgers]
    central = max((spend.central for spend in spends), key=lambda tier: tier.epsilon)
    reserved = max(spend.reserved.epsilon for spend in spends)
    local = max((spend.local for spend in spends), key=lambda tier: tier.epsilon)
    release = plan.release(GRADIENT) or plan.releases[0]
    sigma = release.noise_multiplier
    return Privacy(
        private=True,
        seeded=True,
        delta=plan.delta,
        central=_tier(
            central, reserved, central_multiplier(sigma, plan.n_min - plan.colluders, release.scale)
        ),
        local=_tier(local, local.epsilon, sigma),
        excludes=(*ALWAYS_EXCLUDED, *excludes),
    )


def spent_of(
    plan: Plan, ledgers: Mapping[str, Ledger], policies: Mapping[str, SitePolicy]
) -> dict[str, SiteSpent]:
    """Each site's own figures, by name.

    Args:
        policies: of the sites whose own is not the narrowest for ``plan``.
    """
    narrowest = SitePolicy.for_plan(plan)
    found = {}
    for name, ledger in ledgers.items():
        spend, policy = ledger.spend(), policies.get(name, narrowest)
        found[name] = SiteSpent(
            central=Spent(used=spend.central.epsilon, cap=policy.eps_c),
            local=Spent(used=spend.local.epsilon, cap=policy.eps_l),
        )
    return found


def no_privacy(excludes: Iterable[str]) -> Privacy:
    """What stands in the place of the figures under ``--no-privacy``."""
    nothing = TierPrivacy(
        epsilon=None, reserved_epsilon=None, noise_multiplier=None, tpr_at_1pct_fpr=None
    )
    return Privacy(
        private=False,
        seeded=True,
        delta=None,
        central=nothing,
        local=nothing,
        excludes=tuple(excludes),
    )


def _tier(tier: Tier, reserved: float, multiplier: float) -> TierPrivacy:
    return TierPrivacy(
        epsilon=tier.epsilon,
        reserved_epsilon=reserved,
        noise_multiplier=multiplier,
        tpr_at_1pct_fpr=tpr_bound(tier.epsilon, tier.delta),
    )
