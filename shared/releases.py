"""What a site releases, as events: an accountant only interprets them.

Protected unit: all of one user's events at one site; neighbours differ by adding or removing one
user. Every release is a Poisson-subsampled Gaussian of integer vectors (docs/privacy.md), so what
it costs depends on its noise multiplier and its sampling rate alone. What was released, and with
which bounds, stands in the plan's ``PlannedRelease`` and in the ledger's rows.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PoissonGaussian"]


@dataclass(frozen=True, slots=True)
class PoissonGaussian:
    """A Gaussian of standard deviation sigma times the sensitivity, on a Poisson sample.

    Attributes:
        sigma: noise multiplier, the noise's standard deviation over the L2 sensitivity.
        q: probability with which each user enters the sample, independently.
        count: how often it was made.
    """

    sigma: float
    q: float
    count: int = 1
