"""The table of all models on all slices, and where a baseline is ahead."""

from __future__ import annotations

from groundswell.shared.results import Metric, Results, Row
from groundswell.simulation.report_parts.markup import Markup, element, join
from groundswell.simulation.standings import (
    HONEST_BASELINE,
    METRIC_NAMES,
    NDCG,
    RECALL,
    best_private,
    main_metric,
    ranked,
    slices,
)
from groundswell.simulation.tables import NOT_MEASURED, signed

SLICE_WORDS = {
    "all": "every user with a purchase before the week and one in it; all labels are ranked",
    "fluctuation": "only labels that the user did not buy in the 28 days before: change of interest",
    "little_history": "users are seen through their last 5 baskets alone",
    "little_history_fluctuation": "both at once: last 5 baskets, labels not bought lately",
    "unseen_labels": "labels held out of all training, ranked among those the user never bought",
}


def standings_table(results: Results) -> Markup:
    """One table for each slice, the best model first."""
    return join(*(_slice(results, name) for name in slices(results)))


def _slice(results: Results, slice_name: str) -> Markup:
    metric = main_metric(slice_name)
    headings = ["Model", METRIC_NAMES[metric]]
    if metric == NDCG:
        headings += ["Recall@10", "MRR", "Top 1", "Log loss", "ECE"]
    headings.append(f"Against {HONEST_BASELINE}")
    rows = [_row(results, row, metric) for row in ranked(results, slice_name)]
    words = SLICE_WORDS.get(slice_name, "")
    return element(
        "div",
        element(
            "table",
            element(
                "caption",
                element("b", slice_name),
                f" {words}",
            ),
            element("thead", element("tr", *(element("th", h, scope="col") for h in headings))),
            element("tbody", *rows),
        ),
        class_="wide",
    )


def _row(results: Results, row: Row, metric: str) -> Markup:
    mark, kind = "", None
    if row.model == best_private(results, row.slice):
        mark, kind = "best private", "best"
    elif row.model == HONEST_BASELINE:
        mark, kind = "honest baseline", "honest"
    tag = element("span", mark, class_="tag") if mark else None
    names = [metric]
    if metric == NDCG:
        names += [RECALL, "mrr", "top1", "log_loss", "ece"]
    paired = results.difference(row.model, row.slice, metric, HONEST_BASELINE)
    difference = NOT_MEASURED if paired is None else signed(paired.difference, paired.se)
    return element(
        "tr",
        element("th", row.model, " ", tag, scope="row"),
        *(element("td", _figure(row.metrics.get(name), name == metric)) for name in names),
        element("td", difference),
        class_=kind,
    )


def _figure(metric: Metric | None, spread: bool) -> str:
    if metric is None:
        return NOT_MEASURED
    if spread and metric.sd is not None:
        return f"{metric.mean:.4f} ± {metric.sd:.4f}"
    return f"{metric.mean:.4f}"
