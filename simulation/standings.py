"""Who is ahead of whom in a table of results, and how plainly that can be said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from groundswell.shared.results import Metric, Paired, Results, Row
from groundswell.simulation import baselines
from groundswell.simulation.evaluate import UNSEEN_LABELS
from groundswell.simulation.models import (
    BACKOFF,
    CENTRAL,
    FEDERATED,
    LOCAL_ONLY,
    PRIVATE,
)

HONEST_BASELINE = BACKOFF
BASELINES = (*baselines.ALL, LOCAL_ONLY)
NOT_PRIVATE_TWINS = (FEDERATED, CENTRAL)
CLEAR = 2.0  # standard errors from which a difference is more than chance would often give

NDCG, RECALL, RECALL_UNSEEN = "ndcg@10", "recall@10", "recall@5"
METRIC_NAMES = {NDCG: "NDCG@10", RECALL: "Recall@10", RECALL_UNSEEN: "Recall@5"}


@dataclass(frozen=True)
class Lead:
    """A model that is ahead of the subject.

    Attributes:
        difference: of the means, over the same rows, above 0.
        se: paired standard error over users; None where it is not known.
    """

    model: str
    slice: str
    metric: str
    difference: float
    se: float | None

    @property
    def clear(self) -> bool:
        """Whether the lead is more than ``CLEAR`` standard errors; True where none is known."""
        return self.se is None or self.difference > CLEAR * self.se

    def text(self) -> str:
        """``backoff by 0.0007 ± 0.0005 (within two standard errors)``."""
        error = "" if self.se is None else f" ± {self.se:.4f}"
        doubt = "" if self.clear else " (within two standard errors)"
        return f"{self.model} by {self.difference:.4f}{error}{doubt}"


def subject(results: Results) -> str | None:
    """The model that the table is about: the private federated one, else the federated one."""
    present = {row.model for row in results.rows}
    return next((name for name in (PRIVATE, FEDERATED) if name in present), None)


def slices(results: Results) -> tuple[str, ...]:
    """The slices that any model has, in the order in which they were measured."""
    return tuple(dict.fromkeys(row.slice for row in results.rows))


def main_metric(slice_name: str) -> str:
    """The metric that a slice is judged by."""
    return RECALL_UNSEEN if slice_name == UNSEEN_LABELS else NDCG


def ranked(results: Results, slice_name: str) -> list[Row]:
    """A slice's rows, the best first; what was not measured comes last."""
    rows = [row for row in results.rows if row.slice == slice_name]
    return sorted(rows, key=lambda row: -_mean(row.metrics.get(main_metric(slice_name))))


def best_private(results: Results, slice_name: str) -> str | None:
    """The best of the private federated models on a slice."""
    names = [row.model for row in ranked(results, slice_name) if row.model.startswith(PRIVATE)]
    return names[0] if names else None


def leads(
    results: Results,
    models: Sequence[str] = BASELINES,
    metrics: Iterable[str] = (NDCG, RECALL_UNSEEN),
    against_subject: Sequence[Paired] = (),
) -> list[Lead]:
    """Where any of ``models`` is ahead of the subject.

    Args:
        against_subject: paired differences of the models (model minus subject); without them, the
            results' own paired differences give the error of the honest baseline alone.
    """
    ours = subject(results)
    if ours is None:
        return []
    found = []
    for slice_name in slices(results):
        own = results.row(ours, slice_name)
        for row in ranked(results, slice_name):
            if own is None or row.model not in models or row.model == ours:
                continue
            for metric in metrics:
                lead = _lead(results, own, row, metric, against_subject)
                if lead is not None and lead.difference > 0:
                    found.append(lead)
    return found


def sentences(results: Results, found: Sequence[Lead]) -> list[str]:
    """The leads of baselines in words: one sentence a slice and metric, or that there is none."""
    ours = subject(results)
    if ours is None:
        return []
    places = dict.fromkeys((lead.slice, lead.metric) for lead in found)
    said = [
        f"A baseline is ahead of {ours} on {slice_name} ({METRIC_NAMES[metric]}): "
        + ", ".join(
            lead.text() for lead in found if (lead.slice, lead.metric) == (slice_name, metric)
        )
        + "."
        for slice_name, metric in places
    ]
    return said or [f"No baseline is ahead of {ours} on any slice."]


def _lead(
    results: Results, own: Row, row: Row, metric: str, against_subject: Sequence[Paired]
) -> Lead | None:
    wanted = (row.model, own.model, row.slice, metric)
    for each in against_subject:
        if (each.model, each.against, each.slice, each.metric) == wanted:
            return Lead(row.model, row.slice, metric, each.difference, each.se)
    if row.model == HONEST_BASELINE:
        known = results.difference(own.model, row.slice, metric, HONEST_BASELINE)
        if known is not None:
            return Lead(row.model, row.slice, metric, -known.difference, known.se)
    theirs, mine = row.metrics.get(metric), own.metrics.get(metric)
    if theirs is None or mine is None:
        return None
    return Lead(row.model, row.slice, metric, theirs.mean - mine.mean, None)


def _mean(metric: Metric | None) -> float:
    return float("-inf") if metric is None else metric.mean
