"""Who is due: rhythms are found, nothing is seen early, and sums stay near what comes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundswell.shared.demand_due import due

WINDOWS = 40


def due_of(met: NDArray[np.bool_]) -> NDArray[np.float64]:
    """From bool ``[users, labels, windows]``."""
    user, label, window = np.nonzero(met)
    return due(user, label, window, *met.shape[1:])


def test_those_whose_time_has_come_are_expected_and_those_who_just_bought_are_not() -> None:
    """All buy every fourth week: label 0 in the same week, so it is due in that week alone."""
    met = np.zeros((200, 2, WINDOWS), dtype=np.bool_)
    met[:, 0, ::4] = True
    for user in range(200):
        met[user, 1, user % 4 :: 4] = True
    found = due_of(met)
    came, quiet = found[0, 24:WINDOWS:4], found[0, 25:WINDOWS:4]
    assert came.min() > 150
    assert quiet.max() < 20
    assert found[0, WINDOWS] > 150
    assert found[1, 24:] == pytest.approx(50, abs=10)


def test_the_sum_is_near_what_comes_where_everybody_buys_at_random() -> None:
    """Those who buy often came first into each class, so that somewhat too many are expected."""
    draw = np.random.default_rng(0)
    rate = draw.beta(1, 6, size=(400, 3, 1))
    met = draw.random((400, 3, WINDOWS)) < rate
    found = due_of(met)
    came = met.sum(axis=0)
    assert found[:, 20:WINDOWS].mean(axis=1) == pytest.approx(came[:, 20:].mean(axis=1), rel=0.2)


def test_users_new_to_a_label_are_expected_as_lately() -> None:
    """Nobody comes twice: five new users in every window."""
    user = np.arange(5 * WINDOWS)
    found = due(user, np.zeros_like(user), user // 5, 1, WINDOWS)
    assert found[0, 0] == 0
    assert found[0, 20:] == pytest.approx(5, abs=1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, WINDOWS - 1))
def test_nothing_of_a_window_or_later_is_seen(seed: int, cut: int) -> None:
    met = np.random.default_rng(0).random((20, 3, WINDOWS)) < 0.2
    changed = met.copy()
    changed[:, :, cut:] = np.random.default_rng(seed).random((20, 3, WINDOWS - cut)) < 0.5
    expected, found = (due_of(each) for each in (met, changed))
    np.testing.assert_array_equal(found[:, : cut + 1], expected[:, : cut + 1])


def test_a_site_without_events_expects_nobody() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert due(none, none, none, 2, 5).tolist() == [[0.0] * 6] * 2
