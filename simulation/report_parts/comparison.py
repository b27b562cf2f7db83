"""All models on all slices: where a baseline is ahead, one picture, and every figure."""

from __future__ import annotations

from groundswell.shared.results import Metric, Results, Row
from groundswell.simulation import standings
from groundswell.simulation.evaluate import LITTLE_BASKETS, RECENT_DAYS
from groundswell.simulation.report_parts.facts import Facts
from groundswell.simulation.report_parts.forest import forest
from groundswell.simulation.report_parts.markup import Markup, element, join
from groundswell.simulation.report_parts.summary import verdict
from groundswell.simulation.standings import (
    HONEST_BASELINE,
    METRIC_NAMES,
    NDCG,
    RECALL,
    RECALL_UNSEEN,
    best_private,
    main_metric,
    ranked,
    slices,
)
from groundswell.simulation.tables import NOT_MEASURED, signed

SLICE_WORDS = {
    "all": "all labels, for every user with an event before the time and one in the window",
    "fluctuation": f"only labels that the user had not touched for {RECENT_DAYS} days: a change "
    "of interest",
    "little_history": f"users seen through their last {LITTLE_BASKETS} baskets alone",
    "little_history_fluctuation": f"both: last {LITTLE_BASKETS} baskets, untouched labels",
    "unseen_labels": "labels held out of all training, among those the user never touched",
}
_FURTHER = {
    RECALL: "Recall@10",
    "mrr": "MRR",
    "top1": "Top 1",
    "log_loss": "Log loss",
    "ece": "ECE",
}


def comparison(results: Results, facts: Facts) -> Markup:
    """Sentences, the picture of paired differences, then one table for each slice."""
    found = standings.leads(
        results,
        metrics=(NDCG, RECALL, RECALL_UNSEEN),
        against_subject=facts.against_subject,
    )
    said = standings.sentences(results, found)
    return join(
        element(
            "div",
            element("h3", "Where a baseline is ahead"),
            element("ul", *(element("li", sentence) for sentence in said)),
            class_="callout" if found else None,
        ),
        forest(results),
        element("h3", "Every figure"),
        element(
            "p",
            "The best model of a slice comes first. NDCG@10 rewards the labels that came for "
            "standing high in the ten forecast first, Recall@10 counts them, MRR is one over the "
            "place of the first, Top 1 how often the first label came. Log loss (nats) and ECE "
            "judge the probabilities: less is better. ± is the standard deviation over seeds "
            "where there are several, else over users; that of a difference is its standard error "
            "over the same users.",
        ),
        *(_slice(results, name) for name in slices(results)),
    )


def _slice(results: Results, slice_name: str) -> Markup:
    metric = main_metric(slice_name)
    headings = ["Model", METRIC_NAMES[metric], f"Against {HONEST_BASELINE}", "In words"]
    headings += _FURTHER.values() if metric == NDCG else []
    words = SLICE_WORDS.get(slice_name)
    return element(
        "div",
        element(
            "table",
            element("caption", element("b", slice_name), f": {words}" if words else None),
            element("thead", element("tr", *(element("th", h, scope="col") for h in headings))),
            element("tbody", *(_row(results, row, metric) for row in ranked(results, slice_name))),
        ),
        class_="wide",
    )


def _row(results: Results, row: Row, metric: str) -> Markup:
    mark, kind = None, None
    if row.model == best_private(results, row.slice):
        mark, kind = "best private", "best"
    elif row.model == HONEST_BASELINE:
        mark, kind = "honest baseline", "honest"
    further = [row.metrics.get(name) for name in _FURTHER] if metric == NDCG else []
    return element(
        "tr",
        element(
            "th", row.model, element("span", mark, class_="tag") if mark else None, scope="row"
        ),
        element("td", _figure(row.metrics.get(metric), spread=True), class_="main"),
        *_difference(results, row, metric),
        *(element("td", _figure(each)) for each in further),
        class_=kind,
    )


def _difference(results: Results, row: Row, metric: str) -> tuple[Markup, Markup]:
    paired = results.difference(row.model, row.slice, metric, HONEST_BASELINE)
    if paired is None:
        return element("td", NOT_MEASURED), element("td", NOT_MEASURED, class_="words")
    said = verdict(paired.difference, paired.se)
    kind = {"ahead": "up", "behind": "down"}.get(said, "even")
    return (
        element("td", signed(paired.difference, paired.se)),
        element("td", said, class_=f"words {kind}"),
    )


def _figure(metric: Metric | None, spread: bool = False) -> str:
    if metric is None:
        return NOT_MEASURED
    if spread and metric.sd is not None:
        return f"{metric.mean:.4f} ± {metric.sd:.4f}"
    return f"{metric.mean:.4f}"
