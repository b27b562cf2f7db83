"""Epsilon of known histories, against published vectors, exact values and Google's accountant."""

from __future__ import annotations

import math

import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.shared import accounting
from groundswell.shared.accounting import (
    central_multiplier,
    epsilon,
    gaussian_delta,
    gaussian_epsilon,
    merge,
    overflow_delta,
    prv_epsilon,
    rdp_epsilon,
    reported_epsilon,
    tpr_bound,
    warnings_for,
)
from groundswell.shared.errors import InputError
from groundswell.shared.releases import PoissonGaussian

History = list[tuple[float, float, int]]
# History, delta, PRV upper bound, PLD, RDP: design section 5.
VECTORS: dict[str, tuple[History, float, float, float, float]] = {
    "V1": ([(1, 0.01, 1000)], 1e-5, 1.8384, 1.8282, 2.1014),
    "V2": ([(1, 0.01, 500), (0.8, 0.02, 200), (2, 0.1, 50)], 1e-6, 4.4797, 4.4694, 5.1450),
    "V3": ([(10, 1, 50)], 1e-6, 3.3178, 3.3076, 3.5424),
    "V4": ([(1, 1, 1)], 1e-5, 4.3874, 4.3772, 4.7285),
    "V5": ([(3, 0.5, 60), (10, 1, 6), (20, 1, 52)], 1e-6, 7.3676, 7.3572, 7.8835),
    "V6": ([(0.6, 0.5, 60), (2, 1, 6)], 1e-6, 74.971, 74.958, 80.164),
}


def google(history: History, delta: float) -> float:
    """Google's PLD, pessimistic, both directions of add/remove."""
    accountant = PLDAccountant(value_discretization_interval=1e-3)
    for sigma, q, count in history:
        event = dp_event.PoissonSampledDpEvent(q, dp_event.GaussianDpEvent(sigma))
        accountant.compose(dp_event.SelfComposedDpEvent(event, count))
    return float(accountant.get_epsilon(delta))


@pytest.mark.parametrize("name", VECTORS)
def test_prv_upper_bound_matches_the_vector(name: str) -> None:
    history, delta, prv, _, _ = VECTORS[name]
    assert prv_epsilon(history, delta) == pytest.approx(prv, abs=6e-4)


@pytest.mark.parametrize("name", VECTORS)
def test_rdp_fallback_matches_the_vector(name: str) -> None:
    history, delta, prv, _, rdp = VECTORS[name]
    found = rdp_epsilon(history, delta)
    assert found == pytest.approx(rdp, abs=6e-4 if rdp > 10 else 6e-5)
    assert found > prv


@pytest.mark.parametrize("name", VECTORS)
def test_epsilon_is_the_vector_and_stays_just_above_google(name: str) -> None:
    history, delta, prv, pld, _ = VECTORS[name]
    found = epsilon(history, delta)
    if all(q == 1 for _, q, _ in history):
        assert found == pytest.approx(pld, abs=6e-5)
    else:
        assert found == pytest.approx(prv, abs=6e-4)
        assert 0 < found - google(history, delta) < 0.0145


@settings(max_examples=8, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.7, 12), st.sampled_from([0.05, 0.3, 0.5, 1.0]), st.integers(1, 60)),
        min_size=1,
        max_size=4,
    )
)
def test_any_history_lies_between_google_and_rdp(history: History) -> None:
    found = epsilon(history, 1e-6)
    assert google(history, 1e-6) - 2e-3 < found
    assert found <= rdp_epsilon(history, 1e-6) + 0.01


def test_exact_gaussian_solves_balle_and_wang() -> None:
    for mu in (0.05, 1.0, math.sqrt(50) / 10, 7.0, 40.0):
        found = gaussian_epsilon(mu, 1e-6)
        assert gaussian_delta(mu, found) <= 1e-6
        assert gaussian_delta(mu, found - 1e-6) > 1e-6
    assert gaussian_epsilon(1.0, 1e-5) == pytest.approx(4.3772, abs=5e-5)
    assert gaussian_epsilon(math.sqrt(50) / 10, 1e-6) == pytest.approx(3.3076, abs=5e-5)


def test_noise_so_large_that_delta_covers_it_costs_nothing() -> None:
    assert gaussian_epsilon(1e-8, 1e-6) == 0.0


@pytest.mark.parametrize("name", ["V2", "V3", "V5"])
def test_order_and_splitting_change_nothing_to_the_bit(name: str) -> None:
    history, delta, _, _, _ = VECTORS[name]
    whole = epsilon(history, delta)
    split = [(sigma, q, 1) for sigma, q, count in history for _ in range(count)]
    accounting.epsilon_of_merged.cache_clear()
    assert epsilon(reversed(history), delta) == whole
    accounting.epsilon_of_merged.cache_clear()
    assert epsilon(reversed(split), delta) == whole


def test_full_batch_gaussians_merge_exactly() -> None:
    """Fifty at sigma 10 are one at 10 / sqrt(50), with subsampled events beside them too."""
    one = 10 / math.sqrt(50)
    assert epsilon([(10, 1, 50)], 1e-6) == pytest.approx(epsilon([(one, 1, 1)], 1e-6), rel=1e-9)
    mixed = [(3.0, 0.5, 60)]
    assert epsilon([*mixed, (10, 1, 50)], 1e-6) == pytest.approx(
        epsilon([*mixed, (one, 1, 1)], 1e-6), rel=1e-6
    )


