"""What a catalogue is made of, and that its hash names its content."""

from __future__ import annotations

import polars as pl
import pytest

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError

ITEMS = pl.DataFrame(
    {
        "sku": ["1", "2", "3", "4", "5"],
        "category": ["TEA", "TEA", "JAM", "TEA", None],
        "kind": ["green", "black", "plum", "green", "lost"],
        "brand": ["A", "B", "A", "A", "A"],
    }
)


def category_catalogue(table: pl.DataFrame = ITEMS) -> Catalogue:
    return Catalogue.from_table(
        table, name="shop", label="category", item="sku", text=["kind"], group="brand"
    )


def test_category_labels_are_sorted_and_described_by_their_items() -> None:
    catalogue = category_catalogue()
    assert catalogue.labels == ("JAM", "TEA")
    assert catalogue.texts == ("JAM (A): plum", "TEA (A): green, black")
    assert catalogue.groups == ("A", "A")
    assert catalogue.sizes.tolist() == [1.0, 3.0]
    assert catalogue.item_to_label == {"1": "TEA", "2": "TEA", "3": "JAM", "4": "TEA"}


def test_item_labels_keep_the_order_of_the_table() -> None:
    catalogue = Catalogue.from_table(
        ITEMS.reverse(), name="shop", label="sku", item="sku", text=["kind", "brand"]
    )
    assert catalogue.labels == ("5", "4", "3", "2", "1")
    assert catalogue.texts[-1] == "green, A"


def test_hash_does_not_depend_on_the_order_of_rows_or_on_the_name() -> None:
    again = Catalogue.from_table(
        ITEMS.reverse(), name="other", label="category", item="sku", text=["kind"], group="brand"
    )
    assert again.hash == category_catalogue().hash
    assert again == category_catalogue()


def test_hash_changes_with_any_text() -> None:
    changed = ITEMS.with_columns(pl.col("kind").replace("plum", "quince"))
    assert category_catalogue(changed).hash != category_catalogue().hash


def test_canonical_bytes_read_back() -> None:
    catalogue = category_catalogue()
    assert Catalogue.parse(catalogue.canonical_bytes(), "shop") == catalogue


def test_other_bytes_are_refused() -> None:
    with pytest.raises(InputError, match="not a catalogue"):
        Catalogue.parse(b'{"labels": 3}', "shop")


@pytest.mark.parametrize("size", ["null", "0", "-2", "NaN", "1e400"])
def test_a_size_that_counts_nothing_is_refused(size: str) -> None:
    data = (
        category_catalogue().canonical_bytes().replace(b'"sizes":[1', b'"sizes":[' + size.encode())
    )
    with pytest.raises(InputError, match="not a catalogue"):
        Catalogue.parse(data, "shop")


def test_item_label_without_text_is_refused() -> None:
    table = ITEMS.with_columns(pl.when(pl.col("sku") != "3").then("kind").alias("kind"))
    with pytest.raises(InputError, match=r"'3'.*no text"):
        Catalogue.from_table(table, name="shop", label="sku", item="sku", text=["kind"])


def test_item_under_two_labels_is_refused() -> None:
    table = pl.concat([ITEMS, ITEMS.head(1).with_columns(category=pl.lit("JAM"))])
    with pytest.raises(InputError, match="several labels"):
        category_catalogue(table)


def test_missing_column_names_the_ones_there_are() -> None:
    with pytest.raises(InputError, match=r"no such column.*sku, category"):
        Catalogue.from_table(ITEMS, name="shop", label="colour")
