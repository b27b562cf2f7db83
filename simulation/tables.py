"""The table that ``groundswell simulate`` ends with."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from groundswell.shared.results import Metric, Results, Row
from groundswell.simulation.standings import (
    HONEST_BASELINE,
    METRIC_NAMES,
    NDCG,
    RECALL,
    best_private,
    leads,
    main_metric,
    ranked,
    sentences,
    slices,
)

NOT_MEASURED = "-"
_BEST, _HONEST = "*", "="


def results_table(results: Results) -> RenderableType:
    """All models on all slices, the best first, and where a baseline is ahead, in words.

    It fits into 80 columns, the width of an output that is no terminal. Rows are marked by signs
    as well as by colours: colours are lost there.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    table.add_column("")
    table.add_column("model", no_wrap=True)
    for heading in ("NDCG@10", "Recall@10", f"against {HONEST_BASELINE}"):
        table.add_column(heading, justify="right", no_wrap=True)
    for slice_name in slices(results):
        _add_slice(table, results, slice_name)
    marks = [
        f"{_HONEST} {HONEST_BASELINE}, the honest baseline (own and overall frequency, both tuned)",
        "± standard deviation; of a difference, the paired standard error over users",
    ]
    if any(best_private(results, name) for name in slices(results)):
        marks.insert(0, f"{_BEST} best private model")
    said = [Text(each) for each in sentences(results, leads(results))]
    return Group(table, Text("\n".join(marks), style="dim"), *said)


def _add_slice(table: Table, results: Results, slice_name: str) -> None:
    metric = main_metric(slice_name)
    rows = ranked(results, slice_name)
    measured = [found.n for row in rows if (found := row.metrics.get(metric)) is not None]
    count = f"{max(measured):,} rows" if measured else ""
    # Held-out labels are judged by another metric than the column's heading says.
    other = "" if metric == NDCG else METRIC_NAMES[metric]
    table.add_section()
    title = Text(slice_name, style="bold"), Text(other, style="bold"), "", Text(count, style="dim")
    table.add_row("", *title)
    best = best_private(results, slice_name)
    for row in rows:
        mark, style = "", ""
        if row.model == best:
            mark, style = _BEST, "bold green"
        elif row.model == HONEST_BASELINE:
            mark, style = _HONEST, "yellow"
        table.add_row(mark, row.model, *_figures(results, row, metric), style=style)


def _figures(results: Results, row: Row, metric: str) -> tuple[str, str, str]:
    """The slice's own metric, recall, and the paired difference to the honest baseline."""
    main, recall = row.metrics.get(metric), row.metrics.get(RECALL)
    paired = results.difference(row.model, row.slice, metric, HONEST_BASELINE)
    return (
        figure(main, spread=True),
        figure(recall),
        NOT_MEASURED if paired is None else signed(paired.difference, paired.se),
    )


def figure(metric: Metric | None, *, spread: bool = False) -> str:
    """``0.4968 ± 0.0025``, without the deviation where it is not asked for or not known."""
    if metric is None:
        return NOT_MEASURED
    deviation = f" ± {metric.sd:.4f}" if spread and metric.sd is not None else ""
    # Calibration errors over hundreds of labels are far below the other metrics.
    mean = f"{metric.mean:.1e}" if 0 < metric.mean < 5e-4 else f"{metric.mean:.4f}"
    return f"{mean}{deviation}"


def signed(difference: float, se: float | None) -> str:
    """``+0.0002 ± 0.0010``."""
    return f"{difference:+.4f}" if se is None else f"{difference:+.4f} ± {se:.4f}"
