"""A short federation on the demo's real data, as a user runs it from the command line."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from groundswell.shared.predict import load_model
from groundswell.shared.results import Results

pytestmark = pytest.mark.end_to_end

ROUNDS = 2


def groundswell(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "groundswell", *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished simulation over four sites."""
    out = tmp_path_factory.mktemp("run")
    done = groundswell("simulate", "--sites", "4", "--rounds", str(ROUNDS), "--out", str(out))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "rehearsal: seeded, not a release" in done.stdout
    return out


def test_the_run_leaves_every_file_of_the_contract(run: Path) -> None:
    for name in (
        "results.json",
        "report.html",
        "config.toml",
        "heads.json",
        "model/adapter_config.json",
        "model/adapter_model.safetensors",
        "model/head.safetensors",
        "model/statistics.safetensors",
        "model/labels.parquet",
        "model/manifest.json",
        "model/README.md",
    ):
        assert (run / name).stat().st_size > 0, name
    assert len(list((run / "sites").glob("*/ledger.sqlite"))) == 4


def test_the_results_hold_the_quick_rows_on_all_slices(run: Path) -> None:
    results = Results.read(run / "results.json")
    models = {row.model for row in results.rows}
    assert models == {
        "popularity",
        "personal_frequency",
        "backoff",
        "central",
        "federated_private",
        "federated_private_no_bert",
    }
    for model in models:
        for name in ("all", "fluctuation", "little_history", "little_history_fluctuation"):
            row = results.row(model, name)
            assert row is not None
            metric = row.metrics["ndcg@10"]
            assert metric is not None
            assert 0.02 < metric.mean < 0.9
    assert [each.round for each in results.rounds] == list(range(1, ROUNDS + 1))
    assert results.privacy.private
    assert results.privacy.seeded
    assert results.privacy.central.epsilon is not None
    assert 0 < results.privacy.central.epsilon <= 3.0
    assert results.data.sites == 4


def test_the_honest_baseline_has_the_figures_of_the_protocol(run: Path) -> None:
    results = Results.read(run / "results.json")
    for name, expected in (("popularity", 0.3807), ("backoff", 0.4966)):
        row = results.row(name, "all")
        assert row is not None
        metric = row.metrics["ndcg@10"]
        assert metric is not None
        assert metric.mean == pytest.approx(expected, abs=0.002)
        assert metric.n == 10_749


def test_the_ledgers_verify_and_a_tampered_one_does_not(run: Path, tmp_path: Path) -> None:
    assert groundswell("ledger", "verify", str(run)).returncode == 0
    copy = tmp_path / "copy"
    shutil.copytree(run / "sites", copy / "sites")
    shutil.copy(run / "heads.json", copy)
    import sqlite3

    ledger = next((copy / "sites").glob("*/ledger.sqlite"))
    with sqlite3.connect(ledger) as database:
        database.execute("DELETE FROM events WHERE rowid = (SELECT max(rowid) FROM events)")
    assert groundswell("ledger", "verify", str(copy)).returncode == 1


def test_the_model_forecasts_known_and_new_users(run: Path) -> None:
    model = load_model(run / "model")
    label = json.loads((run / "model/manifest.json").read_text("utf-8"))
    assert label["statistics_as_of"]
    names = pl.read_parquet(run / "model/labels.parquet").to_series(0).to_list()
    events = [{"user": "u", "time": "2017-11-01T10:00:00Z", "label": names[3]}] * 3
    forecast = model.predict(events)
    assert forecast.columns == ["user", "label", "probability", "lift", "trend"]
    assert forecast["probability"].sum() == pytest.approx(1, abs=1e-4)
    assert forecast["label"][0] == names[3]


def test_no_path_of_this_machine_enters_the_model(run: Path) -> None:
    for path in (run / "model").iterdir():
        assert str(run).encode() not in path.read_bytes()
        assert str(Path.home()).encode() not in path.read_bytes()


def test_bad_input_is_one_line_with_exit_code_two(tmp_path: Path) -> None:
    config = tmp_path / "groundswell.toml"
    config.write_text("[privacy]\nepsilon_c = 3.0\n", encoding="utf-8")
    for arguments in (
        ("simulate", "--config", str(config), "--out", str(tmp_path / "out")),
        ("simulate", "--sites", "3", "--out", str(tmp_path / "out")),
        ("simulate", "--compare", "some", "--out", str(tmp_path / "out")),
    ):
        done = groundswell(*arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        told = [line for line in done.stderr.splitlines() if line.startswith("groundswell: ")]
        assert len(told) == 1, done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_results_and_model(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    arguments: Sequence[str] = ("simulate", "--sites", "4", "--rounds", str(ROUNDS))
    assert groundswell(*arguments, "--out", str(out)).returncode == 0
    first, second = (Results.read(each / "results.json") for each in (run, out))
    assert first.rows == second.rows
    assert first.paired == second.paired
    for name in ("adapter_model.safetensors", "head.safetensors", "statistics.safetensors"):
        assert (run / "model" / name).read_bytes() == (out / "model" / name).read_bytes()


@pytest.mark.slow
def test_an_interrupted_run_is_saved_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ["simulate", "--sites", "4", "--rounds", "6", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "groundswell", *command], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip().startswith("round"):
            break
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.stderr.read()
    assert process.wait(600) == 130
    done = groundswell(*command, "--resume")
    assert done.returncode == 0, done.stderr[-2000:]
    assert [each.round for each in Results.read(out / "results.json").rounds] == list(range(1, 7))
    assert groundswell("ledger", "verify", str(out)).returncode == 0
