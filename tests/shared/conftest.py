"""Invented histories, for tests of what is computed from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from groundswell.shared.histories import MICROSECONDS_PER_DAY, Histories

Event = tuple[float, int]  # day, label
Maker = Callable[..., Histories]


def _histories(rows: Sequence[Sequence[Event]], weight: float = 1.0) -> Histories:
    """One row for each list of (day, label); events of one day form a basket."""
    rows = [sorted(row) for row in rows]
    flat = [event for row in rows for event in row]
    baskets: list[int] = []
    for row in rows:
        days = sorted({day for day, _ in row})
        baskets += [days.index(day) for day, _ in row]
    label = np.array([label for _, label in flat], dtype=np.int32)
    return Histories(
        users=tuple(f"user-{i}" for i in range(len(rows))),
        offsets=np.cumsum([0, *map(len, rows)]).astype(np.int64),
        time=np.array([round(day * MICROSECONDS_PER_DAY) for day, _ in flat], dtype=np.int64),
        label=label,
        weight=np.full(len(flat), weight, dtype=np.float32),
        action=np.zeros(len(flat), dtype=np.int16),
        token=label.copy(),
        basket=np.array(baskets, dtype=np.int32),
    )


@pytest.fixture(scope="session")
def make_histories() -> Maker:
    """Makes histories from lists of (day, label), one list a row."""
    return _histories
