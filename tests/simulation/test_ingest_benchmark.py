"""The ingest benchmark compares what the sides really wrote."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from groundswell.simulation.benchmarks.ingest import generate, run
from groundswell.simulation.benchmarks.ingest_sides import contents, ours, pandas, plain_polars


def test_figures_are_complete_and_the_sides_agree() -> None:
    figures = run(20_000)
    assert figures["equal"]
    assert figures["ratio"] == figures["ours"] / figures["peer"]
    wanted = {
        "name", "machine", "ours", "peer", "unit", "ratio", "higher_is_better", "equal",
        "peer_name", "peer_version", "cases",
    }  # fmt: skip
    assert wanted <= set(figures)


def test_a_difference_in_one_row_is_seen(tmp_path: Path) -> None:
    generate(5_000, 1, tmp_path)
    ours(tmp_path)
    plain_polars(tmp_path)
    expected = contents("ours", tmp_path)
    assert contents("polars", tmp_path) == expected
    table = pl.read_parquet(tmp_path / "out.parquet")
    later = pl.col("ts") + pl.duration(microseconds=1)
    first = pl.int_range(pl.len()) == 0
    table.with_columns(pl.when(first).then(later).otherwise("ts").alias("ts")).write_parquet(
        tmp_path / "out.parquet"
    )
    assert contents("polars", tmp_path) != expected
    pandas(tmp_path)
    assert contents("pandas", tmp_path) == expected
