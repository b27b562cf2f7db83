"""The chain of steps: no step mixes users, nothing is lost, nothing is half-written."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.client.annotate import annotate
from groundswell.client.preparation import Preparation, import_site
from groundswell.client.preparation_report import PreparationReport
from groundswell.client.prepared import ANNOTATED
from groundswell.client.pseudonyms import SiteKey, pseudonym
from groundswell.client.quarantine import forget_in_quarantine, read_quarantine
from groundswell.client.store import Store
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.config_data import Columns, Data, Source
from groundswell.shared.errors import InputError
from groundswell.shared.task import Task

NOW = datetime(2026, 1, 1, tzinfo=UTC)
START = datetime(2025, 6, 1, tzinfo=UTC)
CATALOGUE = Catalogue.from_table(
    pl.DataFrame({"sku": ["1", "2", "3"], "kind": ["tea", "jam", "tea"], "title": ["a", "b", "c"]}),
    name="shop",
    label="kind",
    item="sku",
    text=["title"],
)
TASK = Task(actions={"purchase": 1.0, "view": 0.25}, session_gap=timedelta(minutes=30))
COLUMNS = Columns(user="who", action="what", item="sku", text="words", value="amount")
KEY = SiteKey(b"\x01" * 32)
RAW = pl.Schema(
    {
        "who": pl.String(),
        "time": pl.Datetime("us", "UTC"),
        "what": pl.String(),
        "sku": pl.String(),
        "words": pl.String(),
        "amount": pl.Float64(),
    }
)
ROW = st.fixed_dictionaries(
    {
        "who": st.sampled_from(["ann", "bob", "cy", "dee", None]),
        "time": st.integers(0, 40).map(lambda hours: START + timedelta(minutes=20 * hours))
        | st.just(NOW + timedelta(days=1)),
        "what": st.sampled_from(["purchase", "view", "share"]),
        "sku": st.sampled_from([None, "1", "2", "9"]),
        "words": st.sampled_from([None, "red shoes", "mail a@b.example"]),
        "amount": st.sampled_from([None, 1.0, -1.0]),
    }
)


def data(path: Path) -> Data:
    return Data(
        events=(str(path),), columns=COLUMNS, bot_events_per_day=6, bot_instants_per_minute=3
    )


def prepared_rows(folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """The prepared rows of all users."""
    path = folder / "events.parquet"
    rows.write_parquet(path)
    try:
        parts = list(Preparation(data(path), CATALOGUE, now=NOW).events())
    except InputError:
        return pl.DataFrame(schema=ANNOTATED)
    return pl.concat([annotate(part.lazy(), TASK).collect() for part in parts])


def in_bytes(rows: pl.DataFrame, user: str) -> str:
    return rows.filter(user=user).write_csv(null_value="null")


@settings(max_examples=40, deadline=None)
@given(st.lists(ROW, min_size=2, max_size=40))
def test_removing_a_user_leaves_every_other_users_rows_as_they_were(
    rows: list[dict[str, object]],
) -> None:
    frame = pl.DataFrame(rows, schema=RAW)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = prepared_rows(folder, frame)
        users = frame["who"].drop_nulls().unique().to_list()
        for gone in users:
            without = prepared_rows(folder, frame.filter(pl.col("who").ne_missing(gone)))
            assert in_bytes(without, gone) == in_bytes(whole.clear(), gone)
            for user in users:
                if user != gone:
                    assert in_bytes(without, user) == in_bytes(whole, user)


@settings(max_examples=40, deadline=None)
@given(st.lists(ROW, max_size=10), st.sets(st.integers(0, 40), max_size=25), st.integers(0, 40))
def test_what_happens_later_changes_no_earlier_row(
    rows: list[dict[str, object]], views: set[int], cut: int
) -> None:
    # Enough good events of one user that the rules for bots come to act.
    good = [
        {"time": START + timedelta(minutes=20 * view), "what": "view", "sku": "1"} for view in views
    ]
    frame = pl.DataFrame([*rows, *good], schema=RAW).with_columns(who=pl.lit("ann"))
    limit = START + timedelta(minutes=20 * cut)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        early = prepared_rows(folder, frame.filter(pl.col("time") < limit))
        whole = prepared_rows(folder, frame)
    until = pl.col("time") < int(limit.timestamp() * 1_000_000)
    assert in_bytes(whole.filter(until), "ann") == in_bytes(early, "ann")


def write(folder: Path, *rows: Mapping[str, object]) -> Data:
    path = folder / "events.parquet"
    full = [{"who": "ann", "time": START, "what": "purchase", "sku": "1", **row} for row in rows]
    pl.DataFrame(full, schema=RAW).write_parquet(path)
    return data(path)


def run(folder: Path, source: Data, declared: int | None = None) -> PreparationReport:
    return import_site(
        Preparation(source, CATALOGUE, now=NOW),
        CATALOGUE,
        TASK,
        Store(folder / "store", KEY.store_key),
        KEY,
        declared_users=declared,
        quarantine=folder / "quarantine",
    )


MIXED: tuple[dict[str, object], ...] = (
    {},
    {},
    {"who": None},
    {"amount": -2.0},
    {"sku": "9"},
    {"sku": "9", "words": "call 0664 1234567 now"},
    {"who": "bob", "time": NOW + timedelta(days=1)},
    {"who": "bob", "what": "view"},
)


def test_every_row_is_kept_or_in_the_quarantine_with_its_reason(tmp_path: Path) -> None:
    report = run(tmp_path, write(tmp_path, *MIXED))
    quarantine = read_quarantine(tmp_path / "quarantine", KEY)
    assert report.clean.rows == len(MIXED) == report.annotate.kept + len(quarantine)
    assert dict(quarantine["reason"].value_counts().iter_rows()) == {
        "duplicate": 1,
        "missing_user": 1,
        "refund": 1,
        "impossible_time": 1,
        "outside_catalogue": 1,
    }
    assert quarantine.filter(reason="refund").select("step", "source", "user", "value").row(0) == (
        "clean",
        "events.parquet",
        "ann",
        -2.0,
    )
    assert report.rejected == 5
    assert report.users == 2
    assert report.clean.changed["scrubbed"] == 1
    assert (tmp_path / "quarantine").stat().st_mode & 0o077 == 0
    assert not any(word in (tmp_path / "quarantine").read_bytes() for word in (b"ann", b"refund"))


def test_store_holds_pseudonyms_and_scrubbed_texts(tmp_path: Path) -> None:
    run(tmp_path, write(tmp_path, *MIXED))
    site = Store(tmp_path / "store", KEY.store_key).load()
    names = sorted(pseudonym(user, KEY.pseudonym_key) for user in ("ann", "bob"))
    assert list(site.histories.users) == names
    assert site.texts == ("call now",)


def test_several_sources_become_one_stream(tmp_path: Path) -> None:
    first = write(tmp_path, {}, {"who": "bob"})
    web = tmp_path / "web.csv"
    web.write_text(
        "customer;ts;product\nann;2025-06-01T00:00:00Z;1\nann;2025-06-02 10:00+02:00;2\n"
    )
    also = Source(
        events=(str(web),),
        separator=";",
        columns=Columns(user="customer", time="ts", item="product"),
    )
    parts = list(
        Preparation(first.model_copy(update={"also": (also,)}), CATALOGUE, now=NOW).events()
    )
    rows = pl.concat(parts)
    # The purchase that both sources know counts once: they differ in the value column only.
    assert rows.filter(user="ann")["item"].to_list() == ["1", "2"]


def test_mixed_time_zones_are_refused_unless_the_zone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user,time,item\na,2025-06-01 10:00,1\nb,2025-06-01 10:00Z,1\n")
    source = Data(events=(str(path),), columns=Columns(item="item"))
    with pytest.raises(InputError, match=r"set \[data\].timezone"):
        run(tmp_path, source)
    assert not (tmp_path / "quarantine").exists()
    assert [entry.name for entry in (tmp_path / "store").iterdir()] == []
    run(tmp_path, source.model_copy(update={"timezone": "Europe/Vienna"}))
    site = Store(tmp_path / "store", KEY.store_key).load()
    assert sorted(site.histories.time.tolist()) == [
        int(datetime(2025, 6, 1, hour, tzinfo=UTC).timestamp() * 1e6) for hour in (8, 10)
    ]


def test_more_users_than_declared_are_refused_and_the_old_store_stays(tmp_path: Path) -> None:
    run(tmp_path, write(tmp_path, {}), declared=1)
    many = write(tmp_path, *({"who": f"user {i}"} for i in range(22)))
    with pytest.raises(InputError, match="declare the number of users anew"):
        run(tmp_path, many, declared=20)
    assert len(Store(tmp_path / "store", KEY.store_key).load().histories) == 1
    run(tmp_path, many, declared=21)


def test_forgotten_users_do_not_come_back(tmp_path: Path) -> None:
    source = write(tmp_path, *MIXED)
    run(tmp_path, source)
    store = Store(tmp_path / "store", KEY.store_key)
    gone = [pseudonym("ann", KEY.pseudonym_key)]
    store.forget(gone)
    assert forget_in_quarantine(tmp_path / "quarantine", KEY, gone) == 3
    assert quarantined(tmp_path) == {None, "bob"}
    report = run(tmp_path, source)
    assert report.annotate.rejected["forgotten"] == 2
    assert store.load().histories.users == (pseudonym("bob", KEY.pseudonym_key),)
    assert quarantined(tmp_path) == {None, "bob"}


def quarantined(folder: Path) -> set[str | None]:
    return set(read_quarantine(folder / "quarantine", KEY)["user"])


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        ([], "there are no rows"),
        ([{"who": None}, {"who": None}, {"amount": -1.0}], "2 were rejected as missing_user"),
    ],
)
def test_nothing_left_is_an_error_in_plain_words(
    tmp_path: Path, rows: list[dict[str, object]], rule: str
) -> None:
    source = write(tmp_path, *rows)
    with pytest.raises(InputError, match=rule):
        run(tmp_path, source)
    assert [entry.name for entry in (tmp_path / "store").iterdir()] == []


def test_a_csv_that_breaks_off_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b"user,time,item\na,2025-06-01,1\nb,2025-06-01,\xff\xfe,4,5\n")
    source = Data(events=(str(path),), columns=Columns(item="item"))
    with pytest.raises(InputError) as caught:
        run(tmp_path, source)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in (tmp_path / "store").iterdir()] == []


def test_an_import_without_rejects_removes_an_old_quarantine(tmp_path: Path) -> None:
    run(tmp_path, write(tmp_path, *MIXED))
    run(tmp_path, write(tmp_path, {}))
    assert not (tmp_path / "quarantine").exists()


def test_the_quarantine_tells_why_no_row_is_left(tmp_path: Path) -> None:
    source = write(tmp_path, {"who": None}, {"amount": -1.0})
    with pytest.raises(InputError, match="see them with `groundswell check --quarantine FILE`"):
        run(tmp_path, source)
    assert len(read_quarantine(tmp_path / "quarantine", KEY)) == 2
