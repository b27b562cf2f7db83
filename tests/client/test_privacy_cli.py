"""``privacy plan`` says what a run needs and costs, to people and to scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from groundswell.cli import main


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["privacy", "plan", *arguments])
    said = capsys.readouterr()
    return int(left.value.code or 0), said.out, said.err


def figures(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, _ = call(capsys, *arguments, "--json", "-")
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    return found


def test_the_demo_plan(capsys: pytest.CaptureFixture[str]) -> None:
    found = figures(capsys, "--eps-c", "3", "--eps-l", "8", "--sites", "8", "--rounds", "40")
    assert 2.999 < found["central"]["reserved_epsilon"] <= 3.0
    assert found["local"]["reserved_epsilon"] == pytest.approx(7.5, abs=0.03)
    assert found["central"]["epsilon"] < 2.5
    assert found["rounds_affordable"] == 40
    assert found["n_min"] == 6
    kinds = {entry["kind"]: entry for entry in found["kinds"]}
    assert kinds["gradient"]["retries"] == 4
    assert kinds["evaluation"]["price_of_one"]["central"] == pytest.approx(0.01, abs=0.005)
    assert found["statistics"]["central"] > kinds["gradient"]["price"]["central"]
    lengths = [each["noise_multiplier"] for each in found["other_rounds"]]
    assert lengths == sorted(lengths)


def test_delta_follows_the_users(capsys: pytest.CaptureFixture[str]) -> None:
    found = figures(capsys, "--users", "10000000", "--rounds", "4", "--statistics", "")
    assert found["delta"] == 1e-8


def test_a_head_brings_its_statistics_and_shares(capsys: pytest.CaptureFixture[str]) -> None:
    found = figures(capsys, "--head", "next", "--rounds", "4")
    assert [each["kind"] for each in found["kinds"]][:2] == ["popularity", "transitions"]
    code, _, err = call(capsys, "--head", "next", "--statistics", "h5")
    assert code == 2
    assert "is none of popularity, transitions, demand" in err
    code, _, err = call(capsys, "--head", "first")
    assert code == 2
    assert "--head" in err


def test_more_refreshes_cost_more_noise(capsys: pytest.CaptureFixture[str]) -> None:
    once = figures(capsys, "--rounds", "4", "--refreshes", "1")
    often = figures(capsys, "--rounds", "4", "--refreshes", "12")
    assert often["kinds"][0]["count"] == 13
    assert often["kinds"][0]["noise_multiplier"] > once["kinds"][0]["noise_multiplier"]


def test_two_sites_are_sized_for_the_local_tier_and_say_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = call(capsys, "--sites", "2", "--n-min", "2", "--rounds", "5")
    assert code == 0
    assert "the central tier equals the local one" in out


def test_two_sites_need_an_n_min_of_two(capsys: pytest.CaptureFixture[str]) -> None:
    """As in a simulation: see ``tests/simulation/test_setting.py``."""
    code, _, err = call(capsys, "--sites", "2", "--rounds", "5")
    assert code == 2
    assert "--n-min: 3: a secure sum needs so many survivors" in err
    assert "there are 2 sites; lower it, or give more sites; with 2 the central tier equals" in err


def test_a_large_local_epsilon_is_called_weak(capsys: pytest.CaptureFixture[str]) -> None:
    found = figures(capsys, "--sites", "64", "--rounds", "30")
    assert found["local"]["reserved_epsilon"] > 10
    assert "rests on secure aggregation" in found["warnings"][0]


def test_figures_go_to_a_file_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    code, out, _ = call(capsys, "--rounds", "5", "--json", str(path))
    assert code == 0
    assert "central epsilon" in out
    assert json.loads(path.read_text())["rounds"] == 5


@pytest.mark.parametrize(
    "arguments",
    [
        ("--eps-c", "0"),
        ("--eps-l", "-1"),
        ("--n-min", "9", "--sites", "8"),
        ("--sites", "129"),
        ("--delta", "1e-3", "--users", "5000"),
        ("--statistics", "popularity,moon"),
        ("--sampling-rate", "1.5"),
        ("--colluders", "6"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
