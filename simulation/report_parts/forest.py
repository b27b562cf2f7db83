"""A picture of every model's paired difference to the honest baseline, slice beside slice."""

from __future__ import annotations

from groundswell.shared.results import Paired, Results
from groundswell.simulation.report_parts.chart import (
    Scale,
    bottom_axis,
    dot,
    figure,
    line,
    polyline,
    round_step,
    signed,
    text,
)
from groundswell.simulation.report_parts.markup import Markup, element
from groundswell.simulation.standings import (
    CLEAR,
    HONEST_BASELINE,
    METRIC_NAMES,
    NDCG,
    best_private,
    main_metric,
    slices,
    subject,
)

_ROW, _TOP, _PANEL, _GAP, _NAMES = 26, 46, 170, 24, 240
# Differences beyond this are drawn as arrows: next to them the close ones could not be told apart.
_WIDEST = 0.01
_WIDEST_OWN = 0.05
_NARROWEST = 0.004


def forest(results: Results) -> Markup | None:
    """One panel a slice on one common scale; None where nothing was paired."""
    panels = [(name, _of_slice(results, name)) for name in slices(results)]
    panels = [(name, found) for name, found in panels if found]
    if not panels:
        return None
    order = _order(panels)
    limit = _limit([each for _, found in panels for each in found.values()], subject(results))
    width = _NAMES + len(panels) * (_PANEL + _GAP)
    bottom = _TOP + len(order) * _ROW
    shapes = [
        text(_NAMES - 14, _TOP + _ROW * (index + 0.5) + 4, name, _name_class(results, name), "end")
        for index, name in enumerate(order)
    ]
    for number, (name, found) in enumerate(panels):
        left = _NAMES + number * (_PANEL + _GAP)
        scale = Scale(-limit, limit, left, left + _PANEL)
        shapes.append(_panel(results, name, found, order, scale, bottom))
    return figure(
        "forest",
        (width, bottom + 42),
        f"Difference of each model to {HONEST_BASELINE}",
        _in_words(panels),
        *shapes,
        caption=f"Difference to {HONEST_BASELINE} over the same users (NDCG@10; Recall@5 for "
        "unseen labels): thick bar ±1, thin bar ±2 standard errors. Right of the line the model "
        "is ahead, left of it the baseline. An arrow marks a difference beyond the scale.",
    )


def _of_slice(results: Results, slice_name: str) -> dict[str, Paired]:
    metric = main_metric(slice_name)
    return {
        each.model: each
        for each in results.paired
        if (each.slice, each.metric, each.against) == (slice_name, metric, HONEST_BASELINE)
    }


def _order(panels: list[tuple[str, dict[str, Paired]]]) -> list[str]:
    """Models by their difference on the first slice that has them, the best first."""
    first: dict[str, float] = {}
    for _, found in panels:
        for name, paired in found.items():
            first.setdefault(name, paired.difference)
    return sorted(first, key=lambda name: -first[name])


def _limit(found: list[Paired], ours: str | None) -> float:
    """Half the width of the scale: our own model is on it, unless it is very far off."""
    inside = [_NARROWEST]
    for each in found:
        reach = abs(each.difference) + CLEAR * (each.se or 0.0)
        if reach <= (_WIDEST_OWN if each.model == ours else _WIDEST):
            inside.append(reach)
    return round_step(max(inside))


def _panel(
    results: Results,
    name: str,
    found: dict[str, Paired],
    order: list[str],
    scale: Scale,
    bottom: float,
) -> Markup:
    metric = main_metric(name)
    best = best_private(results, name)
    under = METRIC_NAMES[metric] if metric != NDCG else ""
    middle = (scale.start + scale.end) / 2
    half = scale.high / 2
    return element(
        "g",
        text(middle, 16, name.replace("little_history_", "little_history, "), "heading"),
        text(middle, 32, under, "tick") if under else None,
        bottom_axis(scale, bottom, _TOP, _tick, (-half, half)),
        line((scale(0), _TOP - 6), (scale(0), bottom), "zero"),
        *(
            _mark(
                found[model],
                scale,
                _TOP + _ROW * (index + 0.5),
                "ours" if model in (best, subject(results)) else "other",
            )
            for index, model in enumerate(order)
            if model in found
        ),
    )


def _mark(paired: Paired, scale: Scale, y: float, kind: str) -> Markup:
    at, se = paired.difference, paired.se or 0.0
    shown = f"{paired.model}: {signed(at, paired.se)}"
    if abs(at) > scale.high:
        edge = scale.clamped(at)
        back = edge + (9 if at < 0 else -9)
        return element(
            "g",
            element("title", shown),
            polyline([(back, y - 5), (edge, y), (back, y + 5)], f"arrow {kind}"),
            text(
                back + (5 if at < 0 else -5),
                y + 4,
                signed(at, places=3),
                "value",
                "start" if at < 0 else "end",
            ),
        )
    ends = [(scale.clamped(at - f * se), scale.clamped(at + f * se)) for f in (CLEAR, 1.0)]
    return element(
        "g",
        element("title", shown),
        *(
            line((low, y), (high, y), f"{weight} {kind}")
            for (low, high), weight in zip(ends, ("thin", "thick"), strict=True)
        ),
        dot((scale(at), y), f"full {kind}", 4.0),
    )


def _name_class(results: Results, name: str) -> str:
    return "label strong" if name == subject(results) else "label"


def _tick(value: float) -> str:
    return f"{value:+.3g}".replace("-", "\N{MINUS SIGN}")


def _in_words(panels: list[tuple[str, dict[str, Paired]]]) -> str:
    said = []
    for name, found in panels:
        each = (f"{p.model} {signed(p.difference, p.se)}" for p in found.values())
        said.append(f"{name}: {', '.join(each)}.")
    return " ".join(said)
