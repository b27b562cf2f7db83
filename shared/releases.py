"""What a site releases, as events: an accountant only interprets them.

Protected unit: all of one user's events at one site; neighbours differ by adding or removing one
user. Every release is a Poisson-subsampled Gaussian of integer vectors (design section 3), so its
privacy depends on the noise multiplier and the sampling rate alone; the other fields say which
vector it was, and let policy and ledger refuse one whose sensitivity was not what it claims.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["PoissonGaussian", "Release", "colluding_sites"]


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


@dataclass(frozen=True, slots=True)
class Release:
    """One release of one kind, as the plan fixes it and the ledger charges it.

    Attributes:
        kind: ``gradient``, ``evaluation``, or the name of a statistic.
        noise_multiplier: sigma_L, the standard deviation of one site's noise over ``scale``.
        sampling_rate: q of the Poisson sample of users.
        clip_norm: C, the L2 bound of one user's vector before scaling.
        scale: Delta, the L2 bound of one user's integer vector.
        dimension: coordinates of the released vector.
        max_nonzero: m, most non-zero coordinates of one user's vector.
    """

    kind: str
    noise_multiplier: float
    sampling_rate: float
    clip_norm: float
    scale: int
    dimension: int
    max_nonzero: int

    @property
    def standard_deviation(self) -> float:
        """Standard deviation s of one site's integer noise, per coordinate."""
        return self.noise_multiplier * self.scale


def colluding_sites(merchants: Collection[str], colluding_merchants: int) -> int:
    """Sites that the ``colluding_merchants`` largest merchants have in a set of sites.

    A merchant may enrol several sites; it is merchants that collude, and the noise of all their
    sites is lost (design section 2).

    Args:
        merchants: the merchant of each site in the set, one entry a site.
        colluding_merchants: how many merchants are assumed to collude.
    """
    sizes: dict[str, int] = {}
    for merchant in merchants:
        sizes[merchant] = sizes.get(merchant, 0) + 1
    return sum(sorted(sizes.values(), reverse=True)[: max(0, colluding_merchants)])
