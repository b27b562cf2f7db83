"""The rounds: what was learned of their progress, and what they moved and took."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from groundswell.shared.results import Results, Round
from groundswell.simulation.report_parts.chart import (
    Scale,
    bottom_axis,
    box,
    dot,
    figure,
    left_axis,
    line,
    polyline,
    round_ticks,
    text,
)
from groundswell.simulation.report_parts.facts import Facts
from groundswell.simulation.report_parts.markup import Markup, element, join
from groundswell.simulation.tables import NOT_MEASURED

_LEFT, _RIGHT = 56, 736


def learning_section(results: Results, facts: Facts) -> Markup:
    """Loss and NDCG over the rounds, as far as they were paid for."""
    rounds = results.rounds
    if not rounds:
        return element("p", "The run had no rounds: it refreshed the statistics alone.")
    scores = [(each.round, each.ndcg) for each in rounds if each.ndcg is not None]
    losses = [(each.round, each.loss) for each in rounds if each.loss is not None]
    last = rounds[-1].round
    return join(
        element("p", _price_of_looking(results, len(scores), len(losses))),
        _curve("learning", "NDCG@10", scores, last, facts.released_se),
        _curve("loss", "Loss", losses, last, None) if losses else None,
    )


def cost_section(results: Results) -> Markup:
    """Bytes and seconds of each round, and the table of all rounds."""
    rounds = results.rounds
    if not rounds:
        return element("p", "No rounds, so no traffic of rounds.")
    sites = results.data.sites
    sent = sum(each.bytes for each in rounds) / len(rounds) / 1e6
    took = sum(each.seconds for each in rounds) / len(rounds)
    return join(
        element(
            "p",
            f"A round moves {sent:.2f} MB between the coordinator and all {sites} sites together, "
            f"{1000 * sent / max(1, sites):.0f} kB a site, and takes {took:.2f} s here, where all "
            "sites share one machine; a network adds its latency three times, once a phase.",
        ),
        _bars(
            "bytes",
            "Megabytes a round, all sites together",
            rounds,
            lambda each: each.bytes / 1e6,
            "MB",
        ),
        _bars(
            "seconds", "Seconds a round, on this machine", rounds, lambda each: each.seconds, "s"
        ),
        element(
            "details",
            element("summary", f"All {len(rounds)} rounds as a table"),
            element("div", _table(rounds), class_="wide"),
        ),
    )


def _price_of_looking(results: Results, scores: int, losses: int) -> str:
    total = len(results.rounds)
    if not results.privacy.private:
        return f"Of {total} rounds, {scores} reported NDCG@10 and {losses} the loss."
    said = "no evaluation was" if not scores else "one was" if scores == 1 else f"{scores} were"
    return (
        f"Looking costs privacy: a score is a release like any other, with noise and a charge to "
        f"the ledger. Of {total} rounds {said} paid for, so all others show “{NOT_MEASURED}”. "
        + ("The loss was never bought. " if not losses else "")
        + "The noise alone makes such a score uncertain by more than models differ, so it guards "
        "against a failed run and chooses nothing."
    )


def _curve(
    name: str, what: str, paid: Sequence[tuple[int, float]], last: int, se: float | None
) -> Markup:
    spread = se or 0.0
    values = [value for _, value in paid] or [0.5]
    margin = max(4 * spread, 0.25 * (max(values) - min(values)), 0.02)
    y = Scale(min(values) - margin, max(values) + margin, 156, 10)
    x = Scale(1, max(2, last), _LEFT + 14, _RIGHT - 24)
    shapes = []
    if paid:
        shapes.append(left_axis(y, _LEFT, _RIGHT, lambda value: f"{value:.3g}"))
    shapes.append(bottom_axis(x, 186, ticks=round_ticks(last)))
    known = {number for number, _ in paid}
    shapes += [
        text(x(number), 178, NOT_MEASURED, "tick")
        for number in range(1, last + 1)
        if number not in known
    ]
    if len(paid) > 1:
        shapes.append(polyline([(x(number), y(value)) for number, value in paid], "curve ours"))
    for number, value in paid:
        at = x(number)
        if spread:
            low, high = y(value - spread), y(value + spread)
            shapes.append(line((at, low), (at, high), "thick ours"))
            shapes += [line((at - 6, end), (at + 6, end), "thick ours") for end in (low, high)]
        shapes.append(dot((at, y(value)), "full ours", 5.5))
        toward_left = at > (_LEFT + _RIGHT) / 2
        label = f"{value:.3f}" + (f" ± {spread:.3f}" if spread else "")
        beside = at - 14 if toward_left else at + 14
        shapes.append(text(beside, y(value) + 4, label, "label", "end" if toward_left else "start"))
    shapes.append(text((_LEFT + _RIGHT) / 2, 222, "round", "tick"))
    if not paid:
        shapes.append(text((_LEFT + _RIGHT) / 2, 84, "nothing was released", "label"))
    words = ", ".join(f"{value:.3f} after round {number}" for number, value in paid)
    return figure(
        name,
        (760, 230),
        f"Learning curve: {what}",
        f"{what}: {words or 'released after no round'}; “-” after all other rounds."
        + (f" One standard error of the noise is {spread:.3f}." if spread else ""),
        *shapes,
        caption=f"{what} on the validation windows as released; “{NOT_MEASURED}” stands where none "
        "was." + (" The bar is ±1 standard error of the noise." if spread else ""),
    )


def _bars(
    name: str, title: str, rounds: Sequence[Round], value: Callable[[Round], float], unit: str
) -> Markup:
    found = [(each.round, value(each)) for each in rounds]
    high = max(amount for _, amount in found) or 1.0
    y = Scale(0, 1.1 * high, 130, 12)
    last = max(number for number, _ in found)
    x = Scale(0.5, last + 0.5, _LEFT, _RIGHT)
    width = max(1.0, min(40.0, 0.72 * (x(2) - x(1))))
    middle = sorted(amount for _, amount in found)[len(found) // 2]
    return figure(
        name,
        (760, 166),
        title,
        f"Median {middle:.3g} {unit}, most {high:.3g} {unit} over {len(found)} rounds.",
        left_axis(y, _LEFT, _RIGHT, ticks=y.ticks(3)),
        *(
            box(
                (x(number) - width / 2, y(amount)),
                width,
                130 - y(amount),
                "bar ours",
                f"round {number}: {amount:.3g} {unit}",
            )
            for number, amount in found
        ),
        bottom_axis(x, 130, ticks=round_ticks(last)),
        caption=f"{title}.",
    )


def _table(rounds: Sequence[Round]) -> Markup:
    headings = ("Round", "Loss", "NDCG@10", "Epsilon C", "Epsilon L", "MB", "Seconds")
    return element(
        "table",
        element("caption", "Every round; “-” was not paid for"),
        element("thead", element("tr", *(element("th", h, scope="col") for h in headings))),
        element(
            "tbody",
            *(
                element(
                    "tr",
                    element("th", str(each.round), scope="row"),
                    *(
                        element("td", _shown(value, places))
                        for value, places in (
                            (each.loss, 4),
                            (each.ndcg, 3),
                            (each.central_epsilon, 3),
                            (each.local_epsilon, 3),
                            (each.bytes / 1e6, 2),
                            (each.seconds, 2),
                        )
                    ),
                )
                for each in rounds
            ),
        ),
    )


def _shown(value: float | None, places: int) -> str:
    return NOT_MEASURED if value is None else f"{value:.{places}f}"
