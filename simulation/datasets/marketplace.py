"""A generated marketplace of any size: searches, views, carts and purchases at several merchants.

All of it is invented, and every output says so. It is for volume, for search text, and for surges
that can be checked: what was put in is written down beside the events.

    FOLDER/events/SITE-PART.parquet   site, user_id, ts, event, item, query, price; sorted by time
    FOLDER/catalogue.csv              items of all merchants; catalogues/SITE.csv of one
    FOLDER/truth/                     surges.csv, and weekly.parquet with what really happened
    FOLDER/groundswell.toml           a configuration that reads it
    FOLDER/manifest.json, README.md   what this is

The same arguments give the same rows. Memory is that of one part, whatever the number of users.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from groundswell.shared.errors import InputError
from groundswell.simulation.datasets.marketplace_merchants import (
    Merchant,
    Surge,
    daily_demand,
    draw_merchants,
    draw_surges,
)
from groundswell.simulation.datasets.marketplace_users import (
    EVENTS,
    SEARCH,
    SECONDS,
    Rows,
    simulate,
)
from groundswell.simulation.seeded import SeededRandomness

START = date(2025, 1, 6)  # a Monday
USERS_PER_PART = 10_000
MOST_USERS = 1_000_000
LEAST_DAYS = 28
NOTE = "All users, events, items and brands here are generated; none of them is real."

# Shares of rows that are not as they should be, so that cleaning has something to do.
DUPLICATES = 0.002
UNKNOWN_ITEMS = 0.001
ADDRESSES_IN_SEARCHES = 0.0005


@dataclass(frozen=True)
class SurgeAtSite:
    """One surge as one merchant saw it; ``category`` is in that merchant's language."""

    site: str
    category: str
    start: date
    end: date
    factor: float


@dataclass(frozen=True)
class GeneratedTruth:
    """What was generated.

    Attributes:
        folder: where it lies.
        seed, users, days: the arguments.
        events: rows written, duplicates included.
        users_by_site: in the merchants' order.
        surges: what was put in; ``end`` is the first day after.
        weekly: the file with site, category, week, search, view, cart, purchase: counts per week
            (beginning on Mondays) without duplicates.
    """

    folder: Path
    seed: int
    users: int
    days: int
    events: int
    users_by_site: dict[str, int]
    surges: tuple[SurgeAtSite, ...]
    weekly: Path


