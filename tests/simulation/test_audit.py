"""The audit's statistics, against published figures, brute force, and runs built by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.shared.errors import InputError
from groundswell.simulation.audit import (
    CANARIES,
    GUESSES,
    Auditor,
    AuditReport,
    Canaries,
    Claim,
    ceiling,
    correct_guesses,
    epsilon_lower_bound,
    membership_auc,
    p_value,
)

DIMENSION = 4000
DEVIATION = 1e5


@pytest.mark.parametrize(
    ("canaries", "guesses", "correct", "delta", "published"),
    [
        (1000, 100, 75, 1e-4, 0.673),  # arXiv 2305.08846, appendix D
        (100_000, 1510, 1439, 1e-5, 2.675),  # the same, section 7
    ],
)
def test_lower_bound_is_the_published_one(
    canaries: int, guesses: int, correct: int, delta: float, published: float
) -> None:
    found = epsilon_lower_bound(canaries, guesses, correct, delta)
    assert found == pytest.approx(published, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(epsilon=st.floats(0, 6), correct=st.integers(0, GUESSES))
def test_without_delta_the_p_value_is_the_binomial_tail(epsilon: float, correct: int) -> None:
    q = 1 / (1 + math.exp(-epsilon))
    tail = math.fsum(
        math.comb(GUESSES, k) * q**k * (1 - q) ** (GUESSES - k) for k in range(correct, GUESSES + 1)
    )
    assert p_value(CANARIES, GUESSES, correct, epsilon, 0.0) == pytest.approx(tail, rel=1e-6)


@given(correct=st.integers(1, GUESSES))
def test_bounds_rise_with_correct_guesses_and_fall_with_delta(correct: int) -> None:
    bound = epsilon_lower_bound(CANARIES, GUESSES, correct, 1e-6)
    assert epsilon_lower_bound(CANARIES, GUESSES, correct - 1, 1e-6) <= bound
    assert epsilon_lower_bound(CANARIES, GUESSES, correct, 1e-4) <= bound
    assert bound <= ceiling(1e-6)


def test_ceiling_is_that_of_perfect_guesses() -> None:
    without_delta = math.log(0.05 ** (1 / GUESSES) / (1 - 0.05 ** (1 / GUESSES)))
    assert ceiling(0.0) == pytest.approx(without_delta, abs=1e-6)
    assert 4.1 < ceiling(1e-6) < without_delta


def test_guesses_take_the_two_ends_and_abstain_between_them() -> None:
    scores = np.array([5.0, -3.0, 0.1, 0.0, 4.0, -2.0])
    included = np.array([True, False, False, True, False, True])
    assert correct_guesses(scores, included, 4) == 2
    assert correct_guesses(scores, included, 2) == 2
    for guesses in (3, 8, 0):
        with pytest.raises(InputError, match="guesses"):
            correct_guesses(scores, included, guesses)


def test_auc_is_the_share_of_pairs_told_apart() -> None:
    generator = np.random.default_rng(0)
    members = generator.integers(0, 9, 40).astype(np.float64)
    others = generator.integers(1, 12, 30).astype(np.float64)
    difference = others[:, None] - members[None, :]
    expected = np.mean((difference > 0) + 0.5 * (difference == 0))
    assert membership_auc(members, others) == pytest.approx(float(expected))
    assert membership_auc(members, members) == 0.5


def audited(
    *, share: float = 1.0, rounds: int = 10, repeat: bool = False, claimed: float = 1.0
) -> AuditReport:
    """Noise at ``share`` of its claim, and no canaries in it at all."""
    generator = np.random.default_rng(3)
    canaries = Canaries.draw(generator, DIMENSION)
    auditor = Auditor(canaries, Claim(claimed, 1e-6, 0.5, DEVIATION))
    zeros = np.zeros(DIMENSION, dtype=np.int64)
    known = generator.integers(-(10**6), 10**6, DIMENSION)
    noise = zeros
    for number in range(rounds):
        if number == 0 or not repeat:
            noise = np.rint(generator.normal(0, share * DEVIATION, DIMENSION)).astype(np.int64)
        auditor.observe(known + noise, known, zeros)
    return auditor.report()


def test_self_test_accepts_the_claimed_noise_and_catches_five_percent_less() -> None:
    assert not audited().caught
    for share in (0.95, 0.25, 1.05, 0.0):
        report = audited(share=share)
        assert report.caught
        assert report.noise_ratio == pytest.approx(share, abs=0.02)
    assert audited(share=0.95, rounds=3).caught


def test_self_test_catches_noise_that_repeats() -> None:
    report = audited(repeat=True)
    assert report.caught
    assert any("repeats" in reason for reason in report.reasons)


def test_a_run_without_canaries_in_it_yields_no_bound() -> None:
    assert audited().epsilon_lower_bound < 0.6


def test_a_claim_above_the_ceiling_is_called_not_testable() -> None:
    assert audited(claimed=1.0).testable
    report = audited(claimed=5.0)
    assert not report.testable
    assert report.line.startswith("claimed eps 5.00; eps >= ")
    assert "not testable" in report.line
    assert "ceiling 4.19" in report.line


def test_too_little_to_judge_is_refused() -> None:
    with pytest.raises(InputError, match="coordinates"):
        audited(rounds=2)
    with pytest.raises(InputError, match="dimension"):
        Canaries.draw(np.random.default_rng(0), DIMENSION - 1)
    canaries = Canaries.draw(np.random.default_rng(0), DIMENSION)
    with pytest.raises(InputError, match="sampling_rate"):
        Auditor(canaries, Claim(1.0, 1e-6, 0.1, DEVIATION))


def test_canaries_are_unit_nearly_orthogonal_and_included_by_fair_coins() -> None:
    canaries = Canaries.draw(np.random.default_rng(1), DIMENSION)
    gram = canaries.directions @ canaries.directions.T
    np.testing.assert_allclose(np.diag(gram), 1, atol=1e-5)
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 0.1
    assert 150 < canaries.included.sum() < 250
