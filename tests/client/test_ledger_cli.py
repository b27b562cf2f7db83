"""The ledger commands on a run's folder: what is sound, what is named, and with which exit code."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from groundswell.cli import main
from groundswell.client.attempt import Admission, Unmasking
from groundswell.client.ledger import Ledger
from groundswell.client.policy import SitePolicy
from groundswell.shared.identity import SigningKey
from groundswell.shared.plan import Plan

NAMES = ("site-1", "site-2", "site-3")


@pytest.fixture
def run(
    tmp_path: Path,
    plan: Plan,
    policy: SitePolicy,
    admit: Callable[..., Admission],
    unmask: Callable[..., Unmasking],
) -> Path:
    """A run with three ledgers and the heads that their peers last saw."""
    folder = tmp_path / "demo"
    heads = {}
    for name in NAMES:
        site = folder / "sites" / name
        site.mkdir(parents=True)
        key = SigningKey.generate()
        key.write(site / "site.key")
        ledger = Ledger.create(site / "ledger.sqlite", key, name, policy)
        for seq, kind in enumerate(("popularity", "gradient", "gradient"), 1):
            release = plan.release(kind)
            assert release is not None
            ledger.reserve(plan, release, admit(seq, kind))
            ledger.sent(seq)
            ledger.closed(unmask(seq))
        ledger.reserve(plan, plan.releases[1], admit(4))
        head = ledger.head()
        heads[name] = [head.row, head.hash.hex()]
        ledger.close()
    (folder / "heads.json").write_text(json.dumps(heads), encoding="utf-8")
    return folder


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line; gives exit code, standard output and standard error."""

    def run_command(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return run_command


Call = Callable[..., tuple[int, str, str]]


def edit(run: Path, name: str, statement: str) -> None:
    connection = sqlite3.connect(run / "sites" / name / "ledger.sqlite")
    connection.execute(statement)
    connection.commit()
    connection.close()


def verified(call: Call, *arguments: object) -> tuple[int, dict[str, Any]]:
    code, out, _ = call("ledger", "verify", *arguments, "--json", "-")
    figures: dict[str, Any] = json.loads(out)
    return code, figures


def test_a_sound_run_verifies(run: Path, call: Call) -> None:
    code, out, _ = call("ledger", "verify", run)
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == list(NAMES)
    assert "sound, 12 rows" in out
    assert "not checkable" not in out


def test_a_file_without_heads_says_that_its_tail_is_not_checkable(run: Path, call: Call) -> None:
    file = run / "sites" / "site-1" / "ledger.sqlite"
    code, out, _ = call("ledger", "verify", file)
    assert code == 0
    assert "tail not checkable" in out
    code, out, _ = call("ledger", "verify", file, "--heads", run / "heads.json")
    assert code == 0
    assert "tail not checkable" not in out


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE events SET body = replace(body, '0.5', '0.6') WHERE rowid = 6", "row 6"),
        ("DELETE FROM events WHERE rowid = 7", "row 7 before it are missing"),
        ("DELETE FROM events WHERE rowid > 9", "truncated or restored"),
        ("DELETE FROM events", "no rows"),
        ("DROP TABLE events", "not a sound ledger"),
    ],
)
def test_what_is_wrong_is_named_with_its_site(
    statement: str, said: str, run: Path, call: Call
) -> None:
    edit(run, "site-2", statement)
    code, figures = verified(call, run)
    assert code == 1
    assert not figures["ok"]
    wrong = {each["site"]: each["problems"] for each in figures["ledgers"] if each["problems"]}
    assert list(wrong) == ["site-2"]
    assert any(said in problem for problem in wrong["site-2"])
    code, out, _ = call("ledger", "verify", run)
    assert code == 1
    assert "site-1: sound" in out


def test_a_missing_and_an_exchanged_ledger_are_found(run: Path, call: Call) -> None:
    sites = run / "sites"
    (sites / "site-3" / "ledger.sqlite").unlink()
    (sites / "site-1" / "ledger.sqlite").replace(sites / "site-2" / "ledger.sqlite")
    code, out, _ = call("ledger", "verify", run)
    assert code == 1
    assert "site-3: the ledger is missing" in out
    assert "site-1: the ledger is missing" in out
    assert "site-2: is the ledger of the site site-1" in out


def test_a_ledger_under_another_key_is_found(run: Path, call: Call, policy: SitePolicy) -> None:
    heads = json.loads((run / "heads.json").read_text())
    for name in NAMES:
        row, digest = heads[name]
        public = SigningKey.read(run / "sites" / name / "site.key").public
        heads[name] = {"row": row, "hash": digest, "public_key": public.hex()}
    (run / "heads.json").write_text(json.dumps(heads))
    assert verified(call, run)[0] == 0
    file = run / "sites" / "site-1" / "ledger.sqlite"
    file.unlink()
    Ledger.create(file, SigningKey.generate(), "site-1", policy).close()
    code, out, _ = call("ledger", "verify", run)
    assert code == 1
    assert "signature is not this site's" in out


