"""``groundswell bench ingest``: the full import against plain Polars and pandas on one file.

The peers filter, dedupe, join, sort and write a plain Parquet file. Ours does that and also scrubs
texts, looks for bots, annotates, pseudonymises, and writes an encrypted store, the rejected rows
beside it. Each side runs in a process of its own, and ``equal`` compares what they wrote.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from groundswell.shared.errors import GroundswellError
from groundswell.simulation.benchmarks.machine import machine

ROWS = 10_000_000
_CHUNK = 1_000_000
_ITEMS, _CATEGORIES, _SEARCHES = 20_000, 300, 5_000
_ROWS_PER_USER = 50
_YEAR = 365 * 86_400
_START = datetime(2025, 1, 1, tzinfo=UTC)
_SMALL = 10  # the flatness of memory is read off a file this many times smaller


def run(
    rows: int = ROWS, *, repeats: int = 1, seed: int = 0, with_pandas: bool = True
) -> dict[str, Any]:
    """Measure the import of ``rows`` generated events.

    Args:
        rows: events of the headline case; a tenth of it is measured for memory alone.
        repeats: runs of ours and of plain Polars, in turn; the median counts.
        seed: of the generated file.
        with_pandas: whether to run pandas too; it needs about 1 KiB a row of memory.

    Returns:
        The benchmark's JSON; ``equal`` says that all sides wrote the same rows.
    """
    headline = _case(rows, repeats, seed, ("ours", "polars", *(["pandas"] if with_pandas else [])))
    small = _case(max(rows // _SMALL, 1), 1, seed, ("ours", "polars"))
    cases = [headline, small]
    ours, peer = headline["ours"], headline["polars"]
    figures = {
        "name": "ingest",
        "machine": machine(),
        "ours": ours["rows_per_second"],
        "peer": peer["rows_per_second"],
        "unit": "rows/s",
        "ratio": ours["rows_per_second"] / peer["rows_per_second"],
        "higher_is_better": True,
        "equal": all(case["equal"] for case in cases),
        "peer_name": "plain Polars: filter, dedupe, join, sort, write",
        "peer_version": version("polars"),
        "memory_growth": ours["peak_rss_mib"] / small["ours"]["peak_rss_mib"],
        "cases": cases,
    }
    if with_pandas:
        seconds = headline["pandas"]["seconds"]
        figures["ratio_to_pandas"] = seconds / ours["seconds"]
        figures["pandas_version"] = version("pandas")
    return figures


def _case(rows: int, repeats: int, seed: int, sides: tuple[str, ...]) -> dict[str, Any]:
    """All sides on one file; the slow ones run once."""
    with tempfile.TemporaryDirectory(prefix="ingest-") as name:
        folder = Path(name)
        _run_apart("groundswell.simulation.benchmarks.ingest", str(rows), str(seed), name)
        taken: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
        for repeat in range(repeats):
            for side in sides:
                if repeat == 0 or side != "pandas":
                    taken[side].append(_side(side, folder))
        case: dict[str, Any] = {"rows": rows, "file_mib": _mib(folder / "events.parquet")}
    for side, runs in taken.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        case[side] = {
            "seconds": seconds,
            "cpu_seconds": statistics.median(run["cpu_seconds"] for run in runs),
            "rows_per_second": rows / seconds,
            "peak_rss_mib": max(run["peak_rss_mib"] for run in runs),
            "rows_written": runs[0]["contents"]["rows"],
        }
    found = [run["contents"] for runs in taken.values() for run in runs]
    case["equal"] = found[0]["rows"] > 0 and all(each == found[0] for each in found)
    return case


def _side(side: str, folder: Path) -> dict[str, Any]:
    output = _run_apart("groundswell.simulation.benchmarks.ingest_sides", side, str(folder))
    figures: dict[str, Any] = json.loads(output)
    shutil.rmtree(folder / "store", ignore_errors=True)
    return figures


def _run_apart(module: str, *arguments: str) -> str:
    """Run a module in a process of its own, so that memory and caches are its own."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise GroundswellError(f"benchmark {module} {arguments[0]} failed: {last[0]}")
    return done.stdout


def _mib(path: Path) -> float:
    return path.stat().st_size / 2**20


def generate(rows: int, seed: int, folder: Path) -> None:
    """Write ``events.parquet`` and ``items.parquet``: a year of generated events, unordered.

    Half a percent has no user, two percent a negative quantity, one percent stands there twice.
    """
    random = np.random.default_rng(seed)
    users = max(rows // _ROWS_PER_USER, 1)
    weights = random.lognormal(0, 1.2, users)
    chunks: list[Path] = []
    for start in range(0, rows, _CHUNK):
        count = min(_CHUNK, rows - start)
        path = folder / f"chunk-{len(chunks):04d}.parquet"
        _events(count, weights / weights.sum(), random).write_parquet(path)
        chunks.append(path)
    pl.scan_parquet(chunks).sink_parquet(folder / "events.parquet")
    for path in chunks:
        path.unlink()
    numbers = np.arange(_ITEMS)
    items = pl.DataFrame({"number": numbers, "group": numbers % _CATEGORIES})
    items.select(
        pl.format("sku-{}", "number").alias("sku"),
        pl.format("category {}", "group").alias("category"),
        pl.format("thing {}", "number").alias("title"),
    ).write_parquet(folder / "items.parquet")


def _events(
    rows: int,
    weights: np.ndarray[tuple[int], np.dtype[np.float64]],
    random: np.random.Generator,
) -> pl.DataFrame:
    repeated = rows // 100
    fresh = rows - repeated
    names = ["view", "cart", "purchase", "search"]
    frame = pl.DataFrame(
        {
            "customer": random.choice(len(weights), fresh, p=weights),
            "ts": random.integers(0, _YEAR, fresh),
            "event": random.choice(len(names), fresh, p=[0.7, 0.1, 0.1, 0.1]),
            "sku": random.integers(0, _ITEMS, fresh),
            "query": random.integers(0, _SEARCHES, fresh),
            "quantity": random.integers(1, 50, fresh).astype(float),
            "fate": random.random(fresh),
        }
    )
    search = pl.col("event") == "search"
    table = frame.with_columns(
        pl.col("event").replace_strict(range(len(names)), names, return_dtype=pl.String)
    ).select(
        pl.when(pl.col("fate") > 0.005).then(pl.format("u{}", "customer")).alias("customer"),
        (pl.lit(_START) + pl.duration(seconds="ts")).alias("ts"),
        "event",
        pl.when(~search).then(pl.format("sku-{}", "sku")).alias("sku"),
        pl.when(search).then(pl.format("red shoes {}", "query")).alias("query"),
        pl.when(pl.col("fate") > 0.98).then(-pl.col("quantity")).otherwise("quantity"),
    )
    whole = pl.concat([table, table.head(repeated)])
    return whole[random.permutation(len(whole))]


if __name__ == "__main__":
    generate(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