def test_merging_uses_decimal_strings_and_never_claims_more_privacy() -> None:
    third = 0.1 + 0.2
    merged = merge([(third, 0.5, 1), (0.3, 0.5, 2), (2.0, third, 1), (2, 1, 1)])
    assert merged == (("0.3", "0.5", 3), ("2", "0.300000000001", 1), ("2", "1", 1))
    ((sigma, _, _),) = merge([(1.23456789012999, 1.0, 1)])
    assert float(sigma) <= 1.23456789012999


def test_empty_history_zero_steps_and_zero_rate_cost_nothing() -> None:
    for history in ([], [(1.0, 0.5, 0)], [(1.0, 0.0, 5)], [(0.0, 1.0, 0)]):
        assert epsilon(history, 1e-6) == 0
        assert reported_epsilon(history, 1e-6) == 0


def test_no_noise_is_infinite() -> None:
    assert epsilon([(0.0, 0.5, 1), (5.0, 1.0, 3)], 1e-6) == math.inf
    assert reported_epsilon([(0.0, 1.0, 1)], 1e-6) == math.inf


def test_where_prv_fails_the_rdp_bound_stands_in() -> None:
    history = [(0.05, 0.5, 1), (0.02, 0.3, 1)]
    assert prv_epsilon(history, 1e-6) == math.inf
    assert epsilon(history, 1e-6) == rdp_epsilon(history, 1e-6)
    # One of the two alone, without sampling, is the least that a bound may say.
    assert gaussian_epsilon(1 / 0.02, 1e-6) * 0.9 < epsilon(history, 1e-6) < math.inf


def test_a_prv_result_that_is_no_number_counts_as_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    history = [(2.0, 0.5, 3)]
    accounting.epsilon_of_merged.cache_clear()
    monkeypatch.setattr(accounting, "prv_epsilon", lambda events, delta: math.nan)
    assert epsilon(history, 1e-6) == rdp_epsilon(history, 1e-6)
    accounting.epsilon_of_merged.cache_clear()


def test_a_large_epsilon_is_still_near_google() -> None:
    history = [(0.4, 0.1, 60)]
    found = epsilon(history, 1e-6)
    assert 0 < found - google(history, 1e-6) < 0.01 * max(1.0, found / 20)


def test_reported_epsilon_carries_the_sampler_once() -> None:
    history = [(3.0, 1.0, 4)]
    assert reported_epsilon(history, 1e-6) == pytest.approx(
        gaussian_epsilon(2 / 3, 1e-6 - 1e-12) + 0.002, abs=1e-9
    )
    assert reported_epsilon(history, 1e-6) - epsilon(history, 1e-6) < 0.0021


def test_events_may_be_objects_or_tuples() -> None:
    assert merge([PoissonGaussian(2.0, 0.5, 3)]) == merge([(2.0, 0.5, 3)])


@pytest.mark.parametrize(
    "event", [(-1.0, 0.5, 1), (math.nan, 0.5, 1), (1.0, 1.5, 1), (1.0, math.nan, 1), (1.0, 1.0, -1)]
)
def test_impossible_events_are_refused(event: tuple[float, float, int]) -> None:
    with pytest.raises(InputError):
        epsilon([event], 1e-6)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-6, math.nan])
def test_impossible_deltas_are_refused(delta: float) -> None:
    with pytest.raises(InputError):
        epsilon([(1.0, 1.0, 1)], delta)


def test_central_multiplier_adds_honest_noises_less_rounding() -> None:
    exact = math.sqrt(5 * (2.0 * 8192) ** 2 - 20 * 5) / 8192
    assert central_multiplier(2.0, 5, 8192) == pytest.approx(exact, rel=1e-14)
    assert central_multiplier(2.0, 5, 8192) < 2.0 * math.sqrt(5)
    lower = central_multiplier(2.0, 5)
    assert lower < central_multiplier(2.0, 5, 8192)
    assert lower == pytest.approx(2.0 * math.sqrt(5), rel=2e-7)


def test_one_honest_site_has_the_local_multiplier() -> None:
    assert central_multiplier(1.7, 1, 16384) == 1.7


def test_central_multiplier_refuses_no_honest_site_and_too_small_noise() -> None:
    with pytest.raises(InputError, match="honest"):
        central_multiplier(1.0, 0, 16384)
    with pytest.raises(InputError, match="rounding"):
        central_multiplier(1.0, 4, 1024)


def test_tpr_bound_takes_the_least_of_three() -> None:
    assert tpr_bound(0.0, 0.0) == pytest.approx(0.01)
    assert tpr_bound(3.0, 1e-6) == pytest.approx(0.01 * math.exp(3) + 1e-6)
    assert tpr_bound(7.5, 1e-6) == pytest.approx(1 - math.exp(-7.5) * (0.99 - 1e-6))
    assert tpr_bound(1e9, 1e-6) == 1.0
    assert tpr_bound(math.inf, 1e-6) == 1.0


@given(st.floats(0, 30), st.floats(1e-8, 1e-3))
def test_tpr_bound_holds_for_the_exact_gaussian(eps: float, delta: float) -> None:
    bound = tpr_bound(eps, delta)
    assert 0.01 <= bound <= 1
    assert tpr_bound(eps + 0.1, delta) >= bound


def test_warnings_name_a_weak_local_tier_and_equal_tiers() -> None:
    assert warnings_for(7.5, 5) == ()
    assert "rests on secure aggregation" in warnings_for(10.1, 5)[0]
    assert "equals the local" in warnings_for(3.0, 1)[0]
    assert len(warnings_for(11.0, 1)) == 2


def test_overflow_joins_delta_by_its_formula() -> None:
    assert overflow_delta(3.0, 100) == pytest.approx(100 * (1 + math.exp(3)) * 1e-20)
    assert overflow_delta(1000.0, 1) == 1.0