def test_wrong_use_is_exit_code_2_and_one_line(run: Path, call: Call, tmp_path: Path) -> None:
    for arguments in (
        ("verify", tmp_path / "nowhere"),
        ("show", tmp_path / "nowhere"),
        ("verify", run, "--heads", run / "sites" / "site-1" / "site.key"),
        ("export", run, "--out", tmp_path / "ledger.txt"),
    ):
        code, _, err = call("ledger", *arguments)
        assert code == 2
        assert len(err.strip().splitlines()) == 1


def test_show_prints_each_release_and_both_epsilons(run: Path, call: Call) -> None:
    file = run / "sites" / "site-1" / "ledger.sqlite"
    code, out, _ = call("ledger", "show", file, "--json", "-")
    assert code == 0
    (ledger,) = json.loads(out)["ledgers"]
    assert [event["kind"] for event in ledger["events"]] == ["popularity", *["gradient"] * 3]
    assert [event["state"] for event in ledger["events"]] == ["closed"] * 3 + ["reserved"]
    assert ledger["events"][0]["survivors"] == 8
    window = ledger["window"]
    assert 0 < window["central"]["epsilon"] < window["reserved"]["epsilon"] <= 3.0
    assert window["reserved"]["epsilon"] < window["local"]["epsilon"] <= 8.0
    alone = [event["alone"]["local"] for event in ledger["events"]]
    assert max(alone) < window["local"]["epsilon"] < sum(alone)
    code, out, _ = call("ledger", "show", file)
    assert code == 0
    assert "central: epsilon" in out
    assert "at 1 % false positives" in out


@pytest.mark.parametrize(("columns", "attempts"), [("80", False), ("120", True)])
def test_show_cuts_no_figure_on_a_narrow_terminal(
    run: Path, call: Call, monkeypatch: pytest.MonkeyPatch, columns: str, attempts: bool
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    code, out, _ = call("ledger", "show", run / "sites" / "site-1" / "ledger.sqlite")
    assert code == 0
    table = out[: out.index("central: epsilon")]
    assert "…" not in table
    assert "popularity" in table
    assert ("attempt" in table) is attempts


def test_show_refuses_a_damaged_ledger(run: Path, call: Call) -> None:
    edit(run, "site-1", "DELETE FROM events WHERE rowid = 7")
    code, _, err = call("ledger", "show", run)
    assert code == 1
    assert "ledger verify" in err


def test_export_holds_what_others_need_to_check(run: Path, call: Call, tmp_path: Path) -> None:
    code, _, _ = call("ledger", "export", run, "--out", tmp_path / "ledger.csv")
    assert code == 0
    with (tmp_path / "ledger.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * 12
    assert json.loads(rows[2]["body"])["kind"] == "popularity"
    assert len(bytes.fromhex(rows[0]["signature"])) == 64
    code, out, _ = call("ledger", "export", run / "sites" / "site-2" / "ledger.sqlite")
    assert code == 0
    assert [row["row"] for row in json.loads(out)] == list(range(1, 13))


def test_restore_charges_the_window_and_makes_the_heads_agree(run: Path, call: Call) -> None:
    site = run / "sites" / "site-2"
    edit(run, "site-2", "DELETE FROM events WHERE rowid > 5")
    assert call("ledger", "verify", run)[0] == 1
    code, out, _ = call(
        "ledger", "restore", site / "ledger.sqlite", "--key", site / "site.key",
        "--heads", run / "heads.json", "--highest-seq", 4,
    )  # fmt: skip
    assert code == 0
    assert "row 13 charges the rest of the window" in out
    assert call("ledger", "verify", run)[0] == 0


def test_restore_refuses_a_damaged_ledger(run: Path, call: Call) -> None:
    site = run / "sites" / "site-2"
    edit(run, "site-2", "DELETE FROM events WHERE rowid = 4")
    code, _, _ = call("ledger", "restore", site / "ledger.sqlite", "--key", site / "site.key")
    assert code == 1


@pytest.mark.parametrize(
    "arguments", [("ledger", "show", "--json"), ("ledger", "export", "--out")], ids=" ".join
)
def test_a_file_that_cannot_be_written_is_one_line_and_exit_code_2(
    arguments: tuple[str, str, str], run: Path, call: Call
) -> None:
    part, command, option = arguments
    target = run / "nowhere" / "figures.json"
    code, _, error = call(part, command, run, option, target)
    assert code == 2
    (line,) = error.strip().splitlines()
    assert str(target) in line
