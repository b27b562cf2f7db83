"""The prepared events of a site in memory: what the vault computes on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from groundswell.shared.histories import Histories

# The columns in which ``annotate`` hands events over, and in which the store keeps them.
ANNOTATED = pl.Schema(
    {
        "user": pl.String(),
        "time": pl.Int64(),
        "label": pl.Int32(),
        "weight": pl.Float32(),
        "action": pl.Int16(),
        "text": pl.String(),
        "basket": pl.Int32(),
    }
)


@dataclass(frozen=True)
class PreparedSite:
    """One site's histories, one row a user, sorted by user key.

    Attributes:
        histories: ``token`` below the number of labels is that label's text; from there on it
            counts through ``texts``.
        texts: texts of events outside the catalogue (searches, unknown items), each once.
    """

    histories: Histories
    texts: tuple[str, ...]


def assemble(annotated: pl.DataFrame, labels: int) -> PreparedSite:
    """Build histories from annotated rows that are sorted by user and time.

    Args:
        annotated: columns ``ANNOTATED``.
        labels: number of labels of the catalogue.
    """
    users = annotated.select(pl.col("user").rle()).unnest("user")
    texts = annotated.select(pl.col("text").drop_nulls().unique().sort()).to_series()
    extra = (
        annotated.select("text")
        .join(
            pl.DataFrame({"text": texts, "row": np.arange(len(texts), dtype=np.int32) + labels}),
            on="text",
            how="left",
            maintain_order="left",
        )["row"]
        .fill_null(-1)
    )
    label = annotated["label"].to_numpy()
    token = np.where(label >= 0, label, extra.to_numpy()).astype(np.int32)
    offsets = np.zeros(len(users) + 1, dtype=np.int64)
    np.cumsum(users["len"].to_numpy(), out=offsets[1:])
    histories = Histories(
        users=tuple(users["value"]),
        offsets=offsets,
        time=annotated["time"].to_numpy(),
        label=label,
        weight=annotated["weight"].to_numpy(),
        action=annotated["action"].to_numpy(),
        token=token,
        basket=annotated["basket"].to_numpy(),
    )
    return PreparedSite(histories, tuple(texts))
