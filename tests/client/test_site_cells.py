"""Cells of a site: a user counts once a window and label, and whole windows alone are told."""

from __future__ import annotations

import numpy as np
import pytest

from groundswell.client.site_cells import MAX_WINDOWS, cells
from groundswell.shared.histories import MICROSECONDS_PER_DAY, Histories
from groundswell.shared.task import Task

DAYS = np.array([1, 2, 6, 7, 7, 20, 30], dtype=np.int64)


@pytest.fixture
def histories() -> Histories:
    return Histories(
        ("a", "b"),
        np.array([0, 5, 7]),
        DAYS * MICROSECONDS_PER_DAY,
        np.array([0, 0, 1, 0, 0, 0, 0], dtype=np.int32),
        np.ones(7, dtype=np.float32),
        np.zeros(7, dtype=np.int16),
        np.zeros(7, dtype=np.int32),
        np.arange(7, dtype=np.int32),
    )


def test_a_user_counts_once_a_window_and_label(histories: Histories) -> None:
    found = cells(histories, 21 * MICROSECONDS_PER_DAY, 3, Task(), 2)
    # Day 20 lies in the third week, day 30 beyond the last one.
    assert found.counts().tolist() == [[1, 1, 1], [1, 0, 0]]
    assert found.due().shape == (2, 4)


def test_all_whole_windows_are_told_unless_said_otherwise(histories: Histories) -> None:
    """From day 1 to day 21 there are two whole weeks; the days before them are left out."""
    end = 21 * MICROSECONDS_PER_DAY
    assert cells(histories, end, None, Task(), 2).counts().tolist() == [[1, 1], [0, 0]]
    assert cells(histories, 2 * MICROSECONDS_PER_DAY, None, Task(), 2).windows == 1
    nothing = cells(histories, 0, None, Task(), 2)
    assert nothing.counts().tolist() == [[0], [0]]


def test_no_more_windows_than_the_newest_are_ever_told(histories: Histories) -> None:
    """However late the end is asked for, or however old a single event is."""
    end = (7 * MAX_WINDOWS + 14) * MICROSECONDS_PER_DAY
    found = cells(histories, end, None, Task(), 2)
    assert found.windows == MAX_WINDOWS
    # Days 20 and 30 lie in the newest windows, the others before them.
    assert found.counts().sum() == 2
    assert not cells(histories, 2**62, None, Task(), 2).counts().any()


def test_what_weighs_nothing_counts_by_its_own_action_alone(histories: Histories) -> None:
    looked = Histories(**{**histories.__dict__, "weight": np.zeros(7, dtype=np.float32)})
    end = 21 * MICROSECONDS_PER_DAY
    assert not cells(looked, end, 3, Task(), 2).counts().any()
    name = Task().action_names[0]
    assert cells(looked, end, 3, Task(), 2, name).counts().sum() == 4
