"""The merchants of the generated marketplace: catalogues, search phrases, seasons and surges.

Every category comes from ``marketplace.csv`` beside this file: its products and the phrases by
which shoppers search for it, in English and Chinese, its repeat cycle, season, price, and the
category that tends to be needed afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from groundswell.shared.errors import InputError

NAMES = (
    "alder", "birch", "cedar", "dogwood", "elm", "yulan", "fir", "ginkgo", "hazel", "ivy",
    "juniper", "larch", "maple", "oak", "pine", "rowan",
)  # fmt: skip
CHINESE = "yulan"
LEAST_MERCHANTS, MOST_MERCHANTS = 2, len(NAMES)

# Departments of the merchants with a profile; the others are drawn.
PROFILES: dict[str, tuple[str, ...]] = {
    "birch": ("grocery", "household", "beauty", "health", "baby", "pets"),
    "cedar": ("electronics", "office", "books", "home"),
    "dogwood": ("fashion", "sports", "beauty", "health"),
    "elm": ("home", "garden", "household", "pets", "auto", "books"),
}
GENERAL = ("alder", CHINESE)
DEPARTMENTS_DRAWN = 5

ITEMS_PER_CATEGORY = (12, 30)
BRANDS_PER_DEPARTMENT = 6
TASTES = 8
_SYLLABLES = ("ka", "lo", "mi", "ren", "tor", "vel", "sun", "ba", "ner", "qui", "zo", "hal", "dra")
_SYLLABLES_ZH = "嘉禾云岚晨曦恒悦锦泰和瑞星航朗清木源"
_QUALITIES = ("classic", "compact", "premium", "everyday", "light", "family", "pro", "eco")
_QUALITIES_ZH = ("经典", "便携", "高端", "日常", "轻便", "家庭装", "专业", "环保")

WEEKDAYS = np.array([0.9, 0.88, 0.9, 0.95, 1.1, 1.22, 1.05])
SURGE_FACTOR = (3.0, 8.0)
SURGE_DAYS = (7, 21)
QUIET_DAYS = 14  # before the first surge, to compare it with


@dataclass(frozen=True)
class Merchant:
    """One data site.

    Attributes:
        name: the site.
        language: ``en`` or ``zh``.
        keys: the ``C`` categories by their name in ``marketplace.csv``.
        categories: the same in the merchant's language.
        items: table item, title, brand, category, department, site, price; ``I`` rows by category.
        item_offsets: int64 ``[C + 1]``, where each category's items begin.
        queries: ``Q`` search phrases by category.
        query_offsets: int64 ``[C + 1]``.
        popularity: float64 ``[C]``, sums to 1.
        tastes: float64 ``[TASTES, C]``, how much each group of shoppers likes a category.
        cycle: float64 ``[C]``, days between repeat purchases, NaN where none repeats.
        peak, season: float64 ``[C]``, day of the year of most demand, and how strong it is, 0..1.
        complement: int64 ``[C]``, category needed after a purchase, -1 for none.
    """

    name: str
    language: str
    keys: tuple[str, ...]
    categories: tuple[str, ...]
    items: pl.DataFrame
    item_offsets: NDArray[np.int64]
    queries: tuple[str, ...]
    query_offsets: NDArray[np.int64]
    popularity: NDArray[np.float64]
    tastes: NDArray[np.float64]
    cycle: NDArray[np.float64]
    peak: NDArray[np.float64]
    season: NDArray[np.float64]
    complement: NDArray[np.int64]


@dataclass(frozen=True)
class Surge:
    """A stretch of days in which one category is in far greater demand at some merchants.

    Attributes:
        key: the category's name in ``marketplace.csv``.
        sites: merchants that it reaches.
        first_day, days: from the start of the data; the surge may outlast the data.
        factor: how many times the usual number of shoppers begin to look for the category.
    """

    key: str
    sites: tuple[str, ...]
    first_day: int
    days: int
    factor: float


@cache
def taxonomy() -> pl.DataFrame:
    """The categories of ``marketplace.csv``, one row each."""
    return pl.read_csv(Path(__file__).with_name("marketplace.csv"))


def draw_merchants(count: int, generator: np.random.Generator) -> list[Merchant]:
    """``count`` merchants, one of them always Chinese.

    Raises:
        InputError: ``count`` is not within 2..16.
    """
    if not LEAST_MERCHANTS <= count <= MOST_MERCHANTS:
        raise InputError(
            "merchants",
            count,
            f"the marketplace has {LEAST_MERCHANTS} to {MOST_MERCHANTS} merchants",
            f"name a number from {LEAST_MERCHANTS} to {MOST_MERCHANTS}",
        )
    names = [*NAMES[: count - 1], CHINESE] if CHINESE not in NAMES[:count] else NAMES[:count]
    return [_draw_merchant(name, generator) for name in names]


def _draw_merchant(name: str, generator: np.random.Generator) -> Merchant:
    table = taxonomy()
    departments = sorted(set(table["department"]))
    if name in GENERAL:
        kept = departments
    elif name in PROFILES:
        kept = list(PROFILES[name])
    else:
        kept = generator.choice(departments, DEPARTMENTS_DRAWN, replace=False).tolist()
    rows = table.filter(pl.col("department").is_in(kept)).to_dicts()
    language = "zh" if name == CHINESE else "en"
    brands = {department: _brands(language, generator) for department in kept}
    items = [_draw_items(name, language, row, brands[row["department"]], generator) for row in rows]
    queries = [_phrases(language, row, generator) for row in rows]
    keys = [row["category"] for row in rows]
    popularity = generator.gamma(2.0, size=len(rows))
    liking = {department: generator.gamma(0.5, size=TASTES) + 0.02 for department in kept}
    return Merchant(
        name=name,
        language=language,
        keys=tuple(keys),
        categories=tuple(_in(language, row, "category") for row in rows),
        items=pl.concat(items).with_columns(
            pl.format("{}-{}", pl.lit(name), pl.int_range(pl.len()).cast(pl.String).str.zfill(5))
            .alias("item")
        ),
        item_offsets=_offsets([len(part) for part in items]),
        queries=tuple(phrase for part in queries for phrase in part),
        query_offsets=_offsets([len(part) for part in queries]),
        popularity=popularity / popularity.sum(),
        tastes=np.stack([liking[row["department"]] for row in rows], axis=1),
        cycle=_floats(rows, "cycle_days"),
        peak=_floats(rows, "peak_day"),
        season=_floats(rows, "season"),
        complement=np.array(
            [keys.index(row["then"]) if row["then"] in keys else -1 for row in rows], dtype=np.int64
        ),
    )  # fmt: skip


def _in(language: str, row: dict[str, Any], column: str) -> str:
    return str(row[f"{column}_zh" if language == "zh" else column])


def _floats(rows: list[dict[str, Any]], column: str) -> NDArray[np.float64]:
    return np.array([row[column] for row in rows], dtype=np.float64)


def _offsets(lengths: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _brands(language: str, generator: np.random.Generator) -> list[str]:
    if language == "zh":
        pool = list(_SYLLABLES_ZH)
        return ["".join(generator.choice(pool, 2)) for _ in range(BRANDS_PER_DEPARTMENT)]
    pool = list(_SYLLABLES)
    return [
        "".join(generator.choice(pool, 2, replace=False)).capitalize()
        for _ in range(BRANDS_PER_DEPARTMENT)
    ]


def _draw_items(
    site: str,
    language: str,
    row: dict[str, Any],
    brands: list[str],
    generator: np.random.Generator,
) -> pl.DataFrame:
    count = int(generator.integers(*ITEMS_PER_CATEGORY))
    products = _in(language, row, "products").split("|")
    qualities = _QUALITIES_ZH if language == "zh" else _QUALITIES
    brand = generator.choice(brands, count)
    quality = generator.choice(qualities, count)
    product = generator.choice(products, count)
    joint = "" if language == "zh" else " "
    price = row["price"] * generator.lognormal(0.0, 0.35, count)
    return pl.DataFrame(
        {
            "item": [""] * count,
            "title": [joint.join(parts) for parts in zip(brand, quality, product, strict=True)],
            "brand": brand.tolist(),
            "category": [_in(language, row, "category")] * count,
            "department": [_in(language, row, "department")] * count,
            "site": [site] * count,
            "price": price.round(2),
        }
    )


def _phrases(language: str, row: dict[str, Any], generator: np.random.Generator) -> list[str]:
    """Search phrases: most name a need in words that the catalogue does not use."""
    needs = _in(language, row, "queries").split("|")
    products = _in(language, row, "products").split("|")
    qualities = _QUALITIES_ZH if language == "zh" else _QUALITIES
    joint = "" if language == "zh" else " "
    named = [joint.join([str(generator.choice(qualities)), product]) for product in products]
    return [*needs, *needs, *products, *named]


def draw_surges(
    merchants: list[Merchant], days: int, generator: np.random.Generator
) -> tuple[Surge, ...]:
    """One surge per 30 days and at least three; the last one is under way when the data ends."""
    count = max(3, days // 30)
    surges = []
    for number in range(count):
        key = str(generator.choice(sorted({key for m in merchants for key in m.keys})))
        holders = [merchant.name for merchant in merchants if key in merchant.keys]
        reached = generator.permutation(holders)[: max(1, round(len(holders) * 0.7))]
        length = int(generator.integers(SURGE_DAYS[0], SURGE_DAYS[1] + 1))
        latest = days - length
        first = days - 7
        if number < count - 1:
            first = int(generator.integers(min(QUIET_DAYS, latest), latest + 1))
        factor = round(float(generator.uniform(*SURGE_FACTOR)), 2)
        surges.append(Surge(key, tuple(sorted(reached.tolist())), first, length, factor))
    return tuple(sorted(surges, key=lambda surge: (surge.first_day, surge.key)))


def daily_demand(
    merchant: Merchant, surges: tuple[Surge, ...], first_day_of_year: int, days: int
) -> NDArray[np.float64]:
    """float64 ``[C, days]``: demand over its mean by season, weekday (day 0: Monday) and surges."""
    day = np.arange(days)
    turn = 2 * np.pi * ((day + first_day_of_year)[None, :] - merchant.peak[:, None]) / 365
    demand: NDArray[np.float64] = (1 + merchant.season[:, None] * np.cos(turn)) * WEEKDAYS[day % 7]
    for surge in surges:
        if merchant.name in surge.sites:
            last = surge.first_day + surge.days
            demand[merchant.keys.index(surge.key), surge.first_day : last] *= surge.factor
    return demand
