"""How benchmarks measure: turns, medians, peak memory."""

from __future__ import annotations

import numpy as np

from groundswell.simulation.benchmarks.machine import interleaved_times, machine, peak_bytes, spread


def test_the_sides_take_turns_after_a_first_call_each() -> None:
    calls: list[str] = []
    sides = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    seconds = interleaved_times(sides, 2)
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert [len(each) for each in seconds.values()] == [2, 2]


def test_peak_memory_counts_what_is_freed_again_within_the_call() -> None:
    used = peak_bytes(lambda: float(np.ones(20_000_000).sum()))
    assert used is None or 0.8 * 160e6 < used < 1.3 * 160e6


def test_a_call_that_needs_little_shows_little_after_one_that_needed_much() -> None:
    peak_bytes(lambda: float(np.ones(20_000_000).sum()))
    used = peak_bytes(lambda: None)
    assert used is None or used < 20e6


def test_spread_is_half_the_distance_of_the_quartiles_over_the_median() -> None:
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == (4.0 - 2.0) / (2 * 3.0)


def test_the_machine_is_named_in_one_line() -> None:
    assert "cores" in machine()
    assert "\n" not in machine()
