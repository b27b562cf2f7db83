"""A trained model on labels that it was not trained on: their statistics from similar labels.

What a known label's statistics are, they stay. A label that no release covered gets the prior that
text, group and size give it; see ``smoothing``. Nothing here touches users' data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.histories import Float32
from groundswell.shared.smoothing import (
    LEAST,
    MOST,
    RATE_NUGGET,
    TEXT_IN_RATES,
    popularity_kernel,
    similarity,
    smooth,
    with_features,
)
from groundswell.shared.statistic_kind import Statistics
from groundswell.shared.transitions import of_other_labels

KNOWN = 0.1  # relative error with which a released, smoothed figure is taken
NEIGHBOURS = 5  # labels whose associations an unseen label takes over
LENT = 0.5  # share of a neighbour's association that carries over


def extended_statistics(
    statistics: Statistics, known: Catalogue, wanted: Catalogue, embeddings: Float32
) -> dict[str, Float32]:
    """Statistics for the labels of ``wanted``.

    Args:
        statistics: released for the labels of ``known``.
        embeddings: text embeddings of the labels of ``wanted``, ``[L, D]``, rows of unit length.
    """
    source = np.array([known.index.get(label, -1) for label in wanted.labels])
    seen = source >= 0
    if seen.all() and len(known) == len(wanted):
        return dict(statistics)
    kernel = similarity(embeddings, wanted)
    extended: dict[str, Float32] = {}
    if "popularity" not in statistics:
        return extended
    popularity = _filled(
        statistics["popularity"], source, popularity_kernel(embeddings, wanted), None
    )
    extended["popularity"] = popularity.astype(np.float32)
    if "h5" in statistics:
        text = with_features(TEXT_IN_RATES * kernel, [np.log(popularity)])
        rates = [_filled(level, source, text, RATE_NUGGET) for level in statistics["h5"].T]
        extended["h5"] = np.clip(np.stack(rates, axis=1), LEAST, MOST).astype(np.float32)
    if "pairs" in statistics:
        weights = np.where(seen[:, None], 0.0, _nearest(kernel, seen))
        factor = np.where(seen[:, None], statistics["pairs"][source], 0.0)
        extended["pairs"] = (factor + LENT * weights @ factor).astype(np.float32)
        own = statistics["pairs_popularity"][source]
        extended["pairs_popularity"] = np.where(seen, own, popularity).astype(np.float32)
    return extended | of_other_labels(statistics, source, len(known))


def _filled(
    values: NDArray[np.floating],
    source: NDArray[np.int64],
    kernel: NDArray[np.float64],
    nugget: float | None,
) -> NDArray[np.float64]:
    """Known values as they are, the others' posterior means, ``[L]``."""
    seen = source >= 0
    own = np.where(seen, np.maximum(values[source].astype(np.float64), LEAST), 0.0)
    deviation = np.where(seen, KNOWN * own, np.inf)
    posterior = smooth(own, deviation, kernel, **({} if nugget is None else {"nugget": nugget}))
    return np.where(seen, own, posterior.mean)


def _nearest(kernel: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``[L, L]``: rows spread over the most similar known labels, by similarity, sum 1 or 0."""
    near = np.where(seen[None, :], np.maximum(kernel, 0.0), 0.0)
    np.fill_diagonal(near, 0.0)
    count = min(NEIGHBOURS, near.shape[1])
    least = np.sort(near, axis=1)[:, -count][:, None]
    near = np.where(near >= least, near, 0.0)
    total = near.sum(axis=1, keepdims=True)
    return np.asarray(near / np.where(total > 0, total, 1.0))
