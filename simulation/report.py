"""``report.html``: one self-contained file that says what a simulation found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from groundswell.shared.results import Results, write_whole
from groundswell.simulation import standings
from groundswell.simulation.evaluate import Measurement
from groundswell.simulation.promise import NOT_PRIVATE, REHEARSAL
from groundswell.simulation.report_parts.markup import Markup, element, join
from groundswell.simulation.report_parts.standings_table import standings_table
from groundswell.simulation.setting import Setting

TITLE = "Groundswell: what the federation learned"
_STYLE = Path(__file__).with_name("report_parts") / "report.css"


def write_report(
    path: Path,
    setting: Setting,
    measured: Mapping[str, Sequence[Measurement]],
    results: Results,
    model_folder: Path,
) -> None:
    """Write the report; the file appears whole or not at all.

    Args:
        setting: data, sites and times of the run.
        measured: measurements of each model, one a seed, over the users of ``setting``.
        model_folder: the saved model.
    """
    said = standings.sentences(results, standings.leads(results))
    sections = (
        element("h1", TITLE),
        banner(results),
        element("h2", "How the forecasts compare"),
        *(element("p", sentence) for sentence in said),
        standings_table(results),
    )
    write_whole(path, page(join(*sections)).encode())


def banner(results: Results) -> Markup | None:
    """What must be read first: that there is no privacy, or that the noise can be repeated."""
    if not results.privacy.private:
        return element("p", NOT_PRIVATE, class_="banner danger", role="alert")
    if results.privacy.seeded:
        return element("p", REHEARSAL, class_="banner")
    return None


def page(body: Markup) -> str:
    """A whole document with its style sheet inside."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", TITLE),
        element("style", Markup(_STYLE.read_text(encoding="utf-8"))),
    )
    document = element("html", head, element("body", element("main", body)), lang="en")
    return f"<!doctype html>\n{document}\n"
