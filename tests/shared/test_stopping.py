"""Early stopping follows a clear fall and nothing else."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.shared.stopping import Look, fell, round_to_keep, should_stop

errors = st.floats(1e-6, 1.0)


@settings(deadline=None)
@given(st.floats(0, 1), errors, errors, st.floats(-2.99, 10))
def test_nothing_within_three_standard_errors_is_a_fall(
    value: float, first: float, second: float, change: float
) -> None:
    moved = value + change * math.hypot(first, second)
    assert not fell(Look(1, value, first), Look(2, moved, second))


@settings(deadline=None)
@given(st.floats(0, 1), errors, errors)
def test_a_fall_beyond_three_standard_errors_stops(
    value: float, first: float, second: float
) -> None:
    low = value - 3.01 * math.hypot(first, second)
    looks = [Look(10, value, first), Look(20, low, second)]
    assert should_stop(looks)
    assert round_to_keep(looks) == 10


def test_no_look_and_one_look_never_stop() -> None:
    assert not should_stop([])
    assert not should_stop([Look(1, 0.0, 0.1)])
    assert round_to_keep([]) is None


def test_the_latest_model_is_kept_while_looks_are_level() -> None:
    looks = [Look(10, 0.50, 0.014), Look(20, 0.49, 0.014), Look(30, 0.495, 0.014)]
    assert not should_stop(looks)
    assert round_to_keep(looks) == 30


def test_a_slow_decline_is_seen_against_the_best_look() -> None:
    looks = [Look(k, 0.5 - 0.02 * k, 0.01) for k in range(1, 5)]
    assert not fell(looks[2], looks[3])
    assert should_stop(looks)


def test_a_look_that_is_not_finite_never_stops() -> None:
    assert not should_stop([Look(1, 0.5, 0.01), Look(2, math.nan, 0.01)])
    assert not should_stop([Look(1, 0.5, 0.01), Look(2, 0.1, math.inf)])


def test_chance_alone_almost_never_stops_a_run() -> None:
    draw = np.random.default_rng(0)
    stops = sum(
        should_stop([Look(k, float(v), 0.014) for k, v in enumerate(0.5 + 0.014 * z)])
        for z in draw.standard_normal((2000, 2))
    )
    assert stops <= 10  # 1.3 in a thousand is expected
