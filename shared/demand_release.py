"""Demand of past windows by label: what the federation released, or a site's own exact counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_EMPTY_DEVIATIONS = 4.0  # a window this close to nothing holds noise alone


@dataclass(frozen=True)
class DemandRelease:
    """Demand of past windows.

    Attributes:
        values: float64 ``[L, W]``, oldest first.
        noise: standard deviation of the noise on each value, 0 for exact counts.
        as_of: where the last window ends (microseconds).
    """

    values: Float64
    noise: float
    as_of: int

    @classmethod
    def trimmed(cls, values: Float64, noise: float, as_of: int) -> DemandRelease:
        """Without leading windows whose total can't be told from nothing."""
        total = values.sum(axis=0)
        heard = np.flatnonzero(np.abs(total) > _EMPTY_DEVIATIONS * noise * len(values) ** 0.5)
        first = int(heard[0]) if len(heard) else values.shape[1]
        return cls(values[:, first:], noise, as_of)
