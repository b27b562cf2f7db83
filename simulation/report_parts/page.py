"""The page as a whole: its order, its head and its one file."""

from __future__ import annotations

from pathlib import Path

from groundswell.shared.results import Results
from groundswell.simulation.report_parts.by_site import by_site_section
from groundswell.simulation.report_parts.comparison import comparison
from groundswell.simulation.report_parts.example import example_section
from groundswell.simulation.report_parts.facts import Facts, day, window_words
from groundswell.simulation.report_parts.markup import Markup, element, join
from groundswell.simulation.report_parts.reliability import reliability_section
from groundswell.simulation.report_parts.rounds import cost_section, learning_section
from groundswell.simulation.report_parts.summary import banner, summary, what_ran
from groundswell.simulation.report_parts.tiers import privacy_section

TITLE = "What the federation learned"
_STYLE = Path(__file__).with_name("report.css")
# Nothing is fetched and nothing runs, whatever a label or a site's name may contain.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def report_page(results: Results, facts: Facts) -> str:
    """The whole document; it names no file and no address outside itself."""
    when = day(facts.example.at) if facts.example else ""
    window = window_words(facts.window)
    sections = (
        ("summary", "In short", summary(results, facts)),
        ("comparison", "How the forecasts compare", comparison(results, facts)),
        ("privacy", "What is protected, and from whom", privacy_section(results, facts)),
        ("progress", "Learning curve", learning_section(results, facts)),
        ("probabilities", "Can the probabilities be believed?", reliability_section(facts)),
        ("example-user", "One user", example_section(facts.example, when, window)),
        ("by-site", "Site by site", by_site_section(facts.by_site)),
        ("cost", "Traffic and time", cost_section(results)),
    )
    contents = (
        element("li", element("a", heading, href=f"#{name}")) for name, heading, _ in sections
    )
    body = (
        element(
            "header",
            element("p", "Groundswell", class_="brand"),
            element("h1", TITLE),
            banner(results),
        ),
        element("nav", element("ul", *contents), aria_label="Contents"),
        element("main", *(_section(*each) for each in sections)),
        what_ran(results),
    )
    return _document(join(*body))


def _section(name: str, heading: str, content: Markup) -> Markup:
    return element("section", element("h2", heading), content, id=name)


def _document(body: Markup) -> str:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"Groundswell: {TITLE.lower()}"),
        element("style", Markup(_STYLE.read_text(encoding="utf-8"))),
    )
    document = element("html", head, element("body", body), lang="en")
    return f"<!doctype html>\n{document}\n"
