"""What a forecast is measured against: the window's own events, per label, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from groundswell.shared.histories import MICROSECONDS_PER_DAY as DAY
from groundswell.shared.histories import Histories
from groundswell.shared.targets import label_weights, presence_targets, targets

Maker = Callable[..., Histories]
AT = np.array([10 * DAY])


def test_the_window_holds_its_start_and_not_its_end(make_histories: Maker) -> None:
    h = make_histories([[(9.99, 0), (10, 1), (16.99, 2), (17, 3)]])
    assert label_weights(h, AT, 7 * DAY, 4).tolist() == [[0, 1, 1, 0]]


def test_weights_add_up_and_rows_are_distributions(make_histories: Maker) -> None:
    h = make_histories([[(11, 1), (12, 1), (12, 2)], []])
    at = np.repeat(AT, 2)
    np.testing.assert_allclose(targets(h, at, 7 * DAY, 3), np.array([[0, 2, 1], [0, 0, 0]]) / 3)
    np.testing.assert_allclose(
        presence_targets(h, at, 7 * DAY, 3), np.array([[0, 1, 1], [0, 0, 0]]) / 2
    )


def test_an_event_without_weight_is_no_target(make_histories: Maker) -> None:
    h = make_histories([[(11, 1)]], weight=0.0)
    assert not targets(h, AT, 7 * DAY, 3).any()
