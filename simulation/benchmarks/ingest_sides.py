"""The sides of the ingest benchmark, each run in a process of its own.

``python -m groundswell.simulation.benchmarks.ingest_sides SIDE FOLDER`` works on ``FOLDER/events``
``.parquet`` and ``items.parquet``, and prints seconds, peak memory and what it wrote as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from groundswell.client.preparation import Preparation, import_site
from groundswell.client.pseudonyms import SiteKey, load_site_key, pseudonym
from groundswell.client.store import Store
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.config_data import Columns, Data
from groundswell.shared.events import COLUMNS as CANONICAL
from groundswell.shared.task import Task

ACTIONS = {"view": 0.1, "cart": 0.5, "purchase": 1.0}
COLUMNS = Columns(
    user="customer", time="ts", action="event", item="sku", text="query", value="quantity"
)
_OUT = "out.parquet"
# What both sides must agree on, row by row.
_COMPARED = ("user", "time", "action", "label", "text")

assert set(COLUMNS.model_dump(exclude_none=True)) <= set(CANONICAL)


def catalogue(folder: Path) -> Catalogue:
    """The catalogue of the benchmark's items."""
    table = pl.read_parquet(folder / "items.parquet")
    return Catalogue.from_table(table, name="items", label="category", item="sku", text=["title"])


def ours(folder: Path) -> None:
    """The whole import into an encrypted store."""
    key = _key(folder)
    items = catalogue(folder)
    data = Data(events=(str(folder / "events.parquet"),), columns=COLUMNS)
    import_site(
        Preparation(data, items),
        items,
        Task(actions=ACTIONS),
        Store(folder / "store", key.store_key),
        key,
        quarantine=folder / "quarantine.parquet",
    )


def plain_polars(folder: Path) -> None:
    """Filter, dedupe, join, sort, write: one lazy query."""
    items = pl.scan_parquet(folder / "items.parquet").select("sku", "category")
    query = (
        pl.scan_parquet(folder / "events.parquet")
        .filter(pl.col("customer").is_not_null() & (pl.col("quantity") >= 0))
        .unique()
        .join(items, on="sku", how="left")
        .sort("customer", "ts")
    )
    query.sink_parquet(folder / _OUT)


def pandas(folder: Path) -> None:
    """The same in pandas."""
    events = pd.read_parquet(folder / "events.parquet")
    items = pd.read_parquet(folder / "items.parquet", columns=["sku", "category"])
    kept = events[events["customer"].notna() & (events["quantity"] >= 0)].drop_duplicates()
    joined = kept.merge(items, on="sku", how="left")
    joined.sort_values(["customer", "ts"]).to_parquet(folder / _OUT)


SIDES: dict[str, Callable[[Path], None]] = {
    "ours": ours,
    "polars": plain_polars,
    "pandas": pandas,
}


def contents(side: str, folder: Path) -> dict[str, int]:
    """Rows that a side wrote, and a digest of them that no order changes."""
    frames = _stored(folder) if side == "ours" else _written(folder)
    rows = total = mixed = 0
    for frame in frames:
        hashes = frame.select(pl.struct(_COMPARED).hash()).to_series().to_numpy()
        rows += len(frame)
        total = (total + int(np.add.reduce(hashes, dtype=np.uint64))) % 2**64
        mixed ^= int(np.bitwise_xor.reduce(hashes))
    return {"rows": rows, "sum": total, "xor": mixed}


def _stored(folder: Path) -> Iterable[pl.DataFrame]:
    names = Task(actions=ACTIONS).action_names
    numbers = pl.DataFrame({"number": range(len(names)), "action": names})
    for frame in Store(folder / "store", _key(folder).store_key).partitions():
        yield frame.select(
            "user",
            "time",
            pl.col("action")
            .cast(pl.Int64)
            .replace_strict(numbers["number"], names, default="search"),
            pl.col("label").cast(pl.Int64),
            "text",
        )


def _written(folder: Path) -> Iterable[pl.DataFrame]:
    """The plain table in the terms of the store, a slice of users at a time."""
    secret = _key(folder).pseudonym_key
    index = catalogue(folder).index
    labels = pl.DataFrame(
        {"category": list(index), "label": list(index.values())},
        schema={"category": pl.String, "label": pl.Int64},
    ).lazy()
    table = pl.scan_parquet(folder / _OUT)
    users = table.select(pl.col("customer").unique()).collect()["customer"]
    names = pl.DataFrame({"customer": users, "user": [pseudonym(u, secret) for u in users]})
    for share in range(16):
        yield (
            table.filter(pl.col("customer").hash(0) % 16 == share)
            .join(names.lazy(), on="customer")
            .join(labels, on="category", how="left")
            .select(
                "user",
                pl.col("ts").dt.epoch("us").alias("time"),
                pl.col("event").alias("action"),
                pl.col("label").fill_null(-1),
                pl.when(pl.col("label").is_null()).then("query").alias("text"),
            )
            .collect()
        )


def _key(folder: Path) -> SiteKey:
    return load_site_key(folder / "site.key", create=True)


def main(side: str, folder: Path) -> None:
    """Run one side and write what it took and gave to standard output."""
    start, start_cpu = time.perf_counter(), time.process_time()
    SIDES[side](folder)
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_rss_mib": peak,
        "contents": contents(side, folder),
    }
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
