"""Integrate: one stream of events, each with the label that the public catalogue gives it."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from groundswell.client.clean import REASON, REASONS
from groundswell.shared.catalogue import Catalogue

OUTSIDE = "outside_catalogue"
ALL_REASONS = {**REASONS, OUTSIDE: "an item outside the catalogue, without label or text"}


@dataclass(frozen=True)
class CatalogueIndex:
    """A catalogue as tables to join with, made once for all partitions.

    Attributes:
        items: columns item, item_label (int32, index of the item's label).
        labels: columns label, own_label (int32, index of the label).
        size: number of labels.
    """

    items: pl.DataFrame
    labels: pl.DataFrame
    size: int

    @classmethod
    def of(cls, catalogue: Catalogue) -> CatalogueIndex:
        """The tables of a catalogue."""
        labels = pl.DataFrame(
            {"label": catalogue.labels, "own_label": range(len(catalogue))},
            schema={"label": pl.String, "own_label": pl.Int32},
        )
        items = pl.DataFrame(
            {
                "item": list(catalogue.item_to_label),
                "item_label": [catalogue.index[name] for name in catalogue.item_to_label.values()],
            },
            schema={"item": pl.String, "item_label": pl.Int32},
        )
        return cls(items, labels, len(catalogue))


def resolve(events: pl.LazyFrame, index: CatalogueIndex) -> pl.LazyFrame:
    """Add ``label_index`` (int32, null outside the catalogue); rows keep their order.

    The catalogue decides an item's label; the event's own label serves where it has no known item.
    """
    return (
        events.join(index.items.lazy(), on="item", how="left", maintain_order="left")
        .join(index.labels.lazy(), on="label", how="left", maintain_order="left")
        .with_columns(pl.coalesce("item_label", "own_label").alias("label_index"))
        .drop("item_label", "own_label")
    )


def integrate(events: pl.LazyFrame, index: CatalogueIndex) -> pl.LazyFrame:
    """``resolve``, and a ``reason`` where an event's item says nothing here.

    An event outside the catalogue counts by its text, or by its label as a text.
    """
    nothing = pl.all_horizontal(pl.col("label_index", "label", "text").is_null())
    return resolve(events, index).with_columns(
        pl.when(nothing).then(pl.lit(OUTSIDE)).otherwise(None).alias(REASON)
    )
