"""results.json has the contract's keys, is written whole, and holds no NaN."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundswell.shared.errors import InputError
from groundswell.shared.results import (
    DataSize,
    Metric,
    Paired,
    Privacy,
    RegionResult,
    Results,
    Round,
    Row,
    SiteSpent,
    Spent,
    TierPrivacy,
    write_whole,
)


def tier(epsilon: float | None) -> TierPrivacy:
    return TierPrivacy(
        epsilon=epsilon,
        reserved_epsilon=epsilon,
        noise_multiplier=epsilon,
        tpr_at_1pct_fpr=epsilon,
    )


def results(epsilon: float | None = 3.0) -> Results:
    return Results(
        command="groundswell simulate",
        data=DataSize(events=5, users=2, sites=1, labels=3),
        privacy=Privacy(
            private=epsilon is not None,
            seeded=False,
            delta=None if epsilon is None else 1e-6,
            central=tier(epsilon),
            local=tier(epsilon),
            excludes=("tuning",),
        ),
        rows=(
            Row(
                model="backoff",
                slice="all",
                metrics={"ndcg@10": Metric(mean=0.5, sd=float("nan"), n=7), "ece": None},
            ),
        ),
        paired=(
            Paired(
                model="federated_private",
                against="backoff",
                slice="all",
                metric="ndcg@10",
                difference=0.001,
                se=0.0005,
            ),
        ),
        rounds=(
            Round.model_validate(
                {
                    "round": 1,
                    "loss": None,
                    "ndcg@10": None,
                    "central_epsilon": epsilon,
                    "local_epsilon": epsilon,
                    "bytes": 10,
                    "seconds": 0.5,
                }
            ),
        ),
        seconds=1.0,
        peak_rss_mib=100.0,
    )


def test_the_file_has_the_keys_of_the_contract(tmp_path: Path) -> None:
    results().write(tmp_path / "run" / "results.json")
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert list(found) == [
        "schema",
        "command",
        "data",
        "privacy",
        "rows",
        "paired",
        "rounds",
        "seconds",
        "peak_rss_mib",
    ]
    own = RegionResult(sites=3, privacy=results().privacy)
    regional = results().model_copy(update={"regions": {"north": own}})
    assert json.loads(regional.json_text())["regions"]["north"]["sites"] == 3
    spent = SiteSpent(central=Spent(used=1, cap=None), local=Spent(used=27.5, cap=40))
    private = json.loads(results().model_copy(update={"sites": {"north": spent}}).json_text())
    assert private["sites"]["north"]["local"] == {"used": 27.5, "cap": 40}
    assert found["schema"] == 1
    assert list(found["privacy"]) == ["private", "seeded", "delta", "central", "local", "excludes"]
    assert list(found["privacy"]["central"]) == [
        "epsilon",
        "reserved_epsilon",
        "noise_multiplier",
        "tpr_at_1pct_fpr",
    ]
    assert list(found["rounds"][0]) == [
        "round",
        "loss",
        "ndcg@10",
        "central_epsilon",
        "local_epsilon",
        "bytes",
        "seconds",
    ]
    assert found["rows"][0]["metrics"] == {
        "ndcg@10": {"mean": 0.5, "sd": None, "n": 7},
        "ece": None,
    }


def test_without_privacy_every_number_of_it_is_null() -> None:
    found = json.loads(results(None).json_text())
    privacy = found["privacy"]
    assert privacy["private"] is False
    assert privacy["delta"] is None
    assert set(privacy["central"].values()) == set(privacy["local"].values()) == {None}
    assert found["rounds"][0]["central_epsilon"] is None


def test_what_was_written_reads_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results().write(path)
    again = Results.read(path)
    assert again.json_text() == results().json_text()
    assert again.row("backoff", "all") is not None
    assert again.row("backoff", "fluctuation") is None
    assert again.difference("federated_private", "all", "ndcg@10", "backoff") is not None


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1}', '{"schema": 1, "other": 2}'])
def test_a_damaged_file_is_bad_input(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"results\.json"):
        Results.read(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    path.write_text("old")

    def fail(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
