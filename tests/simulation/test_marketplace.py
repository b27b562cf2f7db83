"""The generated marketplace: repeatable, well-formed, learnable, true to what it writes down."""

from __future__ import annotations

import json
import tomllib
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from groundswell.shared.config import Config
from groundswell.shared.errors import InputError
from groundswell.simulation.datasets import marketplace
from groundswell.simulation.datasets.cli import app
from groundswell.simulation.datasets.marketplace import START, GeneratedTruth, generate
from groundswell.simulation.datasets.marketplace_merchants import (
    NAMES,
    SURGE_DAYS,
    Surge,
    daily_demand,
    draw_merchants,
    draw_surges,
    taxonomy,
)
from groundswell.simulation.datasets.marketplace_users import (
    EVENTS,
    PURCHASE,
    SEARCH,
    SECONDS,
    simulate,
)
from groundswell.simulation.seeded import SeededRandomness

DAYS = 140


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> GeneratedTruth:
    return generate(tmp_path_factory.mktemp("market"), 6000, 3, days=DAYS)


@pytest.fixture(scope="module")
def events(market: GeneratedTruth) -> pl.DataFrame:
    return pl.read_parquet(market.folder / "events" / "*.parquet")


@pytest.fixture(scope="module")
def labelled(market: GeneratedTruth, events: pl.DataFrame) -> pl.DataFrame:
    catalogue = pl.read_csv(market.folder / "catalogue.csv")
    return events.unique().join(catalogue.select("item", "category"), on="item", how="left")


