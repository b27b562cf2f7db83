"""The noise of a run is the least that meets both caps with every retry reserved."""

from __future__ import annotations

import math
import time

import pytest

from groundswell.shared.accounting import central_multiplier, epsilon, reported_epsilon
from groundswell.shared.errors import InputError
from groundswell.shared.sizing import (
    DEFAULT_SHARES,
    KindBudget,
    Price,
    SizedPlan,
    check_n_min,
    default_budgets,
    default_delta,
    size_plan,
)

# q, T, sigma_C and (sites, sigma_L, eps_L) of the same run: design section 2.
TABLE = [
    (0.1, 100, 1.845, [(8, 0.697, 16.8), (16, 0.476, 39.5), (64, 0.232, 211.0)]),
    (0.5, 30, 4.440, [(8, 1.678, 10.0), (16, 1.147, 17.2), (64, 0.559, 54.1)]),
    (1.0, 30, 8.459, [(8, 3.197, 9.1), (16, 2.184, 14.5), (64, 1.066, 36.9)]),
]


def training_alone(q: float, rounds: int, sites: int, eps_l: float | None = None) -> SizedPlan:
    budget = KindBudget("gradient", q, rounds, share=1.0)
    return size_plan([budget], eps_c=3.0, eps_l=eps_l, delta=1e-6, n_min=sites, colluders=1)


@pytest.mark.parametrize(("q", "rounds", "sigma_c", "cases"), TABLE)
def test_the_sizing_table_of_the_design(
    q: float, rounds: int, sigma_c: float, cases: list[tuple[int, float, float]]
) -> None:
    for sites, sigma_l, eps_l in cases:
        plan = training_alone(q, rounds, sites)
        found = plan.kind("gradient").noise_multiplier
        assert found == pytest.approx(sigma_l, rel=2.3e-3)
        assert central_multiplier(found, sites - 1) == pytest.approx(sigma_c, rel=1.2e-3)
        assert plan.eps_l == pytest.approx(eps_l, rel=4e-3)


def demo(eps_c: float | None = 3.0, eps_l: float | None = None) -> SizedPlan:
    return size_plan(
        default_budgets(40, 0.5), eps_c=eps_c, eps_l=eps_l, delta=1e-6, n_min=6, colluders=1
    )


def test_the_demo_plan_reserves_three_and_seven_and_a_half() -> None:
    plan = demo()
    assert 2.9995 < plan.eps_c <= 3.0
    assert plan.eps_l == pytest.approx(7.5, abs=0.03)
    assert plan.kind("evaluation").noise_multiplier == pytest.approx(8.94, abs=0.06)
    assert plan.kind("gradient").retries == 4
    assert plan.expected(8, 1).eps_c == pytest.approx(2.467, abs=0.005)
    assert plan.warnings == ()


def test_reserved_epsilons_are_those_of_the_events_with_retries() -> None:
    plan = demo()
    for honest, found in ((5, plan.eps_c), (1, plan.eps_l)):
        events = [
            (central_multiplier(k.noise_multiplier, honest), k.sampling_rate, k.count + k.retries)
            for k in plan.kinds
        ]
        assert found == reported_epsilon(events, 1e-6)


def test_less_noise_would_break_the_cap() -> None:
    for plan, honest, cap in ((demo(), 5, 3.0), (demo(eps_l=6.0), 1, 6.0)):
        events = [
            (
                central_multiplier(k.noise_multiplier * 0.9999, honest),
                k.sampling_rate,
                k.count + k.retries,
            )
            for k in plan.kinds
        ]
        assert reported_epsilon(events, 1e-6) > cap


def test_both_caps_hold_and_the_tighter_one_binds() -> None:
    tight_local = demo(eps_l=6.0)
    assert tight_local.eps_l == pytest.approx(6.0, abs=1e-3)
    assert tight_local.eps_l <= 6.0
    assert tight_local.eps_c < 2.6
    loose_local = demo(eps_l=8.0)
    assert loose_local == demo()
    only_local = demo(eps_c=None, eps_l=6.0)
    assert only_local.noise_multipliers() == pytest.approx(
        tight_local.noise_multipliers(), rel=1e-4
    )


def test_shares_divide_the_budget_of_the_central_tier() -> None:
    plan = demo()
    part = {}
    for kind in plan.kinds:
        sigma = central_multiplier(kind.noise_multiplier, 5)
        attempts, q = kind.count + kind.retries, kind.sampling_rate
        part[kind.kind] = q * q * attempts * (1 / sigma**2 if q == 1 else math.expm1(sigma**-2))
    for name in ("h5", "pairs", "gradient"):
        expected = DEFAULT_SHARES[name] / DEFAULT_SHARES["popularity"]
        assert part[name] / part["popularity"] == pytest.approx(expected, rel=1e-4)


