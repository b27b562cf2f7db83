"""Two merchants' files, each with a catalogue of its own, in one simulation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import groundswell
from groundswell.cli import main
from groundswell.shared.config_file import LoadedConfig, load_config
from groundswell.shared.errors import InputError
from groundswell.simulation.running import Options
from groundswell.simulation.together import simulate_together

START = datetime(2025, 1, 6, tzinfo=UTC)
GOODS = {"tea": ("green tea", "plum jam", "white bread"), "tools": ("hammer", "saw", "nails")}
USERS, WEEKS = 16, 10
CONFIG = """
[data]
events = "events.parquet"
columns = {{user = "user", time = "time", item = "sku"}}
generated = true

[catalogue]
file = "{name}.csv"
label = "kind"

[sites]
by = "region"

[privacy]
eps_c = 40.0
eps_l = 200.0

[train]
rounds = 1
evaluations = 0
"""


def merchant(folder: Path, name: str) -> Path:
    """A merchant's files: 16 users in two regions who buy something every week."""
    folder.mkdir()
    kinds = GOODS[name]
    pl.DataFrame({"sku": [f"{name}{i}" for i in range(3)], "kind": kinds}).write_csv(
        folder / f"{name}.csv"
    )
    rows = [
        {
            "user": f"u{user:02d}",
            "time": START + timedelta(days=7 * week + user % 7, hours=9),
            "sku": f"{name}{(user + week) % 3}",
            "region": ("north", "south")[user % 2],
        }
        for user in range(USERS)
        for week in range(WEEKS)
    ]
    pl.DataFrame(rows).write_parquet(folder / "events.parquet")
    (folder / "groundswell.toml").write_text(CONFIG.format(name=name))
    return folder / "groundswell.toml"


def ended(words: list[str]) -> object:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as found:
        main(words)
    return found.value.code


@dataclass(frozen=True)
class Merchants:
    """Their configuration files, and the same read."""

    files: Sequence[Path]

    @property
    def loaded(self) -> list[LoadedConfig]:
        return [load_config(file) for file in self.files]


@pytest.fixture(scope="module")
def merchants(tmp_path_factory: pytest.TempPathFactory) -> Merchants:
    folder = tmp_path_factory.mktemp("merchants")
    return Merchants([merchant(folder / name, name) for name in GOODS])


@pytest.fixture(scope="module")
def out(merchants: Merchants, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("runs") / "both"
    simulate_together(merchants.loaded, Options(folder))
    return folder


def test_each_catalogue_gets_results_report_and_a_model_that_loads(out: Path) -> None:
    for name, kinds in GOODS.items():
        left = out / "catalogues" / name
        model = groundswell.load_model(left / "model")
        assert set(model.checkpoint.catalogue.labels) == set(kinds)
        assert "<html" in (left / "report.html").read_text()
        rows = json.loads((left / "results.json").read_text())["rows"]
        assert {row["model"] for row in rows} >= {"federated_private", "backoff", "central"}


def test_the_whole_is_over_the_users_of_all_catalogues(out: Path) -> None:
    whole = json.loads((out / "results.json").read_text())
    assert whole["data"]["users"] == 2 * USERS
    assert whole["data"]["sites"] == 4
    parts = [json.loads((out / "catalogues" / name / "results.json").read_text()) for name in GOODS]

    def figures(results: dict[str, list[dict[str, object]]]) -> dict[str, float]:
        return {
            str(row["model"]): row["metrics"]["ndcg@10"]["mean"]  # type: ignore[index]
            for row in results["rows"]
            if row["slice"] == "all"
        }

    first, second, both = (figures(each) for each in (*parts, whole))
    for name, value in both.items():
        assert value == pytest.approx((first[name] + second[name]) / 2)
    assert all(part["privacy"] == whole["privacy"] for part in parts)


def test_sites_of_one_name_are_told_apart_and_each_has_a_ledger_that_verifies(out: Path) -> None:
    names = {path.parent.name for path in out.glob("sites/*/ledger.sqlite")}
    assert names == {"tea-north", "tea-south", "tools-north", "tools-south"}
    assert ended(["ledger", "verify", str(out)]) == 0


def test_a_merchant_without_a_catalogue_is_refused(merchants: Merchants, tmp_path: Path) -> None:
    text = merchants.files[1].read_text()
    begins, ends = text.index("[catalogue]"), text.index("[sites]")
    bare = merchants.files[1].with_name("bare.toml")
    bare.write_text(text[:begins] + text[ends:])
    loaded = [merchants.loaded[0], load_config(bare)]
    with pytest.raises(InputError, match="different goods need one each"):
        simulate_together(loaded, Options(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_what_there_is_not_for_several_catalogues_is_named(
    merchants: Merchants, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="--compare all"):
        simulate_together(merchants.loaded, Options(tmp_path / "out", everything=True))
    assert ended(["simulate", "--with", str(merchants.files[0])]) == 2
    assert "--config" in capsys.readouterr().err


def test_a_dry_run_prices_the_plan_of_all_merchants(
    merchants: Merchants, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (str(file) for file in merchants.files)
    assert ended(["simulate", "--config", first, "--with", second, "--dry-run"]) == 0
    assert "n_min 3" in capsys.readouterr().err
