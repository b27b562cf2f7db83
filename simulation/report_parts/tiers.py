"""Both epsilons: how they grew, what each protects against, and what they leave out."""

from __future__ import annotations

from groundswell.shared.accounting import warnings_for
from groundswell.shared.results import Results, TierPrivacy
from groundswell.simulation.report_parts.chart import (
    Scale,
    bottom_axis,
    box,
    dot,
    figure,
    left_axis,
    line,
    percent,
    polyline,
    round_ticks,
    text,
)
from groundswell.simulation.report_parts.facts import Facts
from groundswell.simulation.report_parts.markup import Markup, element, join
from groundswell.simulation.tables import NOT_MEASURED

GUESSING = 0.01  # the false-positive rate at which membership tests are bounded
_CENTRAL, _LOCAL = "C, central", "L, local"


def privacy_section(results: Results, facts: Facts) -> Markup:
    """The whole section; without privacy it says that there is nothing to show."""
    privacy = results.privacy
    excludes = element("ul", *(element("li", each) for each in privacy.excludes))
    if not privacy.private:
        return join(
            element(
                "p",
                "This run was told to add no noise. There is no epsilon: any number here would "
                "suggest a protection that does not exist.",
            ),
            element("h3", "What else to know"),
            excludes,
        )
    warnings = warnings_for(privacy.local.epsilon or 0.0, facts.honest)
    delta = "" if privacy.delta is None else f" at delta {privacy.delta:.0e}"
    return join(
        element(
            "p",
            f"The unit is all of one user's events at one site, over the whole run. Both tiers "
            f"hold{delta}; the smaller epsilon is, the less any release can tell of one user.",
        ),
        *(element("p", sentence, class_="warning") for sentence in warnings),
        _tiers_table(results, facts),
        _over_rounds(results, facts),
        _membership(results),
        element("h3", "What the epsilons leave out"),
        excludes,
    )


def _tiers_table(results: Results, facts: Facts) -> Markup:
    privacy = results.privacy
    colluding = "1 colluding site" if facts.colluders == 1 else f"{facts.colluders} colluding sites"
    rows = (
        (
            _CENTRAL,
            privacy.central,
            f"whoever sees the sums and the model, with up to {colluding}",
            f"secure aggregation, and at least {facts.honest} honest sites in every round, which "
            "each site checks for itself",
        ),
        (
            _LOCAL,
            privacy.local,
            "the coordinator and all other sites together, secure aggregation broken",
            "the site's own code alone",
        ),
    )
    headings = (
        "Tier",
        "Epsilon, closed",
        "Reserved",
        "Noise multiplier of the rounds",
        "Membership test finds at most",
        "Protects against",
        "Rests on",
    )
    return element(
        "div",
        element(
            "table",
            element("caption", "What is promised, and to whom it matters"),
            element("thead", element("tr", *(_heading(h) for h in headings))),
            element("tbody", *(_tier_row(*row) for row in rows)),
        ),
        element(
            "p",
            "Reserved is what was charged before each release left, as if as few sites as allowed "
            "had answered; closed is what it came to once the survivors had signed. A membership "
            "test tells whether a person's data were used; it may be wrong for 1 % of the others.",
            class_="note",
        ),
        class_="wide",
    )


def _heading(name: str) -> Markup:
    words = name in ("Protects against", "Rests on")
    return element("th", name, scope="col", class_="words" if words else None)


def _tier_row(name: str, tier: TierPrivacy, against: str, rests_on: str) -> Markup:
    bound = NOT_MEASURED if tier.tpr_at_1pct_fpr is None else percent(tier.tpr_at_1pct_fpr)
    return element(
        "tr",
        element("th", name, scope="row"),
        element("td", _two(tier.epsilon), class_="main"),
        element("td", _two(tier.reserved_epsilon)),
        element("td", _two(tier.noise_multiplier)),
        element("td", bound),
        element("td", against, class_="words"),
        element("td", rests_on, class_="words"),
    )


def _over_rounds(results: Results, facts: Facts) -> Markup | None:
    points = [each for each in results.rounds if each.central_epsilon is not None]
    if not points:
        return None
    last = max(each.round for each in points)
    central, local = results.privacy.central, results.privacy.local
    series = (
        (_CENTRAL, "ours", central, [(r.round, r.central_epsilon or 0.0) for r in points]),
        (_LOCAL, "theirs", local, [(r.round, r.local_epsilon or 0.0) for r in points]),
    )
    highest = max([*facts.caps, *(value for _, _, _, line in series for _, value in line)])
    x = Scale(1, max(2, last), 56, 600)
    y = Scale(0, 1.06 * max(highest, central.reserved_epsilon or 0, local.epsilon or 0), 270, 16)
    shapes = [left_axis(y, 56, 636), bottom_axis(x, 270, ticks=round_ticks(last))]
    for (_, kind, tier, found), cap in zip(series, facts.caps, strict=True):
        shapes.append(line((56, y(cap)), (636, y(cap)), f"cap {kind}"))
        shapes.append(text(60, y(cap) - 6, f"cap {cap:g}", f"tick {kind}", "start"))
        shapes.append(polyline([(x(at), y(value)) for at, value in found], f"curve {kind}"))
        if tier.epsilon is not None:
            end = (626.0, y(tier.epsilon))
            shapes.append(line((x(found[-1][0]), y(found[-1][1])), end, f"curve {kind} dashed"))
            shapes.append(dot(end, f"full {kind}"))
    shapes += [
        text(
            646,
            y(tier.epsilon or found[-1][1]) + 4,
            f"{name} {_two(tier.epsilon)}",
            f"label {kind}",
            "start",
        )
        for name, kind, tier, found in series
    ]
    shapes.append(text(328, 306, "round", "tick"))
    words = "; ".join(
        f"{name} from {found[0][1]:.2f} after round {found[0][0]} to {found[-1][1]:.2f} after "
        f"round {found[-1][0]}, {_two(tier.epsilon)} at the end"
        for name, _, tier, found in series
    )
    return figure(
        "epsilons",
        (760, 314),
        "Both epsilons over the rounds",
        f"{words}.",
        *shapes,
        caption="The first round stands on what the statistics before it had cost. The dashed end "
        "is what came after the last round: refreshed statistics and paid evaluations.",
    )


def _membership(results: Results) -> Markup:
    privacy = results.privacy
    bars = (
        ("guessing", "other", GUESSING),
        (_CENTRAL, "ours", privacy.central.tpr_at_1pct_fpr),
        (_LOCAL, "theirs", privacy.local.tpr_at_1pct_fpr),
    )
    scale = Scale(0, 1, 120, 680)
    shapes = [bottom_axis(scale, 112, 8, percent)]
    for index, (name, kind, value) in enumerate(bars):
        y = 14 + 32 * index
        shapes.append(text(108, y + 16, name, "label", "end"))
        if value is None:
            continue
        shapes.append(box((120, y), scale(value) - 120, 22, f"bar {kind}"))
        inside = value > 0.88
        shapes.append(
            text(
                scale(value) + (-8 if inside else 8),
                y + 16,
                percent(value),
                "value onbar" if inside else "value",
                "end" if inside else "start",
            )
        )
    words = ", ".join(f"{name} {percent(value)}" for name, _, value in bars if value is not None)
    return figure(
        "membership",
        (760, 140),
        "The most that any membership test can find at 1 % false positives",
        f"Bounds on the true-positive rate: {words}.",
        *shapes,
        caption="The share of a site's users that the best imaginable test could tell were in the "
        "data, when it may wrongly name 1 % of the others. It is a bound, not what a known attack "
        "reaches.",
    )


def _two(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f}"
