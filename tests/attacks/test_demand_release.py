"""Who knows everybody else can't tell from released demand whether a user is in it.

The strongest test of two known means under one known Gaussian noise is by their distance in units
of that noise. Weighing windows before the clip and undoing it after must not lengthen it, whatever
the user did: what was clipped is weighed already, and undoing is post-processing.
"""

from __future__ import annotations

import numpy as np
import pytest

from groundswell.client.mechanism import clip_and_round, rounding_keys, scale
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.event_input import histories_of
from groundswell.shared.histories import MICROSECONDS_PER_DAY as DAY
from groundswell.shared.histories import Histories
from groundswell.shared.questions import Event, moment
from groundswell.shared.scaling import decode
from groundswell.shared.statistics import WeeklyDemand
from groundswell.shared.task import Task

KIND = WeeklyDemand(("search",))
TASK = Task(actions={"purchase": 1.0, "search": 0.1})
WINDOWS = np.arange(0, 7 * KIND.WINDOWS, 7, dtype=np.int64) * DAY
SIGMA = 2.0
USERS = {
    "once, in the newest window": [(25, "TEA", "purchase")],
    "once, in the oldest window": [(0, "TEA", "search")],
    "one label in every window": [(week, "TEA", "search") for week in range(26)],
    "one label in the newest windows": [(week, "TEA", "purchase") for week in range(18, 26)],
    "everything always": [
        (week, label, action)
        for week in range(26)
        for label in ("TEA", "COFFEE", "SOUP")
        for action in ("purchase", "search")
    ],
    "every other window": [(week, "SOUP", "search") for week in range(0, 26, 2)],
}


def summed(h: Histories, shop: Catalogue, size: int, delta: int) -> np.ndarray:
    """float64 ``[dim]``: the site's exact sum, as the coordinator reads it."""
    vectors = KIND.user_vectors(h, WINDOWS, TASK, shop, {})
    keys = rounding_keys(b"one attempt", h.users)
    rounded = clip_and_round(vectors, KIND.clip_norm, delta, size, keys)
    return decode(rounded.sum(axis=0), KIND.clip_norm, delta)


def windows(total: np.ndarray, shop: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    """What is released of a sum: float64 ``[blocks, W, L]``, and the covariance of its noise."""
    noise = SIGMA * KIND.clip_norm
    found = KIND.estimate(total, 100.0, noise, shop, {}, np.zeros((len(shop.labels), 4), "f4"))
    blocks = [found[name].astype(np.float64) for name in ("demand", "demand:search")]
    return np.stack(blocks), found["demand_noise"].astype(np.float64)


@pytest.mark.parametrize("did", USERS)
def test_no_user_moves_the_released_windows_further_than_the_plans_noise_allows(
    did: str, shop: Catalogue
) -> None:
    rows = [
        [
            Event.model_validate(
                {"time": moment(int(WINDOWS[week]) + DAY), "label": label, "action": action}
            )
            for week, label, action in USERS[name]
        ]
        for name in USERS
    ]
    h, _ = histories_of(rows, shop, TASK)
    size = KIND.dimension(len(shop.labels))
    delta = scale(SIGMA, size)
    target = list(USERS).index(did)
    others = h.take([row for row in range(len(h)) if row != target])
    (whole, told), (without, _) = (
        windows(summed(each, shop, size, delta), shop) for each in (h, others)
    )
    moved = whole - without
    assert np.abs(moved).max() > 0.01
    away = np.einsum("bwl,wv,bvl->", moved, np.linalg.inv(told), moved)
    assert away**0.5 <= 1.001 / SIGMA
