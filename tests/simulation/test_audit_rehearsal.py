"""The audit on the real mechanism and accountant: silent on correct code, loud on broken code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from groundswell.client.mechanism import clip_and_round
from groundswell.simulation.audit_cli import app
from groundswell.simulation.audit_rehearsal import Rehearsal, rehearse

SEEDS = (0, 1, 2)
KEYS = {"claimed_epsilon", "epsilon_lower_bound", "ceiling", "noise_ratio", "caught"}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_stays_below_the_claim_on_correct_code(seed: int) -> None:
    report = rehearse(Rehearsal(), seed)
    assert not report.caught
    assert 2.9 < report.claimed_epsilon < 3.1
    # The attack has power: it proves part of the claim, and no more than it.
    assert 0.2 < report.epsilon_lower_bound < report.claimed_epsilon < report.ceiling
    assert report.noise_ratio == pytest.approx(1, abs=0.01)
    assert report.membership_auc is not None
    assert 0.5 < report.membership_auc < 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_removed_noise_gives_a_bound_above_three(seed: int) -> None:
    report = rehearse(Rehearsal(), seed, broken="noise")
    assert report.caught
    assert report.epsilon_lower_bound > 3
    assert report.noise_ratio == 0


@pytest.mark.parametrize("share", [0.95, 0.25])
def test_the_self_test_catches_noise_below_its_claim(share: float) -> None:
    report = rehearse(Rehearsal(rounds=5), 4, noise_share=share)
    assert report.caught
    assert report.noise_ratio == pytest.approx(share, abs=0.02)


def without_clipping(
    vectors: NDArray[np.float64],
    clip_norm: float,
    scale: int,
    max_nonzero: int,
    keys: list[bytes],
    mode: str,
) -> NDArray[np.int64]:
    return np.rint(vectors * (scale / clip_norm)).astype(np.int64)


def clipped_to_eight_times_the_norm(
    vectors: NDArray[np.float64],
    clip_norm: float,
    scale: int,
    max_nonzero: int,
    keys: list[bytes],
    mode: str,
) -> NDArray[np.int64]:
    return clip_and_round(vectors, clip_norm, 8 * scale, max_nonzero, keys, mode)


def test_canaries_catch_a_sensitivity_above_its_claim() -> None:
    for mutant in (without_clipping, clipped_to_eight_times_the_norm):
        report = rehearse(Rehearsal(), 5, mechanism=mutant)
        assert report.caught
        assert report.epsilon_lower_bound > report.claimed_epsilon


def test_the_same_seed_gives_the_same_report() -> None:
    short = Rehearsal(rounds=3)
    assert rehearse(short, 6) == rehearse(short, 6)
    assert rehearse(short, 6) != rehearse(short, 7)


def test_command_exits_with_one_and_says_why_when_it_catches_something(tmp_path: Path) -> None:
    file = tmp_path / "audit.json"
    arguments = ["--rounds", "5", "--json", str(file)]
    good = CliRunner().invoke(app, arguments)
    assert good.exit_code == 0
    figures = json.loads(file.read_text())
    assert figures.keys() >= KEYS
    assert figures["caught"] is False
    broken = CliRunner().invoke(app, [*arguments, "--break", "noise"])
    assert broken.exit_code == 1
    assert "CAUGHT: noise is 0.000" in broken.output
    assert json.loads(file.read_text())["caught"] is True


def test_command_prints_the_line_and_that_it_is_a_rehearsal() -> None:
    shown = CliRunner().invoke(app, ["--rounds", "5"]).output
    assert "claimed eps " in shown
    assert "; eps >= " in shown
    assert " at 95 %; ceiling 4." in shown
    assert "rehearsal: seeded, not a release" in shown
    figures = json.loads(CliRunner().invoke(app, ["--rounds", "5", "--json", "-"]).output)
    assert figures.keys() >= KEYS
