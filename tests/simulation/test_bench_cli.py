"""What ``bench`` prints, writes and returns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from groundswell.simulation.bench_cli import report

FOUND: dict[str, Any] = {
    "name": "toy",
    "machine": "a machine",
    "ours": 2.0,
    "peer": 4.0,
    "unit": "s",
    "ratio": 2.0,
    "higher_is_better": False,
    "equal": True,
    "peer_name": "peer",
    "peer_version": "1",
    "cases": [
        {"variant": "one", "metrics": {"ndcg@10": {"mean": 0.5, "sd": 0.01, "n": 3}}},
        {"variant": "two", "metrics": {"ndcg@10": {"mean": 0.25, "sd": 0.02, "n": 3}}},
        {"size": 7, "epsilon": {"eps_c": 3.0, "eps_l": None}},
    ],
}


def test_the_table_shows_metrics_with_their_spread_and_nested_values_in_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report(FOUND, None)
    shown = capsys.readouterr().out
    assert "0.5000 ± 0.0100" in shown
    assert "eps_c 3" in shown


def test_the_file_holds_the_figures_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "toy.json"
    report(FOUND, str(path))
    assert json.loads(path.read_text()) == FOUND


def test_unequal_results_fail_after_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "toy.json"
    with pytest.raises(typer.Exit) as raised:
        report(FOUND | {"equal": False}, str(path))
    assert raised.value.exit_code == 1
    assert json.loads(path.read_text())["equal"] is False
