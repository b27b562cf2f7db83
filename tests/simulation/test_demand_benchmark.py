"""The demand benchmark's figures are those of the documentation."""

from __future__ import annotations

import pytest

from groundswell.simulation.benchmarks.demand import run


@pytest.mark.slow
def test_the_regression_beats_damped_holt_on_real_data() -> None:
    found = run()
    cases = {case["method"]: case for case in found["cases"]}
    holt = cases["damped Holt"]["wmape"]
    assert found["equal"]
    assert cases["last week"]["wmape"] == pytest.approx(0.330, abs=0.001)
    # Slightly worse than the documented figures, so that another machine's rounding passes.
    assert cases["own counts"]["wmape"] <= 0.983 * holt
    assert cases["own counts and plan"]["wmape"] <= 0.97 * holt
    assert cases["totals and plan"]["wmape"] <= 0.965 * holt
    assert cases["own counts"]["surge_p@10"] >= 0.30
    assert cases["own counts and plan"]["surge_p@10"] >= 0.36
    assert cases["totals"]["surge_p@10"] >= 0.35
    assert cases["totals and plan"]["surge_p@10"] >= 0.40
