"""The secure-sum benchmark: both sides give the exact sum, or the figure is void."""

from __future__ import annotations

import pytest

from groundswell.shared.errors import InputError
from groundswell.simulation.benchmarks.secure_sum import one_site_case, run, whole_case


def test_both_sides_give_the_exact_sum_with_sites_dropped() -> None:
    figures = run(5, 50, 1, repeats=1)
    assert figures["equal"] is True
    assert figures["ours"] > 0
    assert figures["ratio"] == figures["peer"] / figures["ours"]
    keys = {"name", "machine", "ours", "peer", "unit", "ratio", "higher_is_better", "equal"}
    assert keys | {"peer_name", "peer_version", "cases"} <= set(figures)


def test_a_case_with_one_site_timed_agrees_with_the_whole_case() -> None:
    """Where both can be measured, the scaled figure is of the same size."""
    whole = whole_case(6, 400_000, 1, repeats=3, peer=False)
    scaled = one_site_case(6, 400_000, 1)
    assert whole["equal"] is True
    assert scaled["equal"] is None
    assert 0.2 < scaled["ours"] / whole["ours_first"] < 5


@pytest.mark.parametrize(
    ("sites", "dim", "drop"), [(3, 10, 0), (129, 10, 0), (8, 10, 4), (8, 0, 1)]
)
def test_a_case_that_can_not_be_run_is_refused(sites: int, dim: int, drop: int) -> None:
    with pytest.raises(InputError):
        run(sites, dim, drop)
