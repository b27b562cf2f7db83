"""The integer scale of a release: how real vectors become integers and a sum becomes real again.

Planner, site and coordinator must agree on these two formulas, so they stand here alone. Source:
design section 3, steps 4 to 6.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.errors import InputError

# A clipped vector is scaled to at most FILL * scale; the rest is room for rounding, so that the
# integer vector's norm is at most scale for certain.
FILL = 0.999

LEAST_DEVIATION = 1e4
LARGEST_DEVIATION = 1e7
# Keeps a block of squares and a sum over 2^32 users inside int64.
LARGEST_SCALE = 2**30


def scale(sigma_l: float, max_nonzero: int) -> int:
    """Delta, the L2 bound of one user's integer vector.

    The least power of two with ``Delta >= 1000 sqrt(m)`` and ``sigma_l * Delta >= 1e4``, which is
    2^ceil(log2(max(1000 sqrt(m), 1e4 / sigma_l))). Both comparisons are exact (a power of two times
    a float64 has no rounding error), so the lower end of the range for s = sigma_l * Delta always
    holds and Delta never has to be raised. The upper end can fail only where sigma_l is so large
    for the m that 1000 sqrt(m) asks for that s > 1e7; a smaller Delta would break the bound on
    rounding, hence the error.

    Args:
        sigma_l: noise multiplier of one site, the noise's standard deviation over Delta.
        max_nonzero: m, the most non-zero coordinates of one user's vector.

    Raises:
        InputError: no Delta keeps s in [1e4, 1e7], or Delta would leave the exact integers.
    """
    if not (math.isfinite(sigma_l) and sigma_l > 0):
        raise InputError(
            "noise_multiplier", sigma_l, "must be finite and positive", "raise the epsilon cap"
        )
    if max_nonzero < 1:
        raise InputError("max_nonzero", max_nonzero, "must be at least 1", "give the cap of a user")
    delta = 1
    while delta * delta < 1_000_000 * max_nonzero or delta * sigma_l < LEAST_DEVIATION:
        delta *= 2
        if delta > LARGEST_SCALE:
            raise InputError(
                "noise_multiplier",
                sigma_l,
                f"needs an integer scale above 2^30 for {max_nonzero} non-zero coordinates",
                "lower the epsilon cap or the non-zero coordinates of a user",
            )
    if delta * sigma_l > LARGEST_DEVIATION:
        raise InputError(
            "noise_multiplier",
            sigma_l,
            f"noise of {delta * sigma_l:.3g} at {max_nonzero} non-zero coordinates is above "
            f"{LARGEST_DEVIATION:.0e}, where 64-bit sampling is no longer covered",
            "lower max_nonzero or raise the epsilon cap",
        )
    return delta


def decode(total: NDArray[np.int64], clip_norm: float, scale: int) -> NDArray[np.float64]:
    """The real-valued sum of clipped vectors (with its noise) behind an integer sum.

    Args:
        total: int64 ``[d]``, the unmasked sum over sites.
        clip_norm: C.
        scale: Delta.
    """
    return total.astype(np.float64) * (clip_norm / (FILL * scale))
