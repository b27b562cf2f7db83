"""Metrics: hand-made examples, a slow reference, and what must hold for every ranking."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundswell.shared import metrics

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
seeds = st.integers(0, 2**32 - 1)


def example(seed: int, rows: int = 6, labels: int = 15) -> tuple[Array, Bools, Bools]:
    """Scores with many ties, positives and candidates."""
    draw = np.random.default_rng(seed)
    scores = draw.integers(0, 5, size=(rows, labels)).astype(np.float64)
    return scores, draw.random((rows, labels)) < 0.3, draw.random((rows, labels)) < 0.8


def slow_rank(scores: Array, candidates: Bools, label: int) -> int:
    others = [other for other in np.flatnonzero(candidates) if other != label]
    return 1 + sum(bool(scores[other] >= scores[label]) for other in others)


@settings(deadline=None)
@given(seeds)
def test_every_metric_agrees_with_the_slow_reference(seed: int) -> None:
    scores, positives, candidates = example(seed)
    found = metrics.ranking_metrics(metrics.hits(scores, positives, candidates), k=4)
    for b in range(len(scores)):
        labels = np.flatnonzero(positives[b] & candidates[b])
        ranks = [slow_rank(scores[b], candidates[b], int(label)) for label in labels]
        if not ranks:
            assert all(math.isnan(values[b]) for values in found.values())
            continue
        gained = sum(1 / math.log2(1 + rank) for rank in ranks if rank <= 4)
        ideal = sum(1 / math.log2(1 + i) for i in range(1, min(4, len(ranks)) + 1))
        assert found["ndcg@4"][b] == pytest.approx(gained / ideal)
        assert found["recall@4"][b] == pytest.approx(sum(r <= 4 for r in ranks) / len(ranks))
        assert found["mrr"][b] == pytest.approx(1 / min(ranks))
        assert found["top1"][b] == float(min(ranks) == 1)


def test_a_perfect_ranking_of_few_and_of_many_positives_has_ndcg_1() -> None:
    scores = -np.arange(30.0)[None].repeat(2, axis=0)
    positives = np.zeros((2, 30), dtype=bool)
    positives[0, :3] = True
    positives[1, :20] = True
    found = metrics.hits(scores, positives)
    assert metrics.ndcg(found) == pytest.approx([1, 1])
    assert metrics.recall(found) == pytest.approx([1, 0.5])


@pytest.mark.parametrize("value", [0.0, -np.inf, np.nan])
def test_a_constant_score_earns_nothing(value: float) -> None:
    scores = np.full((1, 20), value)
    positives = np.zeros((1, 20), dtype=bool)
    positives[0, :9] = True
    found = metrics.ranking_metrics(metrics.hits(scores, positives))
    assert found["ndcg@10"] == [0]
    assert found["recall@10"] == [0]
    assert found["top1"] == [0]
    assert found["mrr"] == pytest.approx([1 / 20])


@settings(deadline=None)
@given(seeds)
def test_breaking_a_tie_never_lowers_a_metric(seed: int) -> None:
    scores, positives, candidates = example(seed)
    untied = scores + np.random.default_rng(seed).random(scores.shape) * 0.5
    before = metrics.ranking_metrics(metrics.hits(scores, positives, candidates))
    after = metrics.ranking_metrics(metrics.hits(untied, positives, candidates))
    for name in before:
        assert np.all((after[name] >= before[name]) | np.isnan(before[name]))


@settings(deadline=None)
@given(seeds)
def test_only_the_order_of_the_candidates_matters(seed: int) -> None:
    scores, positives, candidates = example(seed)
    moved = np.where(candidates, np.exp(scores), 1e9)
    order = np.random.default_rng(seed).permutation(scores.shape[1])
    expected = metrics.ranking_metrics(metrics.hits(scores, positives, candidates))
    found = metrics.ranking_metrics(
        metrics.hits(moved[:, order], positives[:, order], candidates[:, order])
    )
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


@settings(deadline=None)
@given(seeds)
def test_metrics_lie_between_0_and_1_and_k_only_adds_hits(seed: int) -> None:
    scores, positives, candidates = example(seed)
    found = metrics.hits(scores, positives, candidates)
    counted = found.count > 0
    for k in (1, 3, 10):
        for name, values in metrics.ranking_metrics(found, k).items():
            assert np.all((values[counted] >= 0) & (values[counted] <= 1 + 1e-12)), name
        more = metrics.recall(found, k + 1)[counted] >= metrics.recall(found, k)[counted]
        assert more.all()
    assert np.all(metrics.hit_rate(found, 1)[counted] <= metrics.hit_rate(found, 10)[counted])


def test_ranks_do_not_depend_on_how_many_pairs_are_compared_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores, positives, candidates = example(3)
    whole = metrics.hits(scores, positives, candidates)
    monkeypatch.setattr(metrics, "_PAIRS_AT_ONCE", 1)
    np.testing.assert_array_equal(metrics.hits(scores, positives, candidates).rank, whole.rank)


def test_log_loss_is_least_for_the_target_itself_and_finite_for_a_wrong_certainty() -> None:
    target = np.array([[0.5, 0.25, 0.25, 0.0]])
    entropy = -(0.5 * math.log(0.5) + 0.5 * math.log(0.25))
    assert metrics.log_loss(target, 3 * target) == pytest.approx([entropy])
    assert metrics.log_loss(np.full((1, 4), 0.25), target) == pytest.approx([math.log(4)])
    assert np.isfinite(metrics.log_loss(np.array([[0.0, 0.0, 0.0, 1.0]]), target)).all()


def test_log_loss_over_candidates_renormalises_both_sides() -> None:
    target = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    candidates = np.array([[False, True, True], [False, True, True]])
    found = metrics.log_loss(np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]]), target, candidates)
    assert found[0] == pytest.approx(math.log(2))
    assert math.isnan(found[1])


@settings(deadline=None)
@given(seeds)
def test_softmax_sums_to_1_and_keeps_the_order(seed: int) -> None:
    scores, _, _ = example(seed)
    scores[0, 0] = -np.inf
    found = metrics.softmax(scores * 300)
    assert found.sum(axis=1) == pytest.approx(np.ones(len(scores)))
    assert found[0, 0] == 0
    assert np.all(np.diff(np.take_along_axis(found, scores.argsort(axis=1), axis=1)) >= 0)


def test_calibration_error_by_hand() -> None:
    # Pairs: .9 against 1 (top bin), .1 against 0 (second bin): both are .1 off.
    found = metrics.calibration(np.array([[0.9, 0.1]]), np.array([[1.0, 0.0]]), np.zeros(1, int), 1)
    assert found.pairs[0, 13] == 1
    assert found.pairs[0, 1] == 1
    assert found.error == pytest.approx([0.1])


@settings(deadline=None)
@given(seeds)
def test_calibration_of_parts_adds_up_and_the_target_is_calibrated(seed: int) -> None:
    draw = np.random.default_rng(seed)
    p, y = draw.dirichlet(np.ones(8), size=6), draw.dirichlet(np.ones(8), size=6)
    candidates = draw.random((6, 8)) < 0.7
    user = np.array([0, 0, 1, 1, 2, 2])
    whole = metrics.calibration(p, y, user, 3, candidates)
    parts = metrics.calibration(p[:2], y[:2], user[:2], 3, candidates[:2]) + metrics.calibration(
        p[2:], y[2:], user[2:], 3, candidates[2:]
    )
    np.testing.assert_allclose(whole.predicted, parts.predicted)
    np.testing.assert_allclose(whole.error, parts.error)
    assert metrics.calibration(y, y, user, 3, candidates).error == pytest.approx([0, 0, 0])


@settings(deadline=None)
@given(seeds)
def test_one_row_a_user_gives_the_plain_standard_error(seed: int) -> None:
    values = np.random.default_rng(seed).random(40)
    found = metrics.cluster_mean(values, np.ones(40))
    assert found.mean == pytest.approx(values.mean())
    assert found.se == pytest.approx(values.std(ddof=1) / 40**0.5)


def test_cluster_error_is_what_a_bootstrap_over_users_gives() -> None:
    draw = np.random.default_rng(1)
    counts = draw.integers(1, 8, size=400).astype(np.float64)
    sums = counts * draw.random(400)
    weights = draw.multinomial(400, np.full(400, 1 / 400), size=4000)
    means = (weights @ sums) / (weights @ counts)
    assert metrics.cluster_mean(sums, counts).se == pytest.approx(means.std(), rel=0.05)


def test_repeating_a_users_rows_does_not_make_the_error_smaller() -> None:
    values = np.random.default_rng(0).random(50)
    once = metrics.cluster_mean(values, np.ones(50))
    many = metrics.cluster_mean(values * 8, np.full(50, 8.0))
    assert many.se == pytest.approx(once.se)
    assert many.n == 400


def test_a_model_differs_from_itself_by_nothing() -> None:
    sums = np.random.default_rng(0).random(9)
    found = metrics.paired_difference(sums, sums, np.ones(9))
    assert (found.mean, found.se, found.n) == (0, 0, 9)


def test_no_rows_and_one_user_have_no_error() -> None:
    assert metrics.cluster_mean(np.zeros(3), np.zeros(3)).n == 0
    one = metrics.cluster_mean(np.array([2.0, 0.0]), np.array([4.0, 0.0]))
    assert one.mean == 0.5
    assert math.isnan(one.se)
