"""``init`` and ``check`` as their user meets them: one clear line and exit code 2 for bad input."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from groundswell.cli import main
from groundswell.shared.config_file import load_config

ITEMS = "sku,kind,title\n1,tea,Green tea\n2,jam,Plum jam\n3,tea,Black tea\n4,jam,Rose jam\n"


def shop(folder: Path, users: int = 30) -> pl.DataFrame:
    frame = pl.DataFrame(
        [
            {
                "customer": f"u{user:02d}",
                "ts": (datetime(2025, 1, 6, 9) + timedelta(days=7 * week + user % 7)).isoformat(),
                "event": ["purchase", "view"][week % 2],
                "sku": str(1 + (user + week) % 4),
                "region": ["north", "south", "west"][user % 3],
            }
            for user in range(users)
            for week in range(6)
        ]
    )
    frame.write_csv(folder / "events.csv")
    (folder / "items.csv").write_text(ITEMS)
    return frame


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


def init(folder: Path) -> Path:
    events, items = folder / "events.csv", folder / "items.csv"
    assert call("init", folder / "conf", "--from", events, "--catalogue", items) == 0
    return folder / "conf" / "groundswell.toml"


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "--sites", "1"),
        ("simulate", "--sites", "many"),
        ("simulate", "--sitse", "4"),
        ("simulat",),
        ("check", "--declared-users", "few"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("groundswell: ")
    assert "--help" in said.err


def test_init_writes_a_file_that_check_accepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop(tmp_path)
    path = init(tmp_path)
    config = load_config(path).config
    assert config.data.columns.user == "customer"
    assert config.catalogue.label == "kind"
    assert config.sites.by == "region"
    assert config.task.actions == {"purchase": 1.0, "view": 0.1}
    assert str(tmp_path) not in path.read_text()
    capsys.readouterr()
    assert call("check", "--config", path, "--json", "-") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["users"] == 30
    assert figures["events"] == 180
    assert (figures["labels"], figures["labels_used"]) == (2, 2)
    assert figures["sites"] == {"north": 10, "south": 10, "west": 10}
    assert figures["refused"] == []


def test_init_does_not_replace_a_file_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop(tmp_path)
    path = init(tmp_path)
    before = path.read_text()
    assert call("init", path.parent, "--from", tmp_path / "items.csv") == 2
    assert "the file exists" in capsys.readouterr().err
    assert path.read_text() == before


def test_check_counts_rejected_rows_and_writes_them_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = shop(tmp_path)
    pl.concat([frame, frame.head(3)]).write_csv(tmp_path / "events.csv")
    path = init(tmp_path)
    rejected = tmp_path / "rejected.parquet"
    assert call("check", "--config", path, "--quarantine", rejected) == 0
    assert "3: the same event again" in capsys.readouterr().out
    assert pl.read_parquet(rejected)["reason"].to_list() == ["duplicate"] * 3


def figures_of(path: Path, capsys: pytest.CaptureFixture[str], *options: object) -> dict[str, Any]:
    capsys.readouterr()
    assert call("check", "--config", path, "--json", "-", *options) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def edit(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_check_says_what_would_be_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop(tmp_path)
    path = init(tmp_path)
    assert "30 users where 20" in figures_of(path, capsys, "--declared-users", 20)["refused"][0]
    edit(path, "purchase = 1.0, view = 0.1", "order = 1.0")
    refused = figures_of(path, capsys)["refused"]
    assert refused == [
        "no event has an action with a weight; the data know purchase, view, [task].actions order"
    ]
    edit(path, 'window = "7d"', 'window = "60d"')
    assert "complete windows" in figures_of(path, capsys)["refused"][1]


def test_check_without_a_catalogue_says_who_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop(tmp_path)
    assert call("init", tmp_path / "conf", "--from", tmp_path / "events.csv") == 0
    figures = figures_of(tmp_path / "conf" / "groundswell.toml", capsys)
    assert "without a public catalogue" in figures["refused"][0]
    assert (figures["labels"], figures["labels_used"]) == (None, 4)


def test_check_counts_homes_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = shop(tmp_path)
    path = init(tmp_path)
    edit(path, 'by = "region"', 'by = {field = "region", per_user = "home"}')
    assert figures_of(path, capsys)["sites"] == {"north": 10, "south": 10, "west": 10}
    for name, part in frame.partition_by("region", as_dict=True).items():
        (tmp_path / "sites" / str(name[0])).mkdir(parents=True)
        part.write_csv(tmp_path / "sites" / str(name[0]) / "events.csv")
    edit(path, 'by = {field = "region", per_user = "home"}', 'by = "folder"')
    edit(path, "../events.csv", "../sites/*/*.csv")
    assert figures_of(path, capsys)["sites"] == {"north": 10, "south": 10, "west": 10}


def missing_column(path: Path) -> None:
    edit(path, 'item = "sku"', 'item = "skuu"')


def wrong_type(path: Path) -> None:
    frame = pl.read_csv(path.parent.parent / "events.csv").with_columns(customer=pl.lit(1.5))
    frame.write_parquet(path.parent.parent / "events.parquet")
    edit(path, "events.csv", "events.parquet")


def empty_file(path: Path) -> None:
    (path.parent.parent / "events.csv").write_text("")


def header_alone(path: Path) -> None:
    (path.parent.parent / "events.csv").write_text("customer,ts,event,sku,region\n")


def label_without_text(path: Path) -> None:
    (path.parent.parent / "items.csv").write_text(ITEMS + "5,soap,\n")
    edit(path, 'label = "kind"', 'label = "sku"')


def missing_folder(path: Path) -> None:
    edit(path, "../events.csv", "../nowhere/*.csv")


def half_written_parquet(path: Path) -> None:
    file = path.parent.parent / "events.parquet"
    pl.read_csv(path.parent.parent / "events.csv").write_parquet(file)
    file.write_bytes(file.read_bytes()[:-9])
    edit(path, "events.csv", "events.parquet")


def unknown_key(path: Path) -> None:
    edit(path, 'window = "7d"', 'windw = "7d"')


def mixed_zones(path: Path) -> None:
    events = path.parent.parent / "events.csv"
    frame = pl.read_csv(events)
    zoned = frame.with_columns(pl.col("ts") + "Z")
    pl.concat([frame.head(90), zoned.tail(90)]).write_csv(events)
    edit(path, 'timezone = "UTC"', "")


def no_configuration(path: Path) -> None:
    path.unlink()


CASES = {
    missing_column: ("[data].columns.item", "skuu", "did you mean sku?"),
    wrong_type: ("[data].columns.user", "customer (Float64)", "store it as text"),
    empty_file: ("[data].events", "events.csv", "write it again"),
    header_alone: ("[data].events", "events.csv", "check the files"),
    label_without_text: ("[catalogue].text", "'5'", "fill the text"),
    missing_folder: ("[data].events", "nowhere", "check the path"),
    half_written_parquet: ("[data].events", "events.parquet", "write it again"),
    unknown_key: ("[task].windw", "windw", "did you mean window?"),
    mixed_zones: ("[data].timezone", "events.csv", "set [data].timezone"),
    no_configuration: ("--config", "groundswell.toml", "name another"),
}


@pytest.mark.parametrize("spoil", CASES, ids=lambda spoil: str(spoil.__name__))
def test_bad_input_is_one_line_with_key_value_and_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Any
) -> None:
    shop(tmp_path)
    path = init(tmp_path)
    spoil(path)
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    rejected = tmp_path / "rejected.parquet"
    assert call("check", "--config", path, "--quarantine", rejected) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    for part in CASES[spoil]:
        assert part in line
    assert sorted(tmp_path.rglob("*")) == before


def test_one_user_does_not_fill_the_sites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop(tmp_path, users=1)
    figures = figures_of(init(tmp_path), capsys)
    assert "1 user(s) do not fill 8 sites" in figures["refused"]


def test_check_tells_of_a_catalogue_that_the_language_model_can_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop(tmp_path)
    (tmp_path / "items.csv").write_text(ITEMS.replace("tea", "茶").replace("Plum jam", "梅子酱"))
    path = init(tmp_path)
    capsys.readouterr()
    assert call("check", "--config", path, "--json", "-") == 0
    (remark,) = [
        each for each in json.loads(capsys.readouterr().out)["remarks"] if "script" in each
    ]
    assert "all-MiniLM-L6-v2 knows little" in remark
    assert "name a multilingual backbone in [model].backbone" in remark
    shop(tmp_path)
    call("check", "--config", path, "--json", "-")
    assert "script" not in capsys.readouterr().out
