"""A promotion plan in a file: both formats read alike, and each mistake is named with its line."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundswell.client.promotion_file import read_promotions
from groundswell.shared.errors import InputError
from groundswell.shared.promotions import Promotion

HEADS = "label,from,to,share\n"


def test_csv_and_parquet_read_alike(tmp_path: Path) -> None:
    csv, parquet = tmp_path / "plan.csv", tmp_path / "plan.parquet"
    csv.write_text(
        "label,from,to,share,kind\nTEA,2026-01-05,2026-01-11,0.5,front\n007,2026-01-05,2026-01-05,1,\n"
    )
    pl.DataFrame(
        {
            "label": ["TEA", "007"],
            "from": [date(2026, 1, 5)] * 2,
            "to": [date(2026, 1, 11), date(2026, 1, 5)],
            "share": [0.5, 1.0],
            "kind": ["front", None],
        }
    ).write_parquet(parquet)
    expected = (
        Promotion("TEA", date(2026, 1, 5), date(2026, 1, 11), 0.5, "front"),
        Promotion("007", date(2026, 1, 5), date(2026, 1, 5), 1.0),
    )
    assert read_promotions(csv) == expected
    assert read_promotions(parquet) == expected


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("label,from,share\nTEA,2026-01-05,1\n", "add to"),
        ("label,from,to,share,price\nTEA,2026-01-05,2026-01-11,1,3\n", "leave out price"),
        (HEADS + "TEA,5 January,2026-01-11,1\n", "line 1: from: .*is no day"),
        (HEADS + "TEA,2026-01-05,2026-01-11,1\nTEA,2026-01-11,2026-01-05,1\n", "line 2: to"),
        (HEADS + "TEA,2026-01-05,2026-01-11,50%\n", "line 1: share: .*is no number"),
        (HEADS + "TEA,2026-01-05,2026-01-11,50\n", r"line 1: share: .*0\.\.1"),
        (HEADS + "TEA,2026-01-05,,1\n", "line 1: to: .*is missing"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, rule: str) -> None:
    file = tmp_path / "plan.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=rule):
        read_promotions(file)


@pytest.mark.parametrize("name", ["none.csv", "none.parquet"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=name):
        read_promotions(tmp_path / name)


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plan.parquet"
    file.write_text("label")
    with pytest.raises(InputError, match="--plan"):
        read_promotions(file)


@pytest.mark.fuzz
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda t: (HEADS + t).encode()))
)
def test_invented_files_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    for name in ("plan.csv", "plan.parquet"):
        file = tmp_path / name
        file.write_bytes(data)
        try:
            found = read_promotions(file)
        except InputError:
            continue
        assert all(0 <= each.share <= 1 and each.first <= each.last for each in found)