def generate(
    folder: Path, users: int, seed: int, *, merchants: int = 6, days: int = 364
) -> GeneratedTruth:
    """Write a marketplace of ``users`` users over ``days`` days into ``folder``.

    Raises:
        InputError: a number is out of range, or the folder already holds something else.
    """
    _check(folder, users, merchants, days)
    shops = draw_merchants(merchants, SeededRandomness(seed, "merchants").generator())
    surges = draw_surges(shops, days, SeededRandomness(seed, "surges").generator())
    shares = SeededRandomness(seed, "sizes").generator().lognormal(0, 0.35, len(shops))
    counts = _split(users, shares)
    for name in ("events", "catalogues", "truth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for stale in (folder / "events").glob("*.parquet"):
        stale.unlink()
    written, before, weekly = 0, 0, []
    for shop, count in zip(shops, counts, strict=True):
        demand = daily_demand(shop, surges, START.timetuple().tm_yday, days)
        totals = np.zeros((len(shop.keys), -(-days // 7), len(EVENTS)), dtype=np.int64)
        for part, first in enumerate(range(0, count, USERS_PER_PART)):
            generator = SeededRandomness(seed, "users", shop.name, part).generator()
            rows = simulate(shop, demand, min(USERS_PER_PART, count - first), generator)
            totals += _weekly(rows, totals.shape)
            table = _table(shop, rows, before + first, generator)
            table.write_parquet(folder / "events" / f"{shop.name}-{part:04d}.parquet")
            written += len(table)
        before += count
        weekly.append(_weekly_table(shop, totals))
        shop.items.write_csv(folder / "catalogues" / f"{shop.name}.csv")
    pl.concat([shop.items for shop in shops]).write_csv(folder / "catalogue.csv")
    pl.concat(weekly).write_parquet(folder / "truth" / "weekly.parquet")
    truth = GeneratedTruth(
        folder=folder,
        seed=seed,
        users=users,
        days=days,
        events=written,
        users_by_site={shop.name: count for shop, count in zip(shops, counts, strict=True)},
        surges=_at_sites(shops, surges),
        weekly=folder / "truth" / "weekly.parquet",
    )
    _describe(truth, shops)
    return truth


def _check(folder: Path, users: int, merchants: int, days: int) -> None:
    if not 2 * merchants <= users <= MOST_USERS:
        raise InputError(
            "users", users, f"must lie between {2 * merchants} and {MOST_USERS}", "change it"
        )
    if days < LEAST_DAYS:
        raise InputError("days", days, f"must be at least {LEAST_DAYS}", "generate more days")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "manifest.json").is_file():
        raise InputError(
            "folder", str(folder), "holds files that were not generated here", "name an empty one"
        )


def _split(users: int, shares: NDArray[np.float64]) -> list[int]:
    """Whole numbers in proportion to ``shares`` that add up to ``users``; each at least 1."""
    edges = np.rint(np.cumsum(shares) / shares.sum() * (users - len(shares))).astype(np.int64)
    return [int(size) for size in np.diff(edges, prepend=0) + 1]


def _weekly(rows: Rows, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """int64 ``[C, weeks, events]``: how often each happened."""
    where = (rows.category, rows.time // (7 * SECONDS), rows.event)
    flat = np.ravel_multi_index(where, shape)
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)


def _weekly_table(shop: Merchant, totals: NDArray[np.int64]) -> pl.DataFrame:
    weeks = totals.shape[1]
    mondays = [START + timedelta(weeks=week) for week in range(weeks)]
    return pl.DataFrame(
        {
            "site": [shop.name] * (len(shop.keys) * weeks),
            "category": [category for category in shop.categories for _ in range(weeks)],
            "week": mondays * len(shop.keys),
            **{name: totals[:, :, code].ravel() for code, name in enumerate(EVENTS)},
        }
    )


def _table(
    shop: Merchant, rows: Rows, first_user: int, generator: np.random.Generator
) -> pl.DataFrame:
    """The rows as a table in the order of time, with the usual share of dirt."""
    twice = np.flatnonzero(generator.random(len(rows)) < DUPLICATES)
    rows = rows.take(np.sort(np.concatenate([np.arange(len(rows)), twice])))
    unknown = (generator.random(len(rows)) < UNKNOWN_ITEMS) & (rows.item >= 0)
    addressed = (generator.random(len(rows)) < ADDRESSES_IN_SEARCHES) & (rows.event == SEARCH)
    start = int(datetime(START.year, START.month, START.day, tzinfo=UTC).timestamp())
    items, queries = pl.Series(shop.items["item"]), pl.Series(shop.queries)
    return pl.DataFrame(
        {
            "user": rows.user + first_user,
            "ts": (rows.time + start) * 1_000_000,
            "event": rows.event,
            "item": np.where(rows.item < 0, 0, rows.item),
            "query": np.where(rows.query < 0, 0, rows.query),
            "has_item": rows.item >= 0,
            "unknown": unknown,
            "addressed": addressed,
        }
    ).select(
        pl.lit(shop.name).alias("site"),
        pl.format("u{}", pl.col("user").cast(pl.String).str.zfill(7)).alias("user_id"),
        pl.col("ts").cast(pl.Datetime("us", "UTC")),
        pl.lit(pl.Series(EVENTS)).gather(pl.col("event")).alias("event"),
        pl.when(pl.col("unknown"))
        .then(pl.lit("discontinued"))
        .when(pl.col("has_item"))
        .then(pl.lit(items).gather(pl.col("item")))
        .alias("item"),
        pl.when(pl.col("event") == SEARCH)
        .then(
            pl.when(pl.col("addressed"))
            .then(pl.format("where is my order {}@example.com", pl.col("user")))
            .otherwise(pl.lit(queries).gather(pl.col("query")))
        )
        .alias("query"),
        pl.when(pl.col("has_item"))
        .then(pl.lit(shop.items["price"]).gather(pl.col("item")))
        .alias("price"),
    )


def _at_sites(shops: list[Merchant], surges: tuple[Surge, ...]) -> tuple[SurgeAtSite, ...]:
    category = {
        (shop.name, key): label
        for shop in shops
        for key, label in zip(shop.keys, shop.categories, strict=True)
    }
    return tuple(
        SurgeAtSite(
            site,
            category[site, surge.key],
            START + timedelta(days=surge.first_day),
            START + timedelta(days=surge.first_day + surge.days),
            surge.factor,
        )
        for surge in surges
        for site in surge.sites
    )


def _describe(truth: GeneratedTruth, shops: list[Merchant]) -> None:
    """Write surges, configuration, README and, last, the manifest."""
    folder = truth.folder
    surges = [asdict(surge) for surge in truth.surges]
    pl.DataFrame(surges).write_csv(folder / "truth" / "surges.csv")
    (folder / "groundswell.toml").write_text(_CONFIGURATION)
    (folder / "README.md").write_text(
        f"# Generated marketplace\n\n{NOTE} Written by `groundswell generate` with seed "
        f"{truth.seed}: {truth.events} events of {truth.users} users over {truth.days} days.\n"
    )
    manifest = {
        "generated": True,
        "note": NOTE,
        "seed": truth.seed,
        "start": START.isoformat(),
        "days": truth.days,
        "users": truth.users,
        "events": truth.events,
        "merchants": {
            shop.name: {
                "language": shop.language,
                "users": truth.users_by_site[shop.name],
                "categories": len(shop.categories),
                "items": len(shop.items),
            }
            for shop in shops
        },
        "shares": {
            "duplicates": DUPLICATES,
            "unknown_items": UNKNOWN_ITEMS,
            "addresses_in_searches": ADDRESSES_IN_SEARCHES,
        },
        "surges": surges,
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False, default=str)
    (folder / "manifest.json").write_text(text + "\n")


_CONFIGURATION = f"""# {NOTE}
[data]
events = "events/*.parquet"
columns = {{user = "user_id", time = "ts", action = "event", item = "item", text = "query", \
site = "site", value = "price"}}
generated = true

[catalogue]
file = "catalogue.csv"
label = "category"
text = ["title", "brand"]

[sites]
by = "site"

[task]
window = "7d"
actions = {{purchase = 1.0, cart = 0.5, view = 0.1}}
"""
