"""One user's forecast: what rises and fades for them, and what they then did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from groundswell.shared.checkpoint import load
from groundswell.shared.histories import Float32, Histories, Int64
from groundswell.shared.predict import FADING, RISING, Forecaster
from groundswell.shared.targets import label_weights
from groundswell.simulation.report_parts.chart import (
    Scale,
    bottom_axis,
    dot,
    figure,
    line,
    percent,
    text,
)
from groundswell.simulation.report_parts.markup import Markup, element, join
from groundswell.simulation.setting import Setting

SHOWN = 7  # labels of each direction


@dataclass(frozen=True)
class Change:
    """A label whose share of a user's interest moves.

    Attributes:
        long_term: the user's own long-term share.
        forecast: the model's probability for the coming window.
        came: the user acted on the label in that window.
    """

    label: str
    long_term: float
    forecast: float
    came: bool

    @property
    def lift(self) -> float:
        """Forecast over the long-term share."""
        return self.forecast / max(self.long_term, 1e-12)


@dataclass(frozen=True)
class Example:
    """A user as of one time.

    Attributes:
        site: the user's site; ``events``: their events before ``at`` (microseconds).
        rising, fading: the labels that move most, the largest move first.
    """

    site: str
    at: int
    events: int
    rising: tuple[Change, ...]
    fading: tuple[Change, ...]


def example_user(setting: Setting, model_folder: Path) -> Example | None:
    """Forecast for a user of middling history by the saved model; None where nobody was measured.

    The choice looks at the length of histories alone, never at how well the forecast does.
    """
    if not len(setting.measured):
        return None
    at = int(setting.measured.at.min())
    rows = setting.measured.row[setting.measured.at == at]
    whole = setting.sites.pooled.histories.take(rows)
    known = whole.before(np.full(len(rows), at, dtype=np.int64))
    lengths = np.diff(known.offsets)
    chosen = int(np.argsort(lengths, kind="stable")[len(lengths) // 2])
    when = np.array([at], dtype=np.int64)
    # The backbone in hand, not the manifest's: that one names it as the public knows it, which is
    # no help where it was read from a folder.
    forecaster = Forecaster(load(model_folder, setting.backbone), setting.backbone)
    labels = forecaster.checkpoint.catalogue.labels
    own, texts = _own_texts(known.take([chosen]), setting.sites.pooled.texts, len(labels))
    forecast = forecaster.probabilities(own, when, texts)[0]
    long_term = forecaster.long_term(own, when)[0]
    coming = label_weights(
        whole.take([chosen]), when, forecaster.checkpoint.task.window_us, len(labels)
    )[0]
    site = setting.sites.names[int(setting.sites.owner[rows[chosen]])]
    rising, fading = changes(labels, long_term, forecast, coming > 0)
    return Example(site, at, int(lengths[chosen]), rising, fading)


def changes(
    labels: tuple[str, ...],
    long_term: Float32,
    forecast: Float32,
    came: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """Rising and fading labels, those first whose share moves most.

    By the move and not by the lift, or labels that hardly matter would fill the picture.
    """
    moved = forecast.astype(np.float64) - long_term
    lift = forecast / np.maximum(long_term, 1e-12)

    def chosen(order: Int64, inside: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[int]:
        return [int(index) for index in order if inside[index]][:SHOWN]

    def named(found: list[int]) -> tuple[Change, ...]:
        return tuple(
            Change(labels[i], float(long_term[i]), float(forecast[i]), bool(came[i])) for i in found
        )

    falling = np.argsort(-moved, kind="stable")
    return named(chosen(falling, lift > RISING)), named(chosen(falling[::-1], lift < FADING))


def example_section(example: Example | None, when: str, window: str) -> Markup:
    """The figure, with the words around it.

    Args:
        when: the forecast's time in words; ``window``: its length in words.
    """
    if example is None:
        return element("p", "Nobody was measured, so there is no user to show.")
    parts = [
        element(
            "p",
            f"One user of site {example.site} with {example.events:,} earlier events: the middle "
            f"history of all measured on {when}, not the prettiest. The hollow dot is the "
            f"user's own long-term share, the full dot the saved model's forecast for the "
            f"{window} that follow. A label rises above {RISING:g} times the long-term share and "
            f"fades below {FADING:g} times.",
        ),
    ]
    if example.rising or example.fading:
        parts.append(_dumbbells(example, window))
    else:
        parts.append(element("p", "Nothing rises or fades for this user."))
    parts.append(
        element(
            "p",
            "This is one person's behaviour. It can be drawn because a simulation holds all data; "
            "share the file accordingly. In a deployment such a forecast stays at the user's own "
            "site.",
            class_="note",
        )
    )
    return join(*parts)


def _dumbbells(example: Example, window: str) -> Markup:
    height_of_row, left, right, top = 26, 250, 640, 34
    moves = [*example.rising, *example.fading]
    high = max(max(each.long_term, each.forecast) for each in moves)
    scale = Scale(0.0, 1.08 * high, left, right)
    groups = [("Rising", "up", example.rising), ("Fading", "down", example.fading)]
    shapes, y = [], float(top)
    rows_height = len(moves) * height_of_row + 30 * sum(1 for g in groups if g[2])
    bottom = top + rows_height - 8
    shapes.append(bottom_axis(scale, bottom, top - 10, percent))
    for name, kind, found in groups:
        if not found:
            continue
        shapes.append(text(left - 12, y + 4, name, f"heading {kind}", "end"))
        y += 26
        for each in found:
            shapes.append(_dumbbell(each, kind, scale, y))
            y += height_of_row
        y += 4
    words = "; ".join(
        f"{each.label} {percent(each.long_term)} to {percent(each.forecast)}" for each in moves
    )
    return figure(
        "example",
        (780, bottom + 30),
        "Rising and fading labels of an example user",
        f"Long-term share and forecast share: {words}.",
        *shapes,
        caption=f"Share of the user's interest. “came” marks labels that the user did act on in "
        f"the {window} that followed, which the model had not seen.",
    )


def _dumbbell(each: Change, kind: str, scale: Scale, y: float) -> Markup:
    start, end = scale(each.long_term), scale(each.forecast)
    label = each.label if len(each.label) <= 28 else f"{each.label[:27]}…"
    beside = f"×{each.lift:.2g}" + ("  came" if each.came else "")
    return element(
        "g",
        element("title", f"{each.label}: {percent(each.long_term)} to {percent(each.forecast)}"),
        text(scale.start - 12, y + 4, label, "label", "end"),
        line((start, y), (end, y), f"stem {kind}"),
        dot((start, y), f"hollow {kind}", 4),
        dot((end, y), f"full {kind}", 5.5),
        text(max(start, end) + 12, y + 4, beside, "value came" if each.came else "value", "start"),
    )


def _own_texts(
    h: Histories, texts: tuple[str, ...], labels: int
) -> tuple[Histories, tuple[str, ...]]:
    """The same histories with only their own further texts, so that no other need be encoded."""
    further = h.token >= labels
    used, place = np.unique(h.token[further], return_inverse=True)
    token = h.token.copy()
    token[further] = labels + place
    return replace(h, token=token), tuple(texts[index - labels] for index in used.tolist())