def test_a_share_means_the_same_epsilon_for_both_sorts_of_sampling() -> None:
    """Equal shares alone cost about the same, whether subsampled or not."""
    plan = size_plan(
        [KindBudget("a", 1.0, 2, share=1.0), KindBudget("b", 0.5, 44, share=1.0)],
        eps_c=3.0,
        eps_l=None,
        delta=1e-6,
        n_min=6,
        colluders=1,
    )
    alone = [
        epsilon([(central_multiplier(k.noise_multiplier, 5), k.sampling_rate, k.count)], 1e-6)
        for k in plan.kinds
    ]
    assert alone[0] == pytest.approx(alone[1], rel=0.03)


def test_a_fixed_noise_multiplier_is_kept_and_paid_for() -> None:
    budgets = [
        KindBudget("gradient", 0.5, 20, 2, share=1.0),
        KindBudget("evaluation", 1.0, 4, noise_multiplier=2.0),
    ]
    plan = size_plan(budgets, eps_c=3.0, eps_l=None, delta=1e-6, n_min=6, colluders=1)
    assert plan.kind("evaluation").noise_multiplier == 2.0
    assert plan.eps_c == pytest.approx(3.0, abs=1e-3)
    assert plan.price("evaluation").eps_c > plan.price("evaluation", 1).eps_c > 0.1


def test_a_cap_that_fixed_noise_breaks_alone_is_refused() -> None:
    budgets = [
        KindBudget("gradient", 0.5, 20, share=1.0),
        KindBudget("evaluation", 1.0, 9, noise_multiplier=0.5),
    ]
    with pytest.raises(InputError, match="no noise meets"):
        size_plan(budgets, eps_c=3.0, eps_l=None, delta=1e-6, n_min=6, colluders=1)


def test_with_one_honest_site_the_noise_is_sized_for_the_local_tier() -> None:
    plan = size_plan(
        default_budgets(40, 0.5), eps_c=3.0, eps_l=None, delta=1e-6, n_min=2, colluders=1
    )
    assert plan.eps_l == plan.eps_c <= 3.0
    assert "equals the local" in plan.warnings[0]


def test_prices_name_what_each_kind_adds() -> None:
    plan = demo()
    prices = {kind.kind: plan.price(kind.kind) for kind in plan.kinds}
    assert prices["h5"].eps_c > prices["pairs"].eps_c > prices["popularity"].eps_c > 0.05
    assert 0 < prices["evaluation"].eps_c < 0.05
    assert all(price.eps_l > price.eps_c for price in prices.values())
    together = plan.price_of_all({"popularity", "h5", "pairs"})
    assert together.eps_c > sum(prices[kind].eps_c for kind in ("popularity", "h5", "pairs"))
    assert plan.price_of_all(prices) == Price(plan.eps_c, plan.eps_l)


def test_rounds_affordable_at_the_found_noise_are_those_that_were_sized() -> None:
    plan = demo()
    assert plan.rounds_affordable(3.0, None) == 40
    assert plan.rounds_affordable(3.5, None) > 44
    assert plan.rounds_affordable(2.0, None) == 0


def test_sizing_takes_a_second_or_two() -> None:
    begun = time.process_time()
    demo(eps_c=2.71, eps_l=6.3)
    assert time.process_time() - begun < 4


def test_a_refresh_only_run_has_no_rounds() -> None:
    plan = size_plan(
        default_budgets(0, 0.5), eps_c=1.0, eps_l=None, delta=1e-6, n_min=6, colluders=1
    )
    assert "gradient" not in plan.noise_multipliers()
    assert plan.rounds_affordable(1.0, None) == 0


@pytest.mark.parametrize(
    ("eps_c", "eps_l"), [(None, None), (0.0, None), (3.0, -1.0), (math.nan, 1)]
)
def test_impossible_caps_are_refused(eps_c: float | None, eps_l: float | None) -> None:
    with pytest.raises(InputError):
        demo(eps_c, eps_l)


def test_more_survivors_than_sites_are_refused() -> None:
    check_n_min("--n-min", 3, 3)
    with pytest.raises(InputError, match=r"--n-min: 4: .* there are 3 sites; lower it"):
        check_n_min("--n-min", 4, 3)


def test_delta_follows_the_users() -> None:
    assert default_delta(None) == default_delta(2469) == 1e-6
    assert default_delta(1_000_000) == 1e-7
