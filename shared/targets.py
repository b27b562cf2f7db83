"""What a forecast is measured against: the weighted actions of the coming window, per label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.histories import Float32, Histories, Int64


def label_weights(h: Histories, at: Int64, window_us: int, labels: int) -> Float32:
    """Summed action weights of each row's events in ``[at, at + window_us)``, per label.

    Args:
        h: histories of ``B`` rows, not cut at ``at``.
        at: int64 ``[B]``, microseconds.
        window_us: length of the window, microseconds.
        labels: number ``L`` of labels; events without a label don't count.

    Returns:
        float32 ``[B, L]``, >= 0: weights of returns and refunds (negative) count as 0.
    """
    coming = h.between(at, np.asarray(at, dtype=np.int64) + window_us)
    counted = (coming.label >= 0) & (coming.weight > 0)
    cell = coming.row()[counted] * labels + coming.label[counted]
    sums = np.bincount(cell, weights=coming.weight[counted], minlength=len(h) * labels)
    return sums.astype(np.float32).reshape(len(h), labels)


def targets(h: Histories, at: Int64, window_us: int, labels: int) -> Float32:
    """:func:`label_weights` normalised: float32 ``[B, L]``, rows sum to 1, or 0 if empty."""
    return normalised(label_weights(h, at, window_us, labels))


def presence_targets(h: Histories, at: Int64, window_us: int, labels: int) -> Float32:
    """Like :func:`targets`, every label with any weight counting the same."""
    present = (label_weights(h, at, window_us, labels) > 0).astype(np.float32)
    return normalised(present)


def normalised(weights: NDArray[np.float32]) -> Float32:
    """Rows scaled to sum 1; rows of zeros stay zeros."""
    total = weights.sum(axis=1, keepdims=True)
    return (weights / np.where(total > 0, total, 1)).astype(np.float32)
