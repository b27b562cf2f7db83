"""The contract that every kind of source passes, and what each refuses."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from groundswell.client.sources import (
    CsvSource,
    EventSource,
    ParquetSource,
    PostgresqlSource,
    open_sources,
)
from groundswell.client.sources.mapping import canonical
from groundswell.shared.config_data import Columns, Source
from groundswell.shared.errors import InputError

ROWS = pl.DataFrame(
    {
        "customer": ["a", "b", "a", None],
        "at": [datetime(2026, 1, day, 12, tzinfo=UTC) for day in (1, 2, 3, 4)],
        "what": ["view", "cart", "purchase", "view"],
        "sku": ["1", "2", None, "3"],
        "amount": [1.0, 2.5, None, -1.0],
    }
)
COLUMNS = Columns(user="customer", time="at", action="what", item="sku", value="amount")

Maker = Callable[[pl.DataFrame], EventSource]


def csv_maker(folder: Path) -> Maker:
    def make(rows: pl.DataFrame) -> EventSource:
        path = folder / "events.csv"
        rows.write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S%.6f%z")
        return CsvSource([path])

    return make


def parquet_maker(folder: Path) -> Maker:
    def make(rows: pl.DataFrame) -> EventSource:
        rows.head(2).write_parquet(folder / "1.parquet")
        rows.tail(-2).write_parquet(folder / "2.parquet")
        return ParquetSource([folder / "1.parquet", folder / "2.parquet"])

    return make


class Postgres:
    """A PostgreSQL of the test's own, on a Unix socket in a short temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        # PostgreSQL refuses to run as root; Debian's account for it is ``postgres``.
        self.user = (
            ["runuser", "-u", "postgres", "--"] if Path("/root").owner() == current() else []
        )

    def start(self) -> None:
        self.folder.chmod(0o777)
        self.run("initdb", "-D", str(self.data), "-A", "trust", "-U", "shop", "--no-sync")
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        log = str(self.folder / "log")
        self.run("pg_ctl", "-D", str(self.data), "-o", options, "-l", log, "-w", "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop")

    def run(self, command: str, *arguments: str) -> None:
        found = shutil.which(command) or next(map(str, sorted(DEBIAN.glob(f"*/bin/{command}"))))
        subprocess.run(
            [*self.user, found, *arguments],
            check=True,
            timeout=60,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )

    @property
    def uri(self) -> str:
        return f"postgresql:///postgres?host={self.folder}&user=shop"


DEBIAN = Path("/usr/lib/postgresql")


def current() -> str:
    return subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    if shutil.which("pg_ctl") is None and not DEBIAN.is_dir():
        pytest.skip("this machine has no PostgreSQL (pg_ctl)")
    pytest.importorskip("adbc_driver_postgresql")
    short = Path("/tmp") / f"gs-pg-{tmp_path_factory.getbasetemp().name[-12:]}"
    short.mkdir()
    server = Postgres(short)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(short, ignore_errors=True)


def postgres_maker(server: Postgres) -> Maker:
    def make(rows: pl.DataFrame) -> EventSource:
        rows.write_database("events", server.uri, engine="adbc", if_table_exists="replace")
        return PostgresqlSource(server.uri, "events")

    return make


