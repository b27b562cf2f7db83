"""The user's own files become a data set, by every rule of ``[sites]``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from groundswell.client.annotate import encode
from groundswell.client.check import check_data
from groundswell.shared.config import Config
from groundswell.shared.errors import InputError
from groundswell.simulation import run_out
from groundswell.simulation.datasets.own import load
from groundswell.simulation.federation import simulate
from groundswell.simulation.running import Options
from groundswell.simulation.setting import Setting

START = datetime(2025, 1, 6, tzinfo=UTC)
ITEMS = "sku,kind,title\n1,tea,Green tea\n2,jam,Plum jam\n3,tea,Black tea\n"


def shop(folder: Path, users: int = 40) -> pl.DataFrame:
    rows = [
        {
            "user": f"u{user:02d}",
            "time": START + timedelta(days=7 * week + user % 7, hours=9),
            "sku": str(1 + (user + week) % 3),
            "region": ["north", "south"][user % 2],
            "store": f"s{(user + week // 8) % 3}",
        }
        for user in range(users)
        for week in range(10)
    ]
    frame = pl.DataFrame(rows)
    frame.write_parquet(folder / "events.parquet")
    (folder / "items.csv").write_text(ITEMS)
    return frame


def config(folder: Path, **sections: Mapping[str, object]) -> Config:
    base: dict[str, Mapping[str, object]] = {
        "data": {"events": str(folder / "events.parquet"), "columns": {"item": "sku"}},
        "catalogue": {"file": str(folder / "items.csv"), "label": "kind", "text": "title"},
        "sites": {"number": 4},
    }
    return Config.model_validate({**base, **sections})


def test_hash_is_the_default_and_says_so(tmp_path: Path) -> None:
    shop(tmp_path)
    data = load(config(tmp_path)).dataset
    assert sorted(data.sites) == [f"site-0{i}" for i in range(1, 5)]
    assert data.catalogue.labels == ("jam", "tea")
    assert "split by hash into 4 sites" in data.notes[0]
    assert len(data.excludes) == 1
    assert "times of the forecasts" in data.excludes[0]
    assert len(data.times.validation) == 2
    assert data.times.validation[-1] == int((START + timedelta(weeks=9)).timestamp()) * 10**6
    users = [encode(frame, data.catalogue, data.task).users for frame in data.sites.values()]
    assert sum(map(len, users)) == 40


@pytest.mark.parametrize(
    ("by", "sites"),
    [
        ("region", ["north", "south"]),
        ({"field": "store", "per_user": "home"}, ["s0", "s1", "s2"]),
    ],
)
def test_a_column_or_a_home_divides_the_events(
    tmp_path: Path, by: object, sites: list[str]
) -> None:
    frame = shop(tmp_path)
    data = load(config(tmp_path, sites={"by": by, "number": 4})).dataset
    assert sorted(data.sites) == sites
    assert sum(map(len, data.sites.values())) == len(frame)
    assert data.notes == ()


def test_sites_of_any_name_get_names_that_a_certificate_may_carry(tmp_path: Path) -> None:
    frame = shop(tmp_path)
    places = {"north": "上海", "south": "New York"}
    frame.with_columns(pl.col("region").replace(places)).write_parquet(tmp_path / "events.parquet")
    data = load(config(tmp_path, sites={"by": "region"})).dataset
    assert sorted(data.sites) == ["new-york", "site-02"]
    assert data.sites["site-02"]["site"].unique().to_list() == ["site-02"]
    assert sum(map(len, data.sites.values())) == len(frame)
    assert "site-02 is 上海" in data.notes[0]


def test_one_folder_per_site(tmp_path: Path) -> None:
    frame = shop(tmp_path)
    for name, part in frame.partition_by("region", as_dict=True).items():
        (tmp_path / "sites" / str(name[0])).mkdir(parents=True)
        part.write_csv(tmp_path / "sites" / str(name[0]) / "events.csv")
    section = {"events": str(tmp_path / "sites/*/*.csv"), "columns": {"item": "sku"}}
    own = load(config(tmp_path, data=section, sites={"by": "folder"}), tmp_path / "rejected")
    assert sorted(own.dataset.sites) == ["north", "south"]
    assert len(own.reports) == 2
    assert own.dataset.sites["north"]["site"].unique().to_list() == ["north"]


def test_a_table_that_no_folder_divides_is_refused(tmp_path: Path) -> None:
    shop(tmp_path)
    table = {"events": str(tmp_path / "events.parquet"), "columns": {"item": "sku"}}
    with pytest.raises(InputError, match="one folder per site"):
        load(config(tmp_path, data={**table, "also": [table]}, sites={"by": "folder"}))


def test_what_one_user_typed_never_becomes_the_text_of_a_label(tmp_path: Path) -> None:
    frame = shop(tmp_path).with_columns(
        action=pl.lit("view"), text=pl.lit("green tea"), label=pl.lit("tea")
    )
    own = frame.head(1).with_columns(label=pl.lit("rare"), text=pl.lit("divorce lawyer"))
    searched = frame.with_columns(
        action=pl.lit("search"), label=pl.lit("found"), text=pl.lit("looking for it")
    )
    pl.concat([frame, own, searched]).write_parquet(tmp_path / "events.parquet")
    columns = {name: name for name in ("action", "label", "text")}
    section = {"events": str(tmp_path / "events.parquet"), "columns": columns}
    found = load(config(tmp_path, data=section, catalogue={})).dataset.catalogue
    assert dict(zip(found.labels, found.texts, strict=True)) == {
        "tea": "green tea",
        "rare": "rare",
        "found": "found",
    }


def test_without_a_catalogue_the_labels_seen_are_public_and_it_says_so(tmp_path: Path) -> None:
    shop(tmp_path)
    section = {
        "events": str(tmp_path / "events.parquet"),
        "columns": {"item": "sku", "text": "store"},
    }
    data = load(config(tmp_path, data=section, catalogue={})).dataset
    assert data.catalogue.labels == ("1", "2", "3")
    assert data.catalogue.texts[0] in {"s0", "s1", "s2"}
    assert "what is seen in the events is public" in data.excludes[1]
    for frame in data.sites.values():
        assert (encode(frame, data.catalogue, data.task).label >= 0).all()


def test_a_single_user_is_refused_in_one_line(tmp_path: Path) -> None:
    shop(tmp_path, users=1)
    with pytest.raises(InputError, match=r"1 user\(s\)") as caught:
        load(config(tmp_path))
    assert "\n" not in str(caught.value)


def test_data_too_short_for_the_windows_held_back_are_refused(tmp_path: Path) -> None:
    shop(tmp_path)
    with pytest.raises(InputError, match="complete windows"):
        load(config(tmp_path, evaluation={"validation": 20}))


def test_a_site_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    shop(tmp_path)
    with pytest.raises(InputError, match="did you mean region"):
        load(config(tmp_path, sites={"by": "regio"}))


def with_a_rejected_row(folder: Path, sites: int) -> Path:
    """Two sites are refused after the data were read: a secure sum needs three."""
    frame = shop(folder)
    nobody = frame.head(1).with_columns(user=pl.lit(None, pl.String))
    pl.concat([frame, nobody]).write_parquet(folder / "events.parquet")
    path = folder / "groundswell.toml"
    path.write_text(
        '[data]\nevents = "events.parquet"\n'
        'columns = {user = "user", time = "time", item = "sku"}\n'
        '[catalogue]\nfile = "items.csv"\nlabel = "kind"\n'
        f"[sites]\nnumber = {sites}\n[train]\nrounds = 1\nevaluations = 0\n"
    )
    return path


def test_a_simulation_that_fails_leaves_no_quarantine_and_touches_no_earlier_one(
    tmp_path: Path,
) -> None:
    path = with_a_rejected_row(tmp_path, sites=2)
    with pytest.raises(InputError, match="n_min"):
        simulate(path, Options(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    earlier = tmp_path / "old" / "quarantine.parquet"
    run_out.begin(earlier.parent)
    earlier.write_bytes(b"of an earlier run")
    with pytest.raises(InputError, match="n_min"):
        simulate(path, Options(earlier.parent))
    assert earlier.read_bytes() == b"of an earlier run"
    assert sorted(earlier.parent.iterdir()) == [earlier.parent / run_out.MARK, earlier]


def test_a_folder_with_files_of_the_users_own_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = with_a_rejected_row(tmp_path, sites=4)
    key = tmp_path / "own" / "keys" / "id_ed25519"
    key.parent.mkdir(parents=True)
    key.write_text("mine")
    with pytest.raises(InputError, match="holds keys"):
        simulate(path, Options(tmp_path / "own"))
    assert key.read_text() == "mine"
    with pytest.raises(InputError, match="no run was begun there"):
        simulate(path, Options(tmp_path / "none", resume=True))


def test_a_new_run_leaves_nothing_of_the_one_before(tmp_path: Path) -> None:
    run_out.begin(tmp_path)
    for name in ("results.json", "heads.json", "report.html"):
        (tmp_path / name).touch()
    (tmp_path / "sites" / "north").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("mine")
    run_out.check(tmp_path)
    run_out.begin(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [run_out.MARK, "notes.txt"]


def test_a_plan_that_is_refused_leaves_the_earlier_run_as_it_was(tmp_path: Path) -> None:
    path = with_a_rejected_row(tmp_path, sites=4)
    path.write_text(path.read_text() + "[privacy]\neps_c = 1e-4\n")
    run_out.begin(tmp_path / "old")
    (tmp_path / "old" / "results.json").write_text("{}")
    for out in ("old", "new"):
        with pytest.raises(InputError, match="eps_c"):
            simulate(path, Options(tmp_path / out))
    assert (tmp_path / "old" / "results.json").read_text() == "{}"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"task": {"actions": {"buy": 1.0}}}, "one of these actions"),
        ({"evaluation": {"validation": 1}}, "stray event"),
    ],
)
def test_data_of_which_nothing_can_be_measured_are_refused_before_training(
    tmp_path: Path, section: dict[str, dict[str, object]], said: str
) -> None:
    frame = shop(tmp_path)
    stray = frame.head(1).with_columns(time=pl.lit(START + timedelta(days=400)))
    pl.concat([frame, stray.cast(frame.schema)]).write_parquet(tmp_path / "events.parquet")
    if "task" in section:
        frame.write_parquet(tmp_path / "events.parquet")
    made = config(tmp_path, **section)
    with pytest.raises(InputError, match=said) as refused:
        Setting.build(made, load(made).dataset, 0)
    if "evaluation" in section:
        assert str(refused.value) in check_data(made).refused


@pytest.mark.parametrize("by", ["region", "hash"])
@pytest.mark.parametrize("validation", [1, 2, 3])
def test_check_agrees_with_a_run_on_whether_the_windows_held_back_are_empty(
    tmp_path: Path, by: str, validation: int
) -> None:
    """Six weeks of everybody, then nobody but one new user in the last week of all."""
    frame = shop(tmp_path)
    last = frame["time"].max()
    assert isinstance(last, datetime)
    new = frame.head(1).with_columns(user=pl.lit("new"), time=pl.lit(last + timedelta(days=14)))
    pl.concat([frame, new.cast(frame.schema)]).write_parquet(tmp_path / "events.parquet")
    made = config(
        tmp_path,
        evaluation={"validation": validation, "test": 0},
        sites={"by": by, "number": 4},
        privacy={"n_min": 2},
    )
    try:
        Setting.build(made, load(made).dataset, 0)
        expected = []
    except InputError as error:
        expected = [str(error)]
    found = [each for each in check_data(made).refused if each.startswith("[evaluation]")]
    assert found == expected
    assert bool(expected) == (validation < 3)


def test_check_knows_that_two_sites_are_too_few(tmp_path: Path) -> None:
    shop(tmp_path)
    made = config(tmp_path, sites={"by": "region"})
    with pytest.raises(InputError, match="n_min") as refused:
        Setting.build(made, load(made).dataset, 0)
    assert str(refused.value) in check_data(made).refused
    allowed = config(tmp_path, sites={"by": "region"}, privacy={"n_min": 2})
    assert check_data(allowed).refused == []


def test_rejected_rows_come_with_the_results_and_replace_earlier_ones(tmp_path: Path) -> None:
    path = with_a_rejected_row(tmp_path, sites=4)
    quarantine = tmp_path / "out" / "quarantine.parquet"
    run_out.begin(quarantine.parent)
    quarantine.mkdir()  # of a run with one folder a site
    (quarantine / "site-01.parquet").touch()
    simulate(path, Options(quarantine.parent))
    assert (quarantine.parent / "results.json").exists()
    (row,) = pl.read_parquet(quarantine).to_dicts()
    assert row["step"] == "clean"
    assert quarantine.stat().st_mode & 0o077 == 0
