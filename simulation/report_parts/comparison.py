"""All models on all slices: where a baseline is ahead, one picture, and every figure."""

from __future__ import annotations

from collections.abc import Sequence

from groundswell.shared.results import Results, Row
from groundswell.simulation import standings
from groundswell.simulation.evaluate import LITTLE_BASKETS, RECENT_DAYS
from groundswell.simulation.report_parts.chart import signed
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
from groundswell.simulation.tables import NOT_MEASURED, figure

SLICE_WORDS = {
    "all": "all labels, for every user with an event before the time and one in the window",
    "fluctuation": f"only labels that the user had not touched for {RECENT_DAYS} days: a change "
    "of interest",
    "little_history": f"users seen through their last {LITTLE_BASKETS} baskets alone",
    "little_history_fluctuation": f"both: last {LITTLE_BASKETS} baskets, untouched labels",
    "unseen_labels": "labels held out of all training, among those the user never touched",
}
MODEL_WORDS = {
    "federated_private": "the forecast of this product: trained across sites, under both epsilons",
    "federated_private_no_bert": "the same without the language model",
    "federated_private_no_groups": "the same without the catalogue's groups",
    "federated_private_no_words": "the same with neither language model nor groups",
    "federated_private_no_statistics": "the same without the released population statistics",
    "federated_private_no_habit": "the same without the user's own habit features",
    "federated": "the same model across sites, without noise",
    "central": "the same model, all events in one place, without noise",
    "local_only": "the same model at each site alone, without noise",
    "backoff": "the user's own frequencies backed by overall popularity, both tuned",
    "personal_frequency": "the user's own frequencies, fading with time",
    "popularity": "how many users want each label",
    "recent_popularity": "the same over the last weeks",
    "markov": "what tends to follow the labels of the last basket",
    "logistic": "logistic regression on hand-made features",
    "boosted_trees": "gradient-boosted trees on hand-made features",
    "gru4rec": "a recurrent neural network over the events",
    "sasrec": "a self-attending neural network over the events",
}
_WORDS = "In words"
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
    return join(
        _leads(results, found),
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
        _models(results),
        *(_slice(results, name) for name in slices(results)),
    )


def _leads(results: Results, found: Sequence[standings.Lead]) -> Markup | None:
    """Where baselines are ahead of the subject, slice by slice."""
    ours = standings.subject(results)
    if ours is None:
        return None
    if not found:
        return element("p", *standings.sentences(results, found), class_="callout")
    items = []
    for place in dict.fromkeys(lead.slice for lead in found):
        here = [lead for lead in found if lead.slice == place]
        parts = [
            f"{METRIC_NAMES[metric]}: "
            + ", ".join(lead.text() for lead in here if lead.metric == metric)
            for metric in dict.fromkeys(lead.metric for lead in here)
        ]
        items.append(element("li", element("b", place), f": {'; '.join(parts)}."))
    return element(
        "div",
        element("h3", f"Where a baseline is ahead of {ours}"),
        element("ul", *items),
        element(
            "p",
            "Baselines add no noise, and all but local_only read every event in one place.",
            class_="note",
        ),
        class_="callout",
    )


def _models(results: Results) -> Markup:
    present = {row.model for row in results.rows}
    terms = (
        join(element("dt", name), element("dd", words))
        for name, words in MODEL_WORDS.items()
        if name in present
    )
    return element("details", element("summary", "What each model is"), element("dl", *terms))


def _slice(results: Results, slice_name: str) -> Markup:
    metric = main_metric(slice_name)
    headings = ["Model", METRIC_NAMES[metric], f"Against {HONEST_BASELINE}", _WORDS]
    headings += _FURTHER.values() if metric == NDCG else []
    words = SLICE_WORDS.get(slice_name)
    return element(
        "div",
        element(
            "table",
            element("caption", element("b", slice_name), f": {words}" if words else None),
            element("thead", element("tr", *(_heading(h) for h in headings))),
            element("tbody", *(_row(results, row, metric) for row in ranked(results, slice_name))),
        ),
        class_="wide",
    )


def _heading(name: str) -> Markup:
    return element("th", name, scope="col", class_="words" if name == _WORDS else None)


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
        element("td", figure(row.metrics.get(metric), spread=True), class_="main"),
        *_difference(results, row, metric),
        *(element("td", figure(each)) for each in further),
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
