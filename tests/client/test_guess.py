"""The guess finds the columns of differently shaped files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from groundswell.client.guess import Guess, guess_catalogue, guess_events
from groundswell.shared.errors import InputError

START = datetime(2026, 1, 1, tzinfo=UTC)


def guess(**columns: object) -> Guess:
    return guess_events(pl.LazyFrame(columns), "file")


def test_a_web_log() -> None:
    found = guess(
        timestamp=[1433221332117, 1433224214164],
        visitorid=[257597, 992329],
        event=["view", "addtocart"],
        itemid=[355908, 248676],
        transactionid=[None, "4000"],
    )
    assert found.columns.model_dump(exclude_none=True) == {
        "user": "visitorid",
        "time": "timestamp",
        "action": "event",
        "item": "itemid",
    }
    assert found.actions == {"view": 0.1, "addtocart": 0.5}
    assert found.zoned


def test_a_till() -> None:
    found = guess(
        household_id=["1", "2"],
        store_id=["9", "9"],
        product_id=["a1", "b2"],
        quantity=["1", "2"],
        transaction_timestamp=["2026-01-01 10:00:00", "2026-01-02 11:00:00"],
    )
    assert found.columns.user == "household_id"
    assert found.columns.time == "transaction_timestamp"
    assert found.columns.item == "product_id"
    assert found.columns.value == "quantity"
    assert found.actions == {}
    assert not found.zoned


def test_searches_and_categories() -> None:
    found = guess(
        customerId=["a", "b"],
        date=["2026-01-01", "2026-01-02"],
        category=["tea", "jam"],
        search_query=["green tea", None],
    )
    assert found.columns.label == "category"
    assert found.columns.text == "search_query"


def test_a_chinese_export() -> None:
    found = guess(
        顾客编号=["k1", "k2"],
        下单时间=["2026-01-01T10:00:00+08:00", "2026-01-02T11:00:00+08:00"],
        行为=["购买", "加入购物车"],
        商品货号=["A1", None],
        搜索词=[None, "绿茶"],
        数量=[1, 2],
    )
    assert found.columns.model_dump(exclude_none=True) == {
        "user": "顾客编号",
        "time": "下单时间",
        "action": "行为",
        "item": "商品货号",
        "text": "搜索词",
        "value": "数量",
    }
    assert found.actions == {"购买": 1.0, "加入购物车": 0.5}


def test_a_chinese_catalogue() -> None:
    table = pl.DataFrame(
        {
            "商品货号": [str(i) for i in range(9)],
            "名称": [f"商品 {i}" for i in range(9)],
            "类目": ["茶", "果酱", "肥皂"] * 3,
            "大类": ["食品", "食品", "日用"] * 3,
        }
    )
    found = guess_catalogue(table, "商品货号", "items")
    assert (found.item, found.label, found.text, found.group) == (
        "商品货号",
        "类目",
        ("名称",),
        "大类",
    )


def test_the_site_is_constant_per_user_with_a_few_values() -> None:
    rows = 40
    common = {
        "user": [f"u{i % 20}" for i in range(rows)],
        "time": [START + timedelta(hours=i) for i in range(rows)],
        "item": [str(i) for i in range(rows)],
    }
    region = [["n", "s", "w", "e"][i % 4] for i in range(rows)]
    moving = [["n", "s", "w", "e"][i % 3] for i in range(rows)]
    assert guess(**common, region=region).site == "region"
    assert guess(**common, region=moving).site is None
    assert guess(**common, region=["n"] * rows).site is None
    assert guess(**common, loyalty=[f"tier {i % 4}" for i in range(rows)]).site == "loyalty"


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"user": ["a"], "item": ["1"]}, "looks like the time"),
        ({"time": ["2026-01-01"], "item": ["x"]}, "looks like the user"),
        ({"time": ["2026-01-01"], "user": ["x"]}, "item, a category or a search text"),
        ({"user": [], "time": [], "item": []}, "no rows"),
        ({"user": ["a"], "time": ["soon"], "item": ["1"]}, "looks like the time"),
    ],
)
def test_what_cannot_be_guessed_is_said(columns: dict[str, list[str]], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        guess(**columns)


def test_a_catalogue_of_categories() -> None:
    table = pl.DataFrame(
        {
            "sku": [str(i) for i in range(9)],
            "title": [f"thing {i}" for i in range(9)],
            "category": ["tea", "jam", "soap"] * 3,
            "brand": ["A", "B", "A"] * 3,
        }
    )
    found = guess_catalogue(table, "sku", "items")
    assert (found.item, found.label, found.text, found.group) == (
        "sku",
        "category",
        ("title",),
        "brand",
    )


def test_a_catalogue_of_items() -> None:
    table = pl.DataFrame({"item_id": [1, 2, 3], "name": ["a", "b", "c"]})
    found = guess_catalogue(table, "itemid", "items")
    assert (found.item, found.label, found.text) == ("item_id", "item_id", ("name",))


def test_a_table_without_texts_is_no_catalogue() -> None:
    with pytest.raises(InputError, match="write \\[catalogue\\] yourself"):
        guess_catalogue(pl.DataFrame({"item_id": [1, 2]}), None, "items")