@pytest.fixture(params=["csv", "parquet", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    if request.param == "postgresql":
        return postgres_maker(request.getfixturevalue("postgres"))
    return csv_maker(tmp_path) if request.param == "csv" else parquet_maker(tmp_path)


def test_rows_arrive_whole_and_in_canonical_form(make: Maker) -> None:
    source = make(ROWS)
    events = canonical(source.scan(), Source(columns=COLUMNS), source.name).collect()
    assert events.sort("time")["user"].to_list() == ["a", "b", "a", None]
    assert events.sort("time")["time"].to_list() == ROWS["at"].to_list()
    assert events.sort("time")["item"].to_list() == ["1", "2", None, "3"]
    assert events.sort("time")["value"].to_list() == [1.0, 2.5, None, -1.0]


def test_a_source_gives_the_same_rows_again(make: Maker) -> None:
    source = make(ROWS)
    first, second = (source.scan().collect() for _ in range(2))
    assert first.equals(second)


def test_projection_filter_and_limit_reach_the_source(make: Maker) -> None:
    frame = make(ROWS).scan()
    assert frame.select("sku").collect().columns == ["sku"]
    assert frame.filter(pl.col("what") == "cart").collect()["customer"].to_list() == ["b"]
    assert len(frame.head(3).collect()) == 3


def test_rows_hint_is_of_the_right_order(make: Maker) -> None:
    rows = pl.concat([ROWS] * 500)
    assert 1_000 <= make(rows).rows_hint() <= 4_000


def test_a_missing_column_is_named_with_a_suggestion(make: Maker) -> None:
    source = make(ROWS)
    wrong = Source(columns=COLUMNS.model_copy(update={"item": "skuu"}))
    with pytest.raises(InputError, match="did you mean sku") as caught:
        canonical(source.scan(), wrong, source.name)
    assert caught.value.key == "[data].columns.item"


def test_postgresql_takes_a_query_and_may_only_read(postgres: Postgres) -> None:
    postgres_maker(postgres)(ROWS)
    source = PostgresqlSource(postgres.uri, "SELECT sku FROM events WHERE what = 'cart';")
    assert source.scan().collect()["sku"].to_list() == ["2"]
    writing = PostgresqlSource(postgres.uri, "WITH x AS (DELETE FROM events RETURNING *) TABLE x")
    with pytest.raises(InputError, match="PostgreSQL refuses"):
        writing.scan().collect()
    assert PostgresqlSource(postgres.uri, "events").rows_hint() == 4


def test_postgresql_that_is_not_there_is_one_line() -> None:
    pytest.importorskip("adbc_driver_postgresql")
    source = PostgresqlSource("postgresql://shop@127.0.0.1:1/shop", "events")
    with pytest.raises(InputError, match="PostgreSQL refuses") as caught:
        source.scan()
    assert "\n" not in str(caught.value)


def test_globs_and_folders_open_as_their_files(tmp_path: Path) -> None:
    csv_maker(tmp_path)(ROWS)
    parquet_maker(tmp_path)(ROWS)
    opened = open_sources(Source(events=(str(tmp_path),)))
    assert [type(source) for source in opened] == [ParquetSource, CsvSource]
    assert opened[0].name == "1.parquet and 1 more"
    assert len(open_sources(Source(events=(str(tmp_path / "*.parquet"),)))) == 1


def test_columns_that_only_some_files_have_are_null_in_the_others(tmp_path: Path) -> None:
    ROWS.drop("amount").write_parquet(tmp_path / "1.parquet")
    ROWS.write_parquet(tmp_path / "2.parquet")
    rows = ParquetSource([tmp_path / "1.parquet", tmp_path / "2.parquet"]).scan().collect()
    assert rows["amount"].null_count() == 5


@pytest.mark.parametrize("name", ["none.csv", "none/*.parquet", "*.parquet"])
def test_a_pattern_without_files_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no file of that name"):
        open_sources(Source(events=(str(tmp_path / name),)))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.xlsx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"neither \.csv nor \.parquet"):
        open_sources(Source(events=(str(tmp_path / "events.xlsx"),)))


def test_an_unreadable_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(InputError, match="folder can't be read"):
        open_sources(Source(events=(str(tmp_path / "*.csv"),)))


def test_half_written_parquet_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "1.parquet"
    ROWS.write_parquet(whole)
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(InputError, match="half-written") as caught:
        ParquetSource([whole]).scan()
    assert caught.value.value == str(whole)


def test_an_empty_csv_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("")
    with pytest.raises(InputError, match="empty or no CSV"):
        CsvSource([tmp_path / "events.csv"]).scan()
