"""Whether a forecast of ten per cent comes true in ten per cent of the cases."""

from __future__ import annotations

import math
from dataclasses import dataclass

from groundswell.shared.metrics import Calibration
from groundswell.simulation.evaluate import ALL
from groundswell.simulation.report_parts.chart import (
    Scale,
    bottom_axis,
    box,
    dot,
    figure,
    left_axis,
    line,
    percent,
    text,
)
from groundswell.simulation.report_parts.facts import Facts
from groundswell.simulation.report_parts.markup import Markup, element, join

_ENOUGH = 100  # pairs below which a bin's share says little; its dot is hollow


@dataclass(frozen=True)
class Bin:
    """One bin of user-label pairs.

    Attributes:
        predicted, actual: mean probability, and mean share that came.
        pairs: number of pairs.
    """

    predicted: float
    actual: float
    pairs: int


def bins(calibration: Calibration) -> list[Bin]:
    """The bins that hold any pair, by rising forecast.

    Args:
        calibration: sums, arrays ``[..., bins]``; leading axes are added up.
    """
    pairs, predicted, actual = (
        values.reshape(-1, values.shape[-1]).sum(axis=0).tolist()
        for values in (calibration.pairs, calibration.predicted, calibration.actual)
    )
    return [
        Bin(p / n, a / n, round(n)) for n, p, a in zip(pairs, predicted, actual, strict=True) if n
    ]


def reliability_section(facts: Facts) -> Markup:
    """The diagram, with the number of pairs of each bin beside it."""
    found = bins(facts.reliability) if facts.reliability is not None else []
    if not found:
        return element("p", "The saved model's probabilities were not measured.")
    return join(
        element(
            "p",
            "A forecast is a share: all labels of a user sum to 1. Where the dots lie on the "
            "diagonal, labels that were given 10 % got 10 % of what the users then did. Dots "
            f"below it are promises not kept, dots above it interest missed. Measured on “{ALL}”, "
            "on windows that the model had not seen.",
        ),
        _diagram(found),
    )


def _diagram(found: list[Bin]) -> Markup:
    side, left, top = 400, 70, 16
    shown = [each for each in found if each.predicted > 0]
    lowest = min(each.predicted for each in shown)
    values = [v for each in shown for v in (each.predicted, each.actual) if v > lowest / 10]
    low = math.floor(math.log10(min(values)) * 2) / 2
    high = min(0.0, math.ceil(math.log10(max(values)) * 2) / 2)
    x = Scale(low, max(high, low + 0.5), left, left + side)
    y = Scale(x.low, x.high, top + side, top)
    floor = top + side
    powers = [float(power) for power in range(math.ceil(x.low), math.floor(x.high) + 1)]
    words = "; ".join(
        f"forecast {percent(each.predicted)}, came {percent(each.actual)} ({each.pairs:,} pairs)"
        for each in found
    )
    return figure(
        "reliability",
        (left + side + 320, floor + 50),
        "Reliability of the saved model's probabilities",
        f"{words}.",
        left_axis(y, left, left + side, _power, ticks=powers),
        bottom_axis(x, floor, top, _power, powers),
        line((x(x.low), y(x.low)), (x(x.high), y(x.high)), "zero"),
        text(left + 12, top + 18, "came more than forecast", "tick", "start"),
        text(left + side - 12, floor - 12, "came less than forecast", "tick", "end"),
        *(_dot(each, x, y) for each in shown),
        *_counts(shown, left + side + 100),
        text(left + side / 2, floor + 40, "share forecast", "tick"),
        caption="Left: the share that came against the share that was forecast, both on "
        "logarithmic scales, in bins of equal ratio; hollow dots rest on fewer than "
        f"{_ENOUGH} user-label pairs, and a dot on the floor means that less came than the scale "
        "shows. Right: the number of pairs in each bin, on a logarithmic scale.",
    )


def _power(exponent: float) -> str:
    return percent(10.0**exponent)


def _dot(each: Bin, x: Scale, y: Scale) -> Markup:
    height = y.clamped(math.log10(each.actual)) if each.actual > 0 else y(y.low)
    shown = f"forecast {percent(each.predicted)}, came {percent(each.actual)}, {each.pairs:,} pairs"
    kind = "hollow ours" if each.pairs < _ENOUGH else "full ours"
    return dot((x.clamped(math.log10(each.predicted)), height), kind, 5, shown)


def _counts(found: list[Bin], left: int) -> list[Markup]:
    most = max(each.pairs for each in found)
    scale = Scale(0, math.log10(most) + 0.3, left, left + 150)
    pitch = min(23.0, 376 / len(found))
    shapes = [text(left, 28, "pairs in each bin", "tick", "start")]
    for index, each in enumerate(reversed(found)):
        y = 40 + pitch * index
        width = max(1.5, scale(math.log10(each.pairs)) - left)
        middle = y + pitch * 0.39 + 4
        shapes += [
            text(left - 8, middle, percent(each.predicted, 2), "tick", "end"),
            box((left, y), width, 0.78 * pitch, "bar other"),
            text(left + width + 6, middle, f"{each.pairs:,}", "tick", "start"),
        ]
    return shapes
