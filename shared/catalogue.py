"""A public catalogue: the labels that forecasts rank, their texts, and the items behind them.

The catalogue is public by agreement and its hash stands in the plan. It is made from a table of
items (one row an item, or one row a label), never from users' events at a data site.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
import polars as pl
from numpy.typing import NDArray

from groundswell.shared.errors import InputError

TEXTS_PER_LABEL = 6  # item texts quoted in the text of a label that stands for many items


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Labels of one catalogue, in a fixed order.

    Attributes:
        name: what the operators call it; not part of the hash.
        labels: ``L`` unique labels; sorted, or in the table's order where a label is an item.
        texts: ``L`` texts; for a label of many items ``label (group): frequent item texts``.
        groups: ``L`` coarser groups (department, brand), "" where there is none.
        sizes: float32 ``[L]``, number of catalogue items of each label, at least 1.
        item_to_label: label of every item.
    """

    name: str
    labels: tuple[str, ...]
    texts: tuple[str, ...]
    groups: tuple[str, ...]
    sizes: NDArray[np.float32]
    item_to_label: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalogue) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the canonical bytes."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Position of every label."""
        return MappingProxyType({label: i for i, label in enumerate(self.labels)})

    def canonical_bytes(self) -> bytes:
        """UTF-8 JSON with sorted keys and no spaces: the bytes that are hashed and sent."""
        payload = {
            "labels": list(self.labels),
            "texts": list(self.texts),
            "groups": list(self.groups),
            "sizes": [int(size) for size in self.sizes],
            "items": dict(self.item_to_label),
        }
        return json.dumps(
            payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()

    @classmethod
    def parse(cls, data: bytes, name: str) -> Catalogue:
        """The inverse of ``canonical_bytes``; raises InputError for anything else."""
        try:
            payload = json.loads(data)
            columns = [list(payload[key]) for key in ("labels", "texts", "groups", "sizes")]
            if len({len(column) for column in columns}) != 1:
                raise ValueError("labels, texts, groups and sizes are not of one length")
            labels, texts, groups, sizes = columns
            counts = np.asarray(sizes, dtype=np.float32)
            if not (np.isfinite(counts) & (counts >= 1)).all():
                raise ValueError("a size is not a number of items")
            return cls(
                name,
                tuple(labels),
                tuple(texts),
                tuple(groups),
                counts,
                MappingProxyType(dict(payload["items"])),
            )
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(
                "catalogue", name, f"the file is not a catalogue ({error})", "fetch it again"
            ) from error

    @classmethod
    def from_table(
        cls,
        table: pl.DataFrame,
        *,
        name: str,
        label: str,
        item: str | None = None,
        text: Sequence[str] = (),
        group: str | None = None,
    ) -> Catalogue:
        """Make a catalogue from a table of items.

        Args:
            table: one row an item; rows without a label are dropped.
            name: what the operators call the catalogue.
            label: column of the label; the item column itself makes every item a label.
            item: column of the item key, None where the label is all there is.
            text: columns whose values, joined by ", ", describe an item.
            group: column of a coarser group.

        Raises:
            InputError: a column is missing, no row has a label, an item stands under two labels, or
                a label has no text.
        """
        columns = [label, *([item] if item else []), *text, *([group] if group else [])]
        for column in columns:
            if column not in table.columns:
                raise InputError(
                    "[catalogue]",
                    column,
                    f"the catalogue {name!r} has no such column",
                    f"name one of: {', '.join(table.columns)}",
                )
        rows = table.select(
            _string(label).alias("label"),
            (_string(item) if item else pl.lit(None, pl.String)).alias("item"),
            _joined(text).alias("text"),
            (_string(group).fill_null("") if group else pl.lit("")).alias("group"),
        ).filter(pl.col("label").is_not_null())
        if rows.is_empty():
            raise InputError(
                "[catalogue].label", label, "no row has a label", "check the column and the file"
            )
        items = _items(rows.filter(pl.col("item").is_not_null()), name)
        if label == item:
            return cls._of_items(rows, name, items)
        return cls._of_groups(rows, name, items)

    @classmethod
    def _of_items(cls, rows: pl.DataFrame, name: str, items: Mapping[str, str]) -> Catalogue:
        unique = rows.unique("label", keep="first", maintain_order=True)
        untold = unique.filter(pl.col("text") == "")["label"]
        if len(untold):
            raise InputError(
                "[catalogue].text",
                untold[0],
                f"{len(untold)} label(s) of the catalogue {name!r} have no text",
                "fill the text, add a text column, or drop the rows",
            )
        return cls(
            name,
            tuple(unique["label"]),
            tuple(unique["text"]),
            tuple(unique["group"]),
            np.ones(len(unique), dtype=np.float32),
            items,
        )

    @classmethod
    def _of_groups(cls, rows: pl.DataFrame, name: str, items: Mapping[str, str]) -> Catalogue:
        sizes = rows.group_by("label").agg(pl.len().alias("size")).sort("label")
        groups = _most_frequent(rows.filter(pl.col("group") != ""), "group", 1)
        quoted = _most_frequent(rows.filter(pl.col("text") != ""), "text", TEXTS_PER_LABEL)
        texts = []
        for label in sizes["label"]:
            head = f"{label} ({groups[label][0]})" if label in groups else label
            tail = [text for text in quoted.get(label, []) if text != label]
            texts.append(f"{head}: {', '.join(tail)}" if tail else head)
        return cls(
            name,
            tuple(sizes["label"]),
            tuple(texts),
            tuple(groups.get(label, [""])[0] for label in sizes["label"]),
            sizes["size"].cast(pl.Float32).to_numpy(),
            items,
        )


def _string(column: str) -> pl.Expr:
    """The column as trimmed text, null where it is empty."""
    stripped = pl.col(column).cast(pl.String).str.strip_chars()
    return pl.when(stripped != "").then(stripped)


def _joined(columns: Sequence[str]) -> pl.Expr:
    if not columns:
        return pl.lit("")
    return pl.concat_str(
        *[_string(column) for column in columns], separator=", ", ignore_nulls=True
    )


def _items(rows: pl.DataFrame, name: str) -> Mapping[str, str]:
    pairs = rows.select("item", "label").unique(maintain_order=True)
    twice = pairs.filter(pl.col("item").is_duplicated())
    if len(twice):
        raise InputError(
            "[catalogue].item",
            twice["item"][0],
            f"the item stands under several labels of the catalogue {name!r}",
            "keep one row an item",
        )
    return MappingProxyType(dict(zip(pairs["item"], pairs["label"], strict=True)))


def _most_frequent(rows: pl.DataFrame, column: str, count: int) -> dict[str, list[str]]:
    """The ``count`` most frequent values of each label; ties in alphabetical order."""
    ranked = (
        rows.group_by("label", column)
        .agg(pl.len().alias("rows"))
        .sort("label", "rows", column, descending=[False, True, False])
        .group_by("label", maintain_order=True)
        .agg(pl.col(column).head(count))
    )
    return dict(zip(ranked["label"], ranked[column].to_list(), strict=True))
