"""Small random histories, as fixtures for the tests of simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.histories import MICROSECONDS_PER_DAY, Histories, Int64
from groundswell.shared.task import EvaluationTimes, Task

START = 17_260  # Tuesday 4 April 2017, in days since 1970


@dataclass(frozen=True)
class Small:
    """A small data set; users shop on random days, each with a taste of its own."""

    histories: Histories
    catalogue: Catalogue
    task: Task
    times: EvaluationTimes


@pytest.fixture(scope="session")
def small() -> Small:
    return Small(histories(), catalogue(12), Task(), times())


def catalogue(labels: int) -> Catalogue:
    names = tuple(f"label {i:02d}" for i in range(labels))
    groups = tuple(f"group {i % 3}" for i in range(labels))
    return Catalogue("small", names, names, groups, np.ones(labels, np.float32), {})


def histories(
    users: int = 30, labels: int = 12, days: int = 140, seed: int = 0, trips: int = 40
) -> Histories:
    """Users who shop on random days, each with a taste of its own."""
    draw = np.random.default_rng(seed)
    taste = draw.dirichlet(np.full(labels, 0.4), size=users)
    time, label, basket, offsets = [], [], [], [0]
    for user in range(users):
        when = np.sort(draw.choice(days, size=draw.integers(trips // 2, trips), replace=False))
        for number, day in enumerate(when.tolist()):
            bought = draw.choice(labels, size=draw.integers(1, 4), p=taste[user])
            at = (START + day) * MICROSECONDS_PER_DAY + int(draw.integers(MICROSECONDS_PER_DAY))
            time += [at] * len(bought)
            label += bought.tolist()
            basket += [number] * len(bought)
        offsets.append(len(time))
    return from_events(offsets, time, label, basket)


def from_events(
    offsets: list[int], time: list[int], label: list[int], basket: list[int]
) -> Histories:
    events = len(time)
    return Histories(
        users=tuple(f"user {u:03d}" for u in range(len(offsets) - 1)),
        offsets=np.array(offsets, dtype=np.int64),
        time=np.array(time, dtype=np.int64),
        label=np.array(label, dtype=np.int32),
        weight=np.ones(events, dtype=np.float32),
        action=np.zeros(events, dtype=np.int16),
        token=np.array(label, dtype=np.int32),
        basket=np.array(basket, dtype=np.int32),
    )


def mondays(first_week: int, count: int) -> Int64:
    monday = START - 1 + 7 * first_week
    return (monday + 7 * np.arange(count, dtype=np.int64)) * MICROSECONDS_PER_DAY


def times() -> EvaluationTimes:
    """Twelve weeks to train on, two to choose by, three to test on."""
    return EvaluationTimes(mondays(2, 12), mondays(14, 2), mondays(16, 3))
