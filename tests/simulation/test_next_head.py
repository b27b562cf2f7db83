"""A catalogue of items, each followed by another, simulated and asked with the head ``next``."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from safetensors.numpy import load_file

import groundswell
from groundswell.cli import main
from groundswell.shared.spec import NEXT, ModelSpec

START = datetime(2025, 1, 6, tzinfo=UTC)
ITEMS, USERS, WEEKS = 12, 48, 8
CONFIG = """
[data]
events = "events.parquet"
columns = {user = "user", time = "time", item = "sku"}
generated = true

[catalogue]
file = "items.csv"
label = "item"
text = ["title"]
group = "brand"

[sites]
by = "region"

[evaluation]
validation = 1

[model]
head = "next"

[privacy]
eps_c = 60.0
eps_l = 400.0

[train]
rounds = 4
evaluations = 0
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everybody takes one item a week, and always the one after the last."""
    folder = tmp_path_factory.mktemp("items")
    pl.DataFrame(
        {
            "sku": [f"s{n:02d}" for n in range(ITEMS)],
            "title": [f"thing number {n}" for n in range(ITEMS)],
            "brand": ["acme", "other"] * (ITEMS // 2),
        }
    ).write_csv(folder / "items.csv")
    rows = [
        {
            "user": f"u{user:02d}",
            "time": START + timedelta(days=7 * week + user % 7, hours=9),
            "sku": f"s{(user + week) % ITEMS:02d}",
            "region": f"region-{user % 4}",
        }
        for user in range(USERS)
        for week in range(WEEKS)
    ]
    pl.DataFrame(rows).write_parquet(folder / "events.parquet")
    (folder / "groundswell.toml").write_text(CONFIG)
    with pytest.raises(SystemExit) as ended:
        main(
            ["simulate", "--config", str(folder / "groundswell.toml"), "--out", str(folder / "out")]
        )
    assert ended.value.code == 0
    return folder / "out"


def test_the_model_keeps_transitions_and_says_which_head_it_has(run: Path) -> None:
    manifest = json.loads((run / "model" / "manifest.json").read_text())
    assert manifest["model"]["head"] == NEXT
    assert ModelSpec.from_dict(manifest["model"]).weighed.text_tilts
    statistics = load_file(run / "model" / "statistics.safetensors")
    assert (statistics["transitions"] > 0).sum() >= ITEMS
    assert "pairs" not in statistics


def test_what_follows_the_last_item_is_foreseen(run: Path) -> None:
    model = groundswell.load_model(run / "model")
    events = [
        {"user": "new", "time": START + timedelta(days=7 * week), "sku": f"s{week + 3:02d}"}
        for week in range(3)
    ]
    assert model.predict(events)["label"][0] == "s06"


def test_the_results_are_those_of_any_simulation(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    rows = {(row["model"], row["slice"]): row["metrics"] for row in results["rows"]}
    ours = rows["federated_private", "all"]["ndcg@10"]["mean"]
    assert ours > rows["popularity", "all"]["ndcg@10"]["mean"]
    assert results["privacy"]["central"]["epsilon"] <= 60
