"""What the report's figures are drawn with: scales, marks and axes as SVG.

Colours and type come from the style sheet through classes, so that a figure follows the page into
dark mode and onto paper. Coordinates are pixels of the figure's own box, y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from groundswell.simulation.report_parts.markup import Markup, element, join, number

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """A linear map from values ``low``..``high`` to pixels ``start``..``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return self.start + share * (self.end - self.start)

    def clamped(self, value: float) -> float:
        """The pixel of a value, kept inside the scale."""
        return self(min(max(value, self.low), self.high))

    def ticks(self, about: int = 5) -> list[float]:
        """Round values inside the scale, ``about`` as many as asked for."""
        step = round_step((self.high - self.low) / max(1, about))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def round_step(least: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is not below ``least``; 1 for 0."""
    if not least > 0 or not math.isfinite(least):
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(f * power for f in (1.0, 2.0, 5.0, 10.0) if f * power >= least * (1 - 1e-9))


def plain(value: float) -> str:
    """A tick's value with as many digits as it needs."""
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:.2g}"


def percent(value: float, digits: int = 3) -> str:
    """``12.3 %`` with so many significant digits; what is below 1 is never rounded to 100 %."""
    shown = f"{100 * value:.{digits}g}"
    if shown == "100" and value < 1:
        return percent(value, digits + 1)
    return f"{shown} %"


def signed(difference: float, se: float | None = None, places: int = 4) -> str:
    """``+0.0002 ± 0.0010``, with a true minus sign."""
    error = "" if se is None else f" ± {se:.{places}f}"
    return f"{difference:+.{places}f}{error}".replace("-", "\N{MINUS SIGN}")


def text(x: float, y: float, content: str, class_: str = "", anchor: str = "middle") -> Markup:
    """A line of text; ``anchor`` is start, middle or end."""
    return element("text", content, x=x, y=y, text_anchor=anchor, class_=class_ or None)


def line(start: Point, end: Point, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)


def polyline(points: Iterable[Point], class_: str) -> Markup:
    """Straight lines from point to point."""
    where = " ".join(f"{number(x)},{number(y)}" for x, y in points)
    return element("polyline", points=where, class_=class_)


def dot(at: Point, class_: str, radius: float = 4.5, title: str | None = None) -> Markup:
    """A disc; ``title`` shows under the pointer."""
    hint = element("title", title) if title else None
    return element("circle", hint, cx=at[0], cy=at[1], r=radius, class_=class_)


def box(corner: Point, width: float, height: float, class_: str, title: str = "") -> Markup:
    """A rectangle from its upper left corner; ``title`` shows under the pointer."""
    hint = element("title", title) if title else None
    return element(
        "rect",
        hint,
        x=corner[0],
        y=corner[1],
        width=max(0.0, width),
        height=max(0.0, height),
        class_=class_,
    )


def left_axis(
    scale: Scale,
    x: float,
    right: float,
    shown: Callable[[float], str] = plain,
    ticks: Sequence[float] | None = None,
) -> Markup:
    """Values down the left side, a faint line across to ``right`` at each."""
    return join(
        *(
            join(
                line((x, scale(tick)), (right, scale(tick)), "grid"),
                text(x - 8, scale(tick) + 4, shown(tick), "tick", "end"),
            )
            for tick in (scale.ticks() if ticks is None else ticks)
        )
    )


def bottom_axis(
    scale: Scale,
    y: float,
    top: float | None = None,
    shown: Callable[[float], str] = plain,
    ticks: Sequence[float] | None = None,
) -> Markup:
    """Values along the bottom, a faint line up to ``top`` at each where it is given."""
    found = scale.ticks() if ticks is None else ticks
    return join(
        line((scale.start, y), (scale.end, y), "axis"),
        *(
            join(
                line((scale(tick), top), (scale(tick), y), "grid") if top is not None else None,
                line((scale(tick), y), (scale(tick), y + 4), "axis"),
                text(scale(tick), y + 18, shown(tick), "tick"),
            )
            for tick in found
        ),
    )


def round_ticks(rounds: int) -> list[float]:
    """The first and the last round and round numbers between, none too close to the last."""
    step = round_step(max(1.0, rounds / 8))
    between = [step * n for n in range(1, int(rounds // step) + 1)]
    kept = [tick for tick in between if tick > 1 + step / 2 and tick <= rounds - step / 2]
    return [1.0, *kept, float(rounds)] if rounds > 1 else [1.0]


def figure(
    name: str,
    size: tuple[int, int],
    title: str,
    description: str,
    *shapes: str | None,
    caption: str | None = None,
) -> Markup:
    """A figure with a title and a description for those who can't see it.

    Args:
        name: unique in the page.
        size: width and height of the drawing.
        description: what the picture shows, figures included.
        caption: below the figure; default: none.
    """
    svg = element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *shapes,
        viewBox=f"0 0 {size[0]} {size[1]}",
        style=f"max-width:{size[0]}px",
        role="img",
        aria_labelledby=f"{name}-title",
        aria_describedby=f"{name}-desc",
    )
    return element(
        "figure",
        element("div", svg, class_="wide"),
        element("figcaption", caption) if caption else None,
        id=name,
    )
