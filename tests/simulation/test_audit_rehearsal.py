"""The audit through real vaults and rounds: silent on correct code, loud on broken code."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from groundswell.client import vault
from groundswell.client.mechanism import Randomness, clip_and_round, gaussian_noise
from groundswell.simulation.audit_cli import app
from groundswell.simulation.audit_rehearsal import Rehearsal, rehearse

KEYS = {"claimed_epsilon", "epsilon_lower_bound", "ceiling", "noise_ratio", "caught"}
SMALL = Rehearsal(sites=4, rounds=3, users=4)
# In twelve rounds at q = .5 next to every canary is sampled at least once, and can be told.
LONGER = replace(SMALL, rounds=12)
SEEDS = [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]

Rounded = NDArray[np.int64]
Mutant = Callable[[NDArray[np.float64], float, int, int, Sequence[bytes], str], Rounded]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_stays_below_the_claim_on_correct_code(seed: int) -> None:
    report = rehearse(Rehearsal(), seed)
    assert not report.caught
    # The claim is that of the closed ledgers: all sites survived, and no retry was used.
    assert 2.7 < report.claimed_epsilon < 3.0
    # The attack has power: it proves part of the claim, and no more than it.
    assert 0.2 < report.epsilon_lower_bound < report.claimed_epsilon < report.ceiling
    assert report.noise_ratio == pytest.approx(1, abs=0.01)
    assert report.coordinates > 100_000
    assert report.membership_auc is not None
    assert 0.3 < report.membership_auc < 0.8


def test_removed_noise_gives_a_bound_above_three() -> None:
    report = rehearse(LONGER, 0, broken="noise")
    assert report.caught
    assert report.epsilon_lower_bound > 3 > report.claimed_epsilon
    assert report.noise_ratio == 0


@pytest.mark.parametrize("share", [0.95, 0.25])
def test_the_self_test_catches_noise_below_its_claim(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def less(dimension: int, deviation: float, randomness: Randomness) -> Rounded:
        return gaussian_noise(dimension, share * deviation, randomness)

    monkeypatch.setattr(vault, "gaussian_noise", less)
    report = rehearse(SMALL, 4)
    assert report.caught
    assert report.noise_ratio == pytest.approx(share, abs=0.02)


def without_clipping(
    vectors: NDArray[np.float64],
    clip_norm: float,
    scale: int,
    max_nonzero: int,
    keys: Sequence[bytes],
    mode: str,
) -> Rounded:
    return np.rint(vectors * (scale / clip_norm)).astype(np.int64)


def clipped_to_eight_times_the_norm(
    vectors: NDArray[np.float64],
    clip_norm: float,
    scale: int,
    max_nonzero: int,
    keys: Sequence[bytes],
    mode: str,
) -> Rounded:
    return clip_and_round(vectors, clip_norm, 8 * scale, max_nonzero, keys, mode)


@pytest.mark.parametrize("mutant", [without_clipping, clipped_to_eight_times_the_norm])
def test_canaries_catch_a_sensitivity_above_its_claim(
    mutant: Mutant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groundswell.client.gradients.clip_and_round", mutant)
    report = rehearse(LONGER, 5)
    assert report.caught
    assert report.noise_ratio == pytest.approx(1, abs=0.02)
    assert report.epsilon_lower_bound > report.claimed_epsilon


def test_the_same_seed_gives_the_same_report() -> None:
    first = rehearse(SMALL, 6)
    assert not first.caught
    assert rehearse(SMALL, 6) == first


def test_command_exits_with_one_and_says_why_when_it_catches_something(tmp_path: Path) -> None:
    file = tmp_path / "audit.json"
    arguments = ["--rounds", "3", "--json", str(file)]
    good = CliRunner().invoke(app, arguments)
    assert good.exit_code == 0
    figures = json.loads(file.read_text())
    assert figures.keys() >= KEYS
    assert figures["caught"] is False
    assert "claimed eps " in good.output
    assert "; eps >= " in good.output
    assert " at 95 %; ceiling 4." in good.output
    assert "rehearsal: seeded, not a release" in good.output
    broken = CliRunner().invoke(app, [*arguments, "--break", "noise"])
    assert broken.exit_code == 1
    assert "CAUGHT: noise is 0.000" in broken.output
    assert json.loads(file.read_text())["caught"] is True


def test_command_prints_json_alone_on_standard_output() -> None:
    shown = CliRunner().invoke(app, ["--rounds", "3", "--json", "-"])
    assert json.loads(shown.stdout).keys() >= KEYS
