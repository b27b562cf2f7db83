"""What the run found, in the words of someone who operates it."""

from __future__ import annotations

from groundswell.shared.results import Paired, Results
from groundswell.simulation import models, standings
from groundswell.simulation.evaluate import ALL
from groundswell.simulation.promise import NOT_PRIVATE, REHEARSAL
from groundswell.simulation.report_parts.chart import percent, signed
from groundswell.simulation.report_parts.facts import Facts, day, window_words
from groundswell.simulation.report_parts.markup import Markup, element, join
from groundswell.simulation.standings import HONEST_BASELINE, NDCG
from groundswell.simulation.tables import NOT_MEASURED

NO_DIFFERENCE = "no clear difference"


def banner(results: Results) -> Markup | None:
    """What must be read first: that there is no privacy, or that the noise can be repeated."""
    if not results.privacy.private:
        return element(
            "p",
            element("strong", NOT_PRIVATE),
            " The sites added no noise. Nothing below protects anybody, and the model must not "
            "leave this machine.",
            class_="banner danger",
            role="alert",
        )
    if results.privacy.seeded:
        return element(
            "p",
            element("strong", REHEARSAL),
            " Whoever knows the seed can take the noise away again. The epsilons are those that "
            "the same run has in a deployment, where every site draws its own noise.",
            class_="banner",
        )
    return None


def verdict(difference: float, se: float | None) -> str:
    """A paired difference in words; within two standard errors nothing is claimed."""
    if se is None or abs(difference) <= standings.CLEAR * se:
        return NO_DIFFERENCE
    return "ahead" if difference > 0 else "behind"


def summary(results: Results, facts: Facts) -> Markup:
    """Key figures, and a few sentences that stand without them."""
    return join(
        element("div", *_cards(results), class_="cards"),
        *(element("p", sentence) for sentence in _sentences(results, facts)),
        element("p", "The events of this run are generated, not real.", class_="warning")
        if facts.generated
        else None,
        *(element("p", note, class_="note") for note in facts.notes),
    )


def _cards(results: Results) -> list[Markup]:
    ours = standings.subject(results)
    found = []
    row = results.row(ours, ALL) if ours else None
    metric = row.metrics.get(NDCG) if row else None
    if metric is not None:
        found.append(_card("NDCG@10, all", f"{metric.mean:.4f}", f"of {ours}"))
        paired = results.difference(str(ours), ALL, NDCG, HONEST_BASELINE)
        if paired is not None:
            said = verdict(paired.difference, paired.se)
            shown = signed(paired.difference, paired.se)
            found.append(
                _card(f"against {HONEST_BASELINE}", signed(paired.difference), said, shown)
            )
    privacy = results.privacy
    for name, tier in (("C, central", privacy.central), ("L, local", privacy.local)):
        if tier.epsilon is not None and tier.tpr_at_1pct_fpr is not None:
            bound = f"a membership test finds at most {percent(tier.tpr_at_1pct_fpr)}"
            found.append(_card(f"epsilon {name}", f"{tier.epsilon:.2f}", bound))
    if not privacy.private:
        found.append(_card("epsilon", "none", "no noise was added", kind="card bad"))
    if results.rounds:
        sent = sum(each.bytes for each in results.rounds) / 1e6
        took = sum(each.seconds for each in results.rounds)
        found.append(
            _card("rounds", f"{len(results.rounds)}", f"{sent:.1f} MB, {took:.0f} s in all")
        )
    return found


def _card(name: str, value: str, below: str, hint: str = "", kind: str = "card") -> Markup:
    return element(
        "div",
        element("span", name, class_="name"),
        element("span", value, class_="figure"),
        element("span", below, class_="below"),
        class_=kind,
        title=hint or None,
    )


def _sentences(results: Results, facts: Facts) -> list[str]:
    data, window = results.data, window_words(facts.window)
    said = [
        f"{data.sites} sites trained one model together on {data.events:,} events of "
        f"{data.users:,} users ({facts.data}). For each user it ranks {data.labels:,} labels by "
        f"the share of interest that each will draw in the {window} to come."
    ]
    if results.privacy.private:
        said.append(
            "No event left its site. Each site clipped what any one user can add, put noise on its "
            "own sum, and sent it under masks that cancel only when all are added: the coordinator "
            "sees the noised total and nothing else. Each release was charged to the site's ledger "
            "before it left."
        )
    ours = standings.subject(results)
    if ours is not None:
        said += _quality(results, facts, ours)
    return said


def _quality(results: Results, facts: Facts, ours: str) -> list[str]:
    row = results.row(ours, ALL)
    metric = row.metrics.get(NDCG) if row else None
    if metric is None:
        return []
    which = "test" if facts.tested else "validation"
    when = f", {day(facts.weeks[0])} to {day(facts.weeks[1])}" if facts.weeks else ""
    said = [
        f"It was measured on {metric.n:,} forecasts at {facts.windows} {which} times{when}, "
        f"from events before each time alone. {ours} reaches NDCG@10 {metric.mean:.4f}, "
        f"where 1 would put the labels that came on top every time."
    ]
    paired = results.difference(ours, ALL, NDCG, HONEST_BASELINE)
    if paired is not None:
        reference = results.row(HONEST_BASELINE, ALL)
        theirs = reference.metrics.get(NDCG) if reference else None
        reach = f" reaches {theirs.mean:.4f}" if theirs else ""
        said.append(
            f"The honest baseline, {HONEST_BASELINE}, which reads everybody's events in one place "
            f"without any noise,{reach}: on the same users the difference is "
            f"{signed(paired.difference, paired.se)}. {_in_words(ours, paired)}"
        )
    twin = _twin(facts.against_subject)
    if twin is not None:
        said.append(_cost(twin, private=results.privacy.private))
    return said


def _in_words(ours: str, paired: Paired) -> str:
    said = verdict(paired.difference, paired.se)
    if said == NO_DIFFERENCE:
        return "Within two standard errors that is no difference that these data could show."
    if said == "ahead":
        return f"{ours} is ahead, by more than chance would often give."
    return f"The baseline is ahead of {ours}."


def _cost(twin: Paired, *, private: bool) -> str:
    """What privacy and federation cost, by the same model trained in one place without noise."""
    price = "privacy and federation" if private else "federation"
    same = f"The same model trained on all events in one place without noise ({twin.model})"
    if verdict(twin.difference, twin.se) == "ahead":
        se = "" if twin.se is None else f" ± {twin.se:.4f}"
        return f"{same} is better by {twin.difference:.4f}{se}: that is what {price} cost here."
    return (
        f"{same} is not clearly better ({signed(twin.difference, twin.se)}): {price} cost no "
        "accuracy that these data could show."
    )


def _twin(paired: tuple[Paired, ...]) -> Paired | None:
    found = [p for p in paired if p.model == models.CENTRAL and (p.slice, p.metric) == (ALL, NDCG)]
    return found[0] if found else None


def what_ran(results: Results) -> Markup:
    """Command, time and memory: the last lines of the page."""
    return element(
        "footer",
        element("p", "Command: ", element("code", results.command or NOT_MEASURED)),
        element(
            "p",
            f"The whole command took {results.seconds:,.0f} s and at most "
            f"{results.peak_rss_mib:,.0f} MiB of memory. All figures of this page that scripts "
            "need stand in results.json beside it.",
        ),
    )
