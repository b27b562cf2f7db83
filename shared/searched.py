"""What a search is about: the label whose text is most like the words, where they come near enough.

A search has words and mostly no label. Its label follows from those words, the public catalogue and
the public backbone alone, so nobody else's events can move it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.histories import Float32, Histories

NEAR = 0.4  # cosine from which words are taken for a label
_UNIT = 2**15
_TEXTS_AT_ONCE = 1024


def nearest_labels(texts: Float32, labels: Float32) -> NDArray[np.int32]:
    """int32 ``[n]``: the nearest label of each text, -1 where none is near.

    Embeddings are rounded to whole numbers first. Their products add up exactly in float64, in
    whatever order: a text's label does not depend on what is computed beside it.

    Args:
        texts: float32 ``[n, D]``; labels: float32 ``[L, D]``; rows of unit length.
    """
    whole = np.rint(labels.astype(np.float64) * _UNIT)
    found = np.full(len(texts), -1, dtype=np.int32)
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        block = np.rint(texts[start : start + _TEXTS_AT_ONCE].astype(np.float64) * _UNIT)
        cosine = block @ whole.T / _UNIT**2
        best = cosine.argmax(axis=1)
        near = cosine[np.arange(len(block)), best] >= NEAR
        found[start : start + len(block)] = np.where(near, best, -1)
    return found


def with_labels_of_texts(h: Histories, nearest: NDArray[np.int32], labels: int) -> Histories:
    """The same events, those without a label having that of their text, if it has one.

    What an event weighs in the target stays: nothing, where the catalogue did not know it.

    Args:
        nearest: of each text that tokens from ``labels`` on stand for, see ``nearest_labels``.
    """
    worded = np.flatnonzero((h.label < 0) & (h.token >= labels))
    label = h.label.copy()
    label[worded] = nearest[h.token[worded] - labels]
    return replace(h, label=label)
