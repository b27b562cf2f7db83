"""What a next item's score is made of: text, brand, repetition, popularity and ordered pairs.

Every feature of a row depends on the row's own history, the catalogue, and the counts. Where a row
is learned from, its user's own part is taken out of the counts first: else the head would learn to
trust a pair that it finds there only because it was counted from this very row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from groundswell.simulation.benchmarks.amazon_counts import Counts, user_items, user_pairs
from groundswell.simulation.benchmarks.amazon_data import Department, Float32, Int64

FEATURES = (
    "decayed",  # cosine to the decayed mean of the history's texts
    "nearest",  # largest cosine to any text of the history
    "words",  # the same by shared words, rare ones counting most
    "brand",  # is the last item's
    "in_history",  # but not last
    "is_last",
    "popularity",  # logarithm
    "repeat",  # of the last item: how often it followed itself, by its popularity
    "lift",  # how often it followed the history's items, by its popularity
    "share",  # the same, by what else followed them
)
TEXT_DECAY = 0.7
LAST_ITEMS = (1.0, 0.5, 0.25, 0.1)  # weight of pairs with the last item, the one before, ...
PRIOR = 20.0  # added to popularity; keeps rare items that were seen together once from the top
FOLLOWERS_PRIOR = 10.0  # added to all that followed an item
LIFT_SCALE, SHARE_SCALE = 50.0, 200.0


def features(
    department: Department,
    histories: Sequence[Int64],
    counts: Counts,
    own: Sequence[Int64] | None = None,
) -> Float32:
    """float32 ``[B, L, len(FEATURES)]``.

    Args:
        histories: of the rows, oldest first.
        own: each row's user as counted, to be taken out of ``counts``; None where a row is only
            measured.
    """
    rows, items = len(histories), department.items
    last = np.array([history[-1] for history in histories])
    popularity, followed, shares, repeated = _counted(histories, counts, own)
    inside = np.zeros((rows, items), dtype=np.float32)
    for row, history in enumerate(histories):
        inside[row, history] = 1
    is_last = np.zeros_like(inside)
    is_last[np.arange(rows), last] = 1
    brand = department.brand[last][:, None]
    usual = popularity + np.float32(PRIOR)
    out = np.empty((rows, items, len(FEATURES)), dtype=np.float32)
    values: dict[str, NDArray[np.generic]] = {
        "decayed": decayed(department.unit, histories, TEXT_DECAY),
        "nearest": _nearest(department.likeness, histories),
        "words": _nearest(department.shared_words, histories),
        "brand": (brand == department.brand[None]) & (brand >= 0),
        "in_history": inside - is_last,
        "is_last": is_last,
        "popularity": np.log(usual),
        "repeat": is_last * np.log1p(LIFT_SCALE * repeated[:, None] / usual),
        "lift": np.log1p(LIFT_SCALE * followed / usual),
        "share": np.log1p(SHARE_SCALE * shares),
    }
    for k, name in enumerate(FEATURES):
        out[:, :, k] = values[name]
    return out


def decayed(unit: Float32, histories: Sequence[Int64], decay: float) -> Float32:
    """float32 ``[B, L]``: cosine of each item's text to the mean of the history's.

    Args:
        unit: texts, float32 ``[L, D]``, rows of unit length.
        decay: weight of an item one step further back.
    """
    mean = np.zeros((len(histories), unit.shape[1]), dtype=np.float32)
    for row, history in enumerate(histories):
        weight = decay ** np.arange(len(history) - 1, -1, -1)
        mean[row] = weight.astype(np.float32) @ unit[history]
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)
    return np.asarray(mean @ unit.T, dtype=np.float32)


def _nearest(likeness: Float32, histories: Sequence[Int64]) -> Float32:
    return np.stack([likeness[history].max(axis=0) for history in histories])


def _counted(
    histories: Sequence[Int64], counts: Counts, own: Sequence[Int64] | None
) -> tuple[Float32, Float32, Float32, Float32]:
    """Popularity, pairs with the history and their share, ``[B, L]`` each, and repeats ``[B]``."""
    items = len(counts.popularity)
    repeats = counts.pairs.diagonal()
    others = (counts.pairs - sparse.diags(repeats)).tocsr()
    scale = 1 / (np.asarray(others.sum(axis=1)).ravel() + FOLLOWERS_PRIOR)
    popularity = np.repeat(counts.popularity[None], len(histories), axis=0)
    followed, shares = (np.zeros_like(popularity) for _ in range(2))
    repeated = np.zeros(len(histories), dtype=np.float32)
    for row, history in enumerate(histories):
        recent = history[::-1][: len(LAST_ITEMS)]
        # Of the few items that a row needs, its user's own part is taken out.
        found = others[recent].toarray()
        repeated[row] = repeats[recent[0]]
        if own is not None:
            position, value = user_items(own[row], clip=counts.clipped)
            popularity[row, position] -= value
            position, value = user_pairs(own[row], items, clip=counts.clipped)
            first, second = np.divmod(position, items)
            for place, item in enumerate(recent):
                mine = (first == item) & (second != item)
                found[place, second[mine]] -= value[mine]
            again = (first == recent[0]) & (second == recent[0])
            repeated[row] -= value[again].sum()
        found = np.maximum(found, 0)
        weight = np.array(LAST_ITEMS[: len(recent)])
        followed[row] = weight @ found
        shares[row] = (weight * scale[recent]) @ found
    return np.maximum(popularity, 0), followed, shares, np.maximum(repeated, 0)
