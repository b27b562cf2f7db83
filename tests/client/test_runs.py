"""Running counts agree with counting by hand."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from groundswell.client.runs import run_starts, running_count


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40))
def test_counts_begin_anew_with_each_run(pairs: list[tuple[int, bool]]) -> None:
    frame = pl.DataFrame(pairs, schema={"key": pl.Int64, "hit": pl.Boolean}, orient="row")
    got = frame.select(running_count(pl.col("hit"), run_starts("key")).alias("count"))["count"]
    expected, count = [], 0
    for before, (key, hit) in pairwise([(None, False), *pairs]):
        count = count * (before[0] == key) + hit
        expected.append(count)
    assert got.to_list() == expected
