"""The evaluation set: which rows and candidates count, and that no scorer sees the future."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pytest

from groundswell.shared.histories import MICROSECONDS_PER_DAY, Histories, Int64
from groundswell.shared.metrics import hits, ndcg
from groundswell.shared.targets import label_weights
from groundswell.shared.task import EvaluationTimes, Task
from groundswell.simulation import evaluate as evaluation
from groundswell.simulation.evaluate import (
    SLICES,
    UNSEEN_LABELS,
    EvaluationSet,
    Forecast,
    bought_since,
    evaluate,
    unseen_labels,
)

LABELS = 12


class Small(Protocol):
    """What these tests need of the fixture."""

    @property
    def histories(self) -> Histories: ...

    @property
    def task(self) -> Task: ...

    @property
    def times(self) -> EvaluationTimes: ...


@pytest.fixture
def data(small: Small) -> EvaluationSet:
    return EvaluationSet.build(small.histories, small.times.test, small.task, LABELS)


def frequency(h: Histories, at: Int64) -> Forecast:
    counts = np.bincount(h.row() * LABELS + h.label, minlength=len(h) * LABELS)
    scores = counts.reshape(len(h), LABELS) + np.arange(LABELS) / 100
    return Forecast(scores, scores / scores.sum(axis=1, keepdims=True))


def test_a_row_has_a_counted_event_before_its_time_and_one_in_the_window(
    small: Small, data: EvaluationSet
) -> None:
    found = set(zip(data.row.tolist(), data.at.tolist(), strict=True))
    h = small.histories
    for at in small.times.test.tolist():
        for user in range(len(h)):
            time = h.time[h.offsets[user] : h.offsets[user + 1]]
            window = (time >= at) & (time < at + small.task.window_us)
            assert ((user, at) in found) == bool((time < at).any() and window.any())


def test_a_scorer_is_handed_nothing_of_the_time_after(data: EvaluationSet) -> None:
    seen = 0

    def spy(h: Histories, at: Int64) -> Forecast:
        nonlocal seen
        assert np.all(h.time < at[h.row()])
        seen += len(h)
        return frequency(h, at)

    evaluate(spy, data)
    assert seen == 2 * len(data)  # once with the whole history, once with little of it


def test_little_history_hands_over_the_last_five_baskets(data: EvaluationSet) -> None:
    def spy(h: Histories, at: Int64) -> Forecast:
        for row in range(len(h)):
            assert len(np.unique(h.basket[h.offsets[row] : h.offsets[row + 1]])) <= 5
        return frequency(h, at)

    found = evaluate(spy, data, ("little_history", "little_history_fluctuation"))
    assert set(found.slices) == {"little_history", "little_history_fluctuation"}


def test_the_mean_over_all_rows_is_the_metric_of_each_row(
    small: Small, data: EvaluationSet
) -> None:
    h = small.histories.take(data.row)
    scores = frequency(h.before(data.at), data.at).scores
    positives = label_weights(h, data.at, small.task.window_us, LABELS) > 0
    expected = ndcg(hits(scores, positives))
    found = evaluate(frequency, data).slices["all"]
    assert found.mean("ndcg@10") == pytest.approx(expected.mean())
    assert found.rows.sum() == len(data)
    for user in range(len(small.histories)):
        assert found.sums["ndcg@10"][user] == pytest.approx(expected[data.row == user].sum())


def test_fluctuation_ranks_only_what_was_not_bought_in_28_days(
    small: Small, data: EvaluationSet
) -> None:
    def oracle_of_repeats(h: Histories, at: Int64) -> Forecast:
        recent = bought_since(h, at - 28 * MICROSECONDS_PER_DAY, LABELS)
        return Forecast(recent.astype(np.float64) * 1000 + frequency(h, at).scores)

    plain = evaluate(frequency, data, ("fluctuation",)).slices["fluctuation"]
    raised = evaluate(oracle_of_repeats, data, ("fluctuation",)).slices["fluctuation"]
    assert 0 < plain.rows.sum() < len(data)
    np.testing.assert_allclose(raised.sums["ndcg@10"], plain.sums["ndcg@10"])


def test_unseen_labels_rank_held_out_labels_that_the_user_never_bought(
    small: Small, data: EvaluationSet
) -> None:
    def constant_elsewhere(h: Histories, at: Int64) -> Forecast:
        scores = np.full((len(h), LABELS), 9.0)
        scores[:, data.held_out] = frequency(h, at).scores[:, data.held_out]
        return Forecast(scores)

    found = evaluate(constant_elsewhere, data, (UNSEEN_LABELS,)).slices[UNSEEN_LABELS]
    assert list(found.sums) == ["recall@5"]
    # Two labels are held out of twelve, and two of two rank within five.
    assert data.held_out.tolist() == [0, 7]
    assert found.mean("recall@5") == 1


def test_held_out_labels_are_every_seventh_at_most_forty() -> None:
    assert unseen_labels(302).tolist() == [7 * i for i in range(40)]
    assert unseen_labels(20).tolist() == [0, 7, 14]


def test_chunks_change_nothing(data: EvaluationSet, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate(frequency, data)
    monkeypatch.setattr(evaluation, "_CELLS_AT_ONCE", 7 * LABELS)
    pieces = evaluate(frequency, data)
    for name in SLICES:
        for metric, sums in whole.slices[name].sums.items():
            np.testing.assert_allclose(pieces.slices[name].sums[metric], sums)
        a, b = whole.slices[name].calibration, pieces.slices[name].calibration
        assert a is not None
        assert b is not None
        np.testing.assert_allclose(a.predicted, b.predicted)


def test_a_model_without_probabilities_has_no_loss(data: EvaluationSet) -> None:
    found = evaluate(lambda h, at: Forecast(frequency(h, at).scores), data)
    assert "log_loss" not in found.slices["all"].sums
    assert found.slices["all"].calibration is None


def test_no_time_to_measure_on_gives_no_rows(small: Small) -> None:
    data = EvaluationSet.build(small.histories, np.zeros(0, np.int64), small.task, LABELS)
    assert len(data) == 0
    assert evaluate(frequency, data).slices["all"].rows.sum() == 0
