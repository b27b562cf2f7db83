"""What public texts say of demand: which labels an occasion or a season is about.

The sentence backbone tells how like a label's text is to an occasion's name and to what a season is
about. One weight for all occasions and one for all seasons is then learned from the weeks so far,
so that an occasion which no site has seen yet, say the first Thanksgiving, already moves turkeys.
Only public texts are read. In the southern half of the world the seasons' weight is negative.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.demand_features import run_up
from groundswell.shared.demand_windows import Windows
from groundswell.shared.task import Occasion

Float64 = NDArray[np.float64]
# Cosines of some texts with every label: ``N`` texts to ``[N, L]``.
Likeness = Callable[[Sequence[str]], NDArray[np.floating]]

_DAYS_A_YEAR = 365.2425
_NEW_YEAR = date(2017, 1, 1)
# Middle of each season, as days after New Year, and what it is about.
SEASONS = (
    (14, "winter: soup, hot chocolate, cough and cold medicine, oatmeal"),
    (104, "spring: garden, allergy medicine, fresh berries"),
    (195, "summer: ice cream, sunscreen, insect repellent, watermelon, cold drinks, charcoal"),
    (287, "autumn: apples, pumpkin, soup, baking ingredients"),
)
_BETWEEN_PHRASES = re.compile(r"[:,;]")


def themes(calendar: tuple[Occasion, ...], windows: Windows, likeness: Likeness) -> Float64:
    """float64 ``[2, L, W]``: by label and window, what occasions and what seasons are about it.

    Each is a sum over occasions (seasons) of the label's likeness, in standard deviations over all
    labels, times how far the window is in the run-up (in the season, from -1 to 1).

    Args:
        calendar: a name may list what its occasion is about: "Thanksgiving: turkey, cranberries".
        likeness: of the catalogue's texts.
    """
    occasions = {(each.date, each.name): each for each in calendar}.values()
    names = sorted({each.name for each in occasions})
    near = _near([*names, *(about for _, about in SEASONS)], likeness)
    exposure = np.zeros((len(names), windows.number))
    for each in occasions:
        exposure[names.index(each.name)] += run_up((each,), windows)[0]
    day = np.array([(middle - _NEW_YEAR).days for middle in windows.middles()])
    wave = np.stack([np.cos(2 * math.pi * (day - peak) / _DAYS_A_YEAR) for peak, _ in SEASONS])
    split = len(names)
    return np.stack([near[:split].T @ exposure, near[split:].T @ wave])


def phrases(name: str) -> tuple[str, ...]:
    """The parts of a name that are compared one by one."""
    parts = tuple(part.strip() for part in _BETWEEN_PHRASES.split(name))
    return tuple(part for part in parts if part) or (name,)


def _near(names: Sequence[str], likeness: Likeness) -> Float64:
    """float64 ``[N, L]``: likeness to the nearest phrase of each name."""
    texts = sorted({phrase for name in names for phrase in phrases(name)})
    standard = _standard(np.asarray(likeness(texts), dtype=np.float64))
    rows = [[texts.index(phrase) for phrase in phrases(name)] for name in names]
    return _standard(np.stack([standard[row].max(axis=0) for row in rows]))


def _standard(values: Float64) -> Float64:
    """Each row less its mean, over its spread; 0 where all labels are alike."""
    spread = values.std(axis=1, keepdims=True)
    away = values - values.mean(axis=1, keepdims=True)
    return np.where(spread > 1e-9, away / np.maximum(spread, 1e-9), 0.0)
