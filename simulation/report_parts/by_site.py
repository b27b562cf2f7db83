"""How well each site is served; only a simulation, which holds all data, can draw this."""

from __future__ import annotations

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


def by_site_section(by_site: Mapping[str, Groups]) -> Markup:
    """Bars of the first model, with the other models as marks on the same line."""
    if not by_site or not next(iter(by_site.values())):
        return element("p", "No site was measured.")
    ours, *others = by_site
    sites = by_site[ours]
    lowest = min(sites, key=lambda name: sites[name][0])
    highest = max(sites, key=lambda name: sites[name][0])
    return join(
        element(
            "p",
            f"Simulation only: in a deployment nobody sees these figures, because a site's score "
            f"would be a release of its own. {ours} serves site {highest} best "
            f"({sites[highest][0]:.3f}) and site {lowest} least ({sites[lowest][0]:.3f}); most of "
            "that comes from how regularly their users shop, as the baseline shows.",
        ),
        _bars(ours, sites, {name: by_site[name] for name in others}),
    )


def _bars(ours: str, sites: Groups, others: Mapping[str, Groups]) -> Markup:
    ends = [mean + (0 if se != se else se) for mean, se, _ in sites.values()]
    ends += [mean for groups in others.values() for mean, _, _ in groups.values()]
    scale = Scale(0, 1.08 * max(ends), _LEFT, _RIGHT)
    bottom = _TOP + _ROW * len(sites) + 4
    kinds = dict(zip(others, ("theirs", "other"), strict=False))
    shapes = [_legend(ours, kinds), bottom_axis(scale, bottom, _TOP)]
    for index, (name, (mean, se, rows)) in enumerate(sites.items()):
        y = _TOP + _ROW * index + 4
        middle = y + 10
        shown = name if len(name) <= 18 else f"{name[:17]}…"
        shapes += [
            text(_LEFT - 10, middle + 4, shown, "label", "end"),
            box(
                (_LEFT, y),
                scale(mean) - _LEFT,
                20,
                "bar ours",
                f"{name}: {mean:.4f} ± {se:.4f}, {rows:,} forecasts",
            ),
        ]
        if se == se:
            shapes.append(line((scale(mean - se), middle), (scale(mean + se), middle), "onbarline"))
        shapes += [
            _tick(scale(groups[name][0]), y, kinds[model], f"{model}: {groups[name][0]:.4f}")
            for model, groups in others.items()
            if name in groups and model in kinds
        ]
        shapes.append(
            text(_RIGHT + 12, middle + 4, f"{mean:.3f}   {rows:,} rows", "value", "start")
        )
    words = "; ".join(f"{name} {mean:.4f} ± {se:.4f}" for name, (mean, se, _) in sites.items())
    return figure(
        "sites",
        (790, bottom + 30),
        f"NDCG@10 of {ours} at each site",
        f"{words}.",
        *shapes,
        caption="NDCG@10 on all labels, ±1 standard error over the site's users, with the "
        "number of forecasts.",
    )


def _tick(x: float, y: float, kind: str, title: str) -> Markup:
    return element("g", element("title", title), dot((x, y + 10), f"hollow {kind} onbar", 5))


def _legend(ours: str, kinds: Mapping[str, str]) -> Markup:
    x = float(_LEFT)
    shapes = [box((x, 8), 14, 12, "bar ours"), text(x + 20, 18, ours, "tick", "start")]
    x += 40 + 7 * len(ours)
    for model, kind in kinds.items():
        shapes += [dot((x, 14), f"hollow {kind}", 5), text(x + 12, 18, model, "tick", "start")]
        x += 40 + 7 * len(model)
    return join(*shapes)