def test_events_have_the_columns_types_and_order_of_the_format(
    market: GeneratedTruth, events: pl.DataFrame
) -> None:
    assert events.schema == {
        "site": pl.String,
        "user_id": pl.String,
        "ts": pl.Datetime("us", "UTC"),
        "event": pl.String,
        "item": pl.String,
        "query": pl.String,
        "price": pl.Float64,
    }
    assert len(events) == market.events
    assert set(events["event"]) == {"search", "view", "cart", "purchase"}
    searches = events.filter(pl.col("event") == "search")
    assert searches["query"].null_count() == 0
    assert searches["item"].null_count() == len(searches)
    others = events.filter(pl.col("event") != "search")
    assert others["item"].null_count() + others["price"].null_count() == 0
    for file in (market.folder / "events").glob("*.parquet"):
        assert pl.read_parquet(file)["ts"].is_sorted()
    span = events.select(pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last"))
    assert span["first"][0].date() >= START
    assert span["last"][0].date() < START + timedelta(days=DAYS)


def test_a_user_belongs_to_one_site(market: GeneratedTruth, events: pl.DataFrame) -> None:
    sites = events.group_by("user_id").agg(pl.col("site").n_unique())
    assert sites["site"].max() == 1
    assert sum(market.users_by_site.values()) == 6000
    found = dict(events.group_by("site").agg(pl.col("user_id").n_unique()).iter_rows())
    assert found == market.users_by_site


def test_the_same_seed_gives_the_same_files_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate(tmp_path / name, 300, seed, merchants=3, days=60)
    first, again, other = (
        {f.name: f.read_bytes() for f in sorted((tmp_path / name).rglob("*.*"))}
        for name in ("a", "b", "c")
    )
    assert first == again
    assert first != other


def test_catalogues_differ_and_one_is_chinese(market: GeneratedTruth) -> None:
    tables = {f.stem: pl.read_csv(f) for f in (market.folder / "catalogues").glob("*.csv")}
    assert set(tables) == set(market.users_by_site)
    whole = pl.read_csv(market.folder / "catalogue.csv")
    assert whole["item"].is_unique().all()
    assert {"title", "brand", "category", "department"} <= set(whole.columns)
    assert len({tuple(sorted(set(table["category"]))) for table in tables.values()}) == len(tables)
    for site, table in tables.items():
        text = "".join([*table["title"], *table["category"]])
        assert any("\u4e00" <= letter <= "\u9fff" for letter in text) == (site == "yulan")


def test_dirt_is_there_in_the_share_that_the_manifest_says(
    market: GeneratedTruth, events: pl.DataFrame
) -> None:
    shares = json.loads((market.folder / "manifest.json").read_text())["shares"]
    duplicates = 1 - len(events.unique()) / len(events)
    assert duplicates == pytest.approx(shares["duplicates"], rel=0.3)
    unknown = (events["item"] == "discontinued").sum() / events["item"].count()
    assert unknown == pytest.approx(shares["unknown_items"], rel=0.4)
    assert events["query"].str.contains("@example.com").sum() > 0
    known = set(pl.read_csv(market.folder / "catalogue.csv")["item"]) | {"discontinued"}
    assert set(events["item"].drop_nulls()) <= known


def test_weekly_truth_counts_what_is_in_the_events(
    market: GeneratedTruth, events: pl.DataFrame
) -> None:
    found = (
        events.unique()
        .with_columns(pl.col("ts").dt.date().dt.truncate("1w").alias("week"))
        .group_by("site", "week", "event")
        .len()
        .pivot("event", index=["site", "week"], values="len")
        .fill_null(0)
        .sort("site", "week")
        .select("site", "week", *EVENTS)
    )
    truth = (
        pl.read_parquet(market.weekly)
        .group_by("site", "week")
        .agg(pl.col(EVENTS).sum())
        .sort("site", "week")
    )
    assert found["week"].to_list() == truth["week"].to_list()
    for name in EVENTS:
        np.testing.assert_array_equal(found[name].to_numpy(), truth[name].to_numpy())


def test_everything_that_is_written_says_that_it_is_generated(market: GeneratedTruth) -> None:
    assert json.loads((market.folder / "manifest.json").read_text())["generated"] is True
    for name in ("README.md", "groundswell.toml"):
        assert "generated" in (market.folder / name).read_text()


def test_the_configuration_beside_it_is_valid(market: GeneratedTruth) -> None:
    config = Config.model_validate(tomllib.loads((market.folder / "groundswell.toml").read_text()))
    assert config.data.columns.user == "user_id"
    assert config.catalogue.label == "category"


def test_a_surge_multiplies_searches_by_its_factor_and_purchases_follow() -> None:
    merchant = draw_merchants(2, SeededRandomness(1, "m").generator())[0]
    flat = np.ones((len(merchant.keys), 120))
    key = merchant.keys[int(np.argmax(merchant.popularity))]
    surge = Surge(key, (merchant.name,), 60, 20, 5.0)
    surged = flat.copy()
    surged[merchant.keys.index(key), 60:80] *= 5
    np.testing.assert_allclose(
        surged,
        daily_demand(merchant, (surge,), 6, 120) / daily_demand(merchant, (), 6, 120),
    )
    counts = []
    for demand in (flat, surged):
        rows = simulate(merchant, demand, 8000, np.random.default_rng(5))
        inside = (rows.time >= 60 * SECONDS) & (rows.time < 80 * SECONDS)
        inside &= rows.category == merchant.keys.index(key)
        counts.append([int((inside & (rows.event == e)).sum()) for e in (SEARCH, PURCHASE)])
    (searches, purchases), (more_searches, more_purchases) = counts
    assert more_searches / searches == pytest.approx(5, rel=0.2)
    assert more_purchases > 1.5 * purchases


def test_surges_are_written_down_and_one_is_under_way_at_the_end(market: GeneratedTruth) -> None:
    written = pl.read_csv(market.folder / "truth" / "surges.csv", try_parse_dates=True)
    assert len(written) == len(market.surges) >= 3
    end = START + timedelta(days=DAYS)
    assert any(surge.start < end <= surge.end for surge in market.surges)
    categories = pl.read_csv(market.folder / "catalogue.csv").select("site", "category").unique()
    assert len(written.join(categories, on=["site", "category"], how="anti")) == 0


@pytest.mark.parametrize("days", [28, 29, 60, 400])
def test_surges_lie_within_data_of_any_length(days: int) -> None:
    merchants = draw_merchants(4, np.random.default_rng(0))
    for seed in range(20):
        surges = draw_surges(merchants, days, np.random.default_rng(seed))
        assert all(0 < surge.first_day < days for surge in surges)
        assert all(SURGE_DAYS[0] <= surge.days <= SURGE_DAYS[1] for surge in surges)
        assert max(surge.first_day for surge in surges) == days - 7


def test_habits_taste_and_present_interest_can_be_learned(labelled: pl.DataFrame) -> None:
    at = datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(days=DAYS - 7)
    bought = pl.col("event") == "purchase"
    known = labelled.filter(pl.col("category").is_not_null())
    past, later = known.filter(pl.col("ts") < at), known.filter(pl.col("ts") >= at)
    truth = later.filter(bought).select("site", "user_id", "category").unique()
    buyers = truth["user_id"].n_unique()

    def hits(guess: pl.DataFrame) -> float:
        return guess.join(truth, on=["user_id", "category"])["user_id"].n_unique() / buyers

    def most(frame: pl.DataFrame, of: str) -> pl.DataFrame:
        ranked = frame.group_by(of, "category").len().sort("len", "category", descending=True)
        return ranked.group_by(of, maintain_order=True).first()

    popular = truth.select("site", "user_id").unique().join(most(past, "site"), on="site")
    habitual = most(past.filter(bought), "user_id")
    recent = past.filter(pl.col("ts") >= at - timedelta(days=4), pl.col("event") == "cart")
    present = recent.sort("ts").group_by("user_id").last()
    assert hits(habitual) > 2 * hits(popular)
    # Whoever put something into a cart in the last days and buys at all, tends to buy that.
    covered = present.join(truth.select("user_id").unique(), on="user_id", how="semi")
    assert hits(present) * buyers > 0.35 * covered["user_id"].n_unique()


def test_memory_is_that_of_one_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marketplace, "USERS_PER_PART", 400)
    peaks = []
    for users in (800, 8000):
        tracemalloc.start()
        generate(tmp_path / str(users), users, 0, merchants=2, days=60)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len(list((tmp_path / "8000" / "events").glob("*.parquet"))) >= 20
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize(
    ("users", "merchants", "days", "key"),
    [(100, 1, 60, "merchants"), (100, 17, 60, "merchants"), (3, 2, 60, "users"),
     (2_000_000, 2, 60, "users"), (100, 2, 10, "days")],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(
    tmp_path: Path, users: int, merchants: int, days: int, key: str
) -> None:
    with pytest.raises(InputError) as caught:
        generate(tmp_path / "market", users, 0, merchants=merchants, days=days)
    assert caught.value.key == key


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match="empty one"):
        generate(tmp_path, 100, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_taxonomy_is_complete_in_both_languages() -> None:
    table = taxonomy()
    for column in ("category", "category_zh"):
        assert table[column].is_unique().all()
    for column in ("products", "queries"):
        for row in table.iter_rows(named=True):
            assert 3 <= len(row[column].split("|")) == len(set(row[column].split("|")))
            assert len(row[f"{column}_zh"].split("|")) >= 3
    assert set(table["then"].drop_nulls()) <= set(table["category"])
    assert len(set(NAMES)) == len(NAMES)


def test_command_writes_and_reports(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "m"), "--users", "60", "--merchants", "2", "--days", "40"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0
    assert "are generated; none of them is real" in shown.output
    again = CliRunner().invoke(app, [*arguments, "--json", "-"])
    assert json.loads(again.output)["generated"] is True
