"""How well each site is served; only a simulation, which holds all data, can draw this."""

from __future__ import annotations

import math
from collections.abc import Mapping

from groundswell.simulation.report_parts.chart import (
    Scale,
    bottom_axis,
    box,
    dot,
    figure,
    line,
    text,
)
from groundswell.simulation.report_parts.facts import Groups
from groundswell.simulation.report_parts.markup import Markup, element, join

_ROW, _TOP, _LEFT, _RIGHT = 28, 34, 150, 640
_LONGEST = 18  # letters of a site's name that fit beside its bar


def by_site_section(by_site: Mapping[str, Groups]) -> Markup:
    """Bars of the first model, with the other models as marks on the same line."""
    if not by_site or not next(iter(by_site.values())):
        return element("p", "No site was measured.")
    ours, *others = by_site
    sites = by_site[ours]
    lowest = min(sites, key=lambda name: sites[name][0])
    highest = max(sites, key=lambda name: sites[name][0])
    compared = (
        f"{ours} has the higher mean than {other} at {_higher(sites, by_site[other])} of "
        f"{len(sites)} sites."
        for other in others
    )
    return join(
        element(
            "p",
            f"Simulation only: in a deployment nobody sees these figures, because a site's score "
            f"would be a release of its own. {ours} does best at {highest} "
            f"({sites[highest][0]:.3f}) and least well at {lowest} ({sites[lowest][0]:.3f}). ",
            " ".join(compared),
        ),
        _bars(ours, sites, {name: by_site[name] for name in others}),
    )


def _higher(ours: Groups, theirs: Groups) -> int:
    """Sites at which the mean of ours is above theirs."""
    return sum(1 for name in ours if name in theirs and ours[name][0] > theirs[name][0])


def _bars(ours: str, sites: Groups, others: Mapping[str, Groups]) -> Markup:
    ends = [mean + (0.0 if math.isnan(se) else se) for mean, se, _ in sites.values()]
    ends += [mean for groups in others.values() for mean, _, _ in groups.values()]
    scale = Scale(0, 1.06 * (max(ends) or 1.0), _LEFT, _RIGHT)
    bottom = _TOP + _ROW * len(sites) + 4
    kinds = dict(zip(others, ("theirs", "other"), strict=False))
    shapes = [_legend(ours, kinds), bottom_axis(scale, bottom, _TOP)]
    for index, (name, figures) in enumerate(sites.items()):
        y = float(_TOP + _ROW * index + 4)
        shapes.append(_bar(name, figures, scale, y))
        shapes += [
            _mark(scale(groups[name][0]), y, kinds[model], f"{model}: {groups[name][0]:.4f}")
            for model, groups in others.items()
            if name in groups and model in kinds
        ]
    words = "; ".join(f"{name} {mean:.4f} ± {se:.4f}" for name, (mean, se, _) in sites.items())
    return figure(
        "sites",
        (800, bottom + 30),
        f"NDCG@10 of {ours} at each site",
        f"{words}.",
        *shapes,
        caption="NDCG@10 on all labels, ±1 standard error over the site's users; on the right the "
        "mean and the number of forecasts.",
    )


def _bar(name: str, figures: tuple[float, float, int], scale: Scale, y: float) -> Markup:
    mean, se, rows = figures
    middle = y + 10
    shown = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    whisker = None
    if not math.isnan(se):
        whisker = line((scale(mean - se), middle), (scale(mean + se), middle), "thick ours")
    return join(
        text(_LEFT - 10, middle + 4, shown, "label", "end"),
        box((_LEFT, y), scale(mean) - _LEFT, 20, "bar pale ours", f"{name}: {mean:.4f} ± {se:.4f}"),
        whisker,
        dot((scale(mean), middle), "full ours"),
        text(_RIGHT + 58, middle + 4, f"{mean:.3f}", "value strong", "end"),
        text(_RIGHT + 150, middle + 4, f"{rows:,} rows", "value", "end"),
    )


def _mark(x: float, y: float, kind: str, title: str) -> Markup:
    return element("g", element("title", title), line((x, y - 2), (x, y + 22), f"mark {kind}"))


def _legend(ours: str, kinds: Mapping[str, str]) -> Markup:
    x = float(_LEFT)
    shapes = [box((x, 8), 14, 12, "bar pale ours"), dot((x + 14, 14), "full ours")]
    shapes += [text(x + 24, 18, ours, "tick", "start")]
    x += 48 + 7 * len(ours)
    for model, kind in kinds.items():
        shapes += [line((x, 6), (x, 22), f"mark {kind}"), text(x + 8, 18, model, "tick", "start")]
        x += 40 + 7 * len(model)
    return join(*shapes)
