"""Two Amazon departments for ``bench quality``: what may be learned from, and what is measured.

The files hold rows, not users, and their rows overlap. Learned from are the first history of each
user of the validation rows, and of each user who has test rows alone: its inner steps, and never a
target (else a user's later row would hold the target of an earlier one). Item numbers follow the
order in which items first occurred, so they are never a feature, an order or a tie-break.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from groundswell.shared.backbone import Backbone
from groundswell.shared.errors import InputError

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

DEPARTMENTS = ("office", "industrial")
_FILES = ("items", "valid", "test")


@dataclass(frozen=True)
class Department:
    """One catalogue, the users to learn from, and the rows to measure on.

    Attributes:
        plain: float32 ``[L, D]``, titles through the backbone, rows of unit length.
        unit: the same about their mean.
        shared_words: float32 ``[L, L]``, cosine of the titles' words, rare ones counting most.
        brand: int64 ``[L]``, -1 where none is known.
        learned: each user's history, oldest first.
        histories: of the measured rows; target: int64 ``[B]``; user: int64 ``[B]``.
    """

    name: str
    plain: Float32 = field(repr=False)
    unit: Float32 = field(repr=False)
    shared_words: Float32 = field(repr=False)
    brand: Int64 = field(repr=False)
    learned: tuple[Int64, ...] = field(repr=False)
    histories: tuple[Int64, ...] = field(repr=False)
    target: Int64 = field(repr=False)
    user: Int64 = field(repr=False)

    @property
    def items(self) -> int:
        """L."""
        return len(self.unit)

    @cached_property
    def likeness(self) -> Float32:
        """float32 ``[L, L]``, cosine of the titles."""
        return np.asarray(self.unit @ self.unit.T, dtype=np.float32)

    @property
    def cold(self) -> NDArray[np.bool_]:
        """bool ``[B]``: the target stands in no history that was learned from."""
        seen = np.zeros(self.items, dtype=np.bool_)
        for history in self.learned:
            seen[history] = True
        return ~seen[self.target]


def load_department(
    folder: Path, name: str, backbone: Backbone, measured: str = "test"
) -> Department:
    """Read ``NAME_items``, ``NAME_valid`` and ``NAME_test`` (Parquet).

    Args:
        measured: whose rows are measured, ``test`` or, to choose by, ``valid``.

    Raises:
        InputError: a file is missing.
    """
    paths = {part: folder / f"{name}_{part}.parquet" for part in _FILES}
    for path in paths.values():
        if not path.exists():
            raise InputError("--amazon", str(path), "does not exist", "name the data's folder")
    items = pl.read_parquet(paths["items"]).sort("item_id")
    valid, test = (pl.read_parquet(paths[part]) for part in ("valid", "test"))
    brands = items["brand"].fill_null("").to_list()
    number = {brand: n for n, brand in enumerate(sorted({b for b in brands if b}))}
    titles = [html.unescape(title or "") for title in items["title"]]
    rows = {"valid": valid, "test": test}[measured]
    plain = backbone.encode(titles, 1).unit
    return Department(
        name,
        plain,
        about_mean(plain),
        word_likeness(titles),
        np.array([number.get(brand, -1) for brand in brands], dtype=np.int64),
        _learned(valid, test),
        tuple(_array(history) for history in rows["history"]),
        rows["target"].cast(pl.Int64).to_numpy(),
        rows["user"].cast(pl.Int64).to_numpy(),
    )


def about_mean(unit: Float32) -> Float32:
    """Directions from the mean of all: what the whole catalogue shares tells no items apart."""
    about = unit - unit.mean(axis=0)
    norm = np.maximum(np.linalg.norm(about, axis=1, keepdims=True), 1e-9)
    return np.asarray(about / norm, dtype=np.float32)


def word_likeness(texts: Sequence[str]) -> Float32:
    """Cosine of the sets of words, each word by the logarithm of how rare it is, ``[L, L]``."""
    words = [set(re.findall(r"\w+", text.lower())) for text in texts]
    often = Counter(word for found in words for word in found)
    column = {word: n for n, word in enumerate(sorted(often))}
    row = np.repeat(np.arange(len(words)), [len(found) for found in words])
    flat = [word for found in words for word in sorted(found)]
    weight = np.log(len(words) / np.array([often[word] for word in flat], dtype=np.float64))
    table = sparse.csr_matrix((weight, (row, [column[word] for word in flat])))
    norm = np.maximum(np.sqrt(np.asarray(table.multiply(table).sum(axis=1))), 1e-9)
    table = table.multiply(1 / norm).tocsr()
    return np.asarray((table @ table.T).toarray(), dtype=np.float32)


def _learned(valid: pl.DataFrame, test: pl.DataFrame) -> tuple[Int64, ...]:
    first: dict[int, Int64] = {}
    for rows in (valid, test):
        for user, history in zip(rows["user"].to_list(), rows["history"], strict=True):
            # The first row of a user in this order; a user with both kinds keeps the earlier one.
            first.setdefault(user, _array(history))
    return tuple(first.values())


def _array(history: pl.Series) -> Int64:
    return history.cast(pl.Int64).to_numpy()
