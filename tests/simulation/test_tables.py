"""The final table: every model on every slice, marks that survive without colour, plain words."""

from __future__ import annotations

import io

from rich.console import Console

from groundswell.shared.results import (
    DataSize,
    Metric,
    Paired,
    Privacy,
    Results,
    Row,
    TierPrivacy,
)
from groundswell.simulation import standings
from groundswell.simulation.tables import figure, results_table

NOTHING = TierPrivacy(
    epsilon=None, reserved_epsilon=None, noise_multiplier=None, tpr_at_1pct_fpr=None
)
LONGEST = "federated_private_no_statistics"
LONGEST_SLICE = "little_history_fluctuation"
SCORES = {
    "popularity": {"all": 0.38, "fluctuation": 0.21},
    "backoff": {"all": 0.4966, "fluctuation": 0.2943},
    "boosted_trees": {"all": 0.499, "fluctuation": 0.3017},
    "central": {"all": 0.499, "fluctuation": 0.302},
    "federated_private": {"all": 0.497, "fluctuation": 0.2936, "unseen_labels": 0.45},
    LONGEST: {"all": 0.4898, "fluctuation": 0.2845, LONGEST_SLICE: 0.09, "unseen_labels": 0.2},
}


def metrics(slice_name: str, score: float) -> dict[str, Metric | None]:
    if slice_name == "unseen_labels":
        return {"recall@5": Metric(mean=score, sd=0.006, n=3012)}
    return {
        "ndcg@10": Metric(mean=score, sd=0.003, n=10_749),
        "recall@10": Metric(mean=score / 2, sd=0.002, n=10_749),
    }


def made_up(scores: dict[str, dict[str, float]], se: float | None = 0.0005) -> Results:
    rows = [
        Row(model=model, slice=name, metrics=metrics(name, score))
        for model, by_slice in scores.items()
        for name, score in by_slice.items()
    ]
    backoff = scores.get("backoff", {})
    paired = [
        Paired(
            model=model,
            against="backoff",
            slice=name,
            metric="ndcg@10",
            difference=score - backoff[name],
            se=se,
        )
        for model, by_slice in scores.items()
        for name, score in by_slice.items()
        if model != "backoff" and name in backoff
    ]
    privacy = Privacy(
        private=False, seeded=True, delta=None, central=NOTHING, local=NOTHING, excludes=()
    )
    return Results(
        command="groundswell simulate",
        data=DataSize(events=1, users=1, sites=4, labels=1),
        privacy=privacy,
        rows=tuple(rows),
        paired=tuple(paired),
        rounds=(),
        seconds=1.0,
        peak_rss_mib=1.0,
    )


def shown(results: Results, width: int = 100, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal)
    with console.capture() as capture:
        console.print(results_table(results))
    return capture.get()


def line(text: str, model: str, number: int = 0) -> str:
    """The line of a model in the slice of that number."""
    found = [each for each in text.splitlines() if model in each.split()[:2]]
    return found[number]


def test_every_model_and_slice_stands_in_the_table() -> None:
    text = shown(made_up(SCORES))
    for model, by_slice in SCORES.items():
        assert sum(model in each.split() for each in text.splitlines()) >= len(by_slice)
    for name in ("all", "fluctuation", LONGEST_SLICE, "unseen_labels"):
        assert "rows" in line(text, name)
    assert "0.4970 ± 0.0030" in line(text, "federated_private")
    assert "0.2485" in line(text, "federated_private")
    assert "0.4500 ± 0.0060" in line(text, "federated_private", -1)
    assert "Recall@5" in text


def test_it_fits_a_hundred_columns_and_the_eighty_of_a_pipe() -> None:
    for width in (100, 80):
        text = shown(made_up(SCORES), width)
        assert max(len(each) for each in text.splitlines()) <= width
        assert LONGEST in text
        assert "…" not in text


def test_it_is_plain_outside_a_terminal_and_marks_need_no_colour() -> None:
    text = shown(made_up(SCORES))
    assert "\x1b" not in text
    assert "\x1b" in shown(made_up(SCORES), terminal=True)
    assert line(text, "federated_private").split()[0] == "*"
    assert line(text, "backoff").split()[0] == "="
    assert line(text, "popularity").split()[0] == "popularity"


def test_models_stand_best_first_and_the_best_private_one_is_marked_in_each_slice() -> None:
    scores = {"federated_private": {"all": 0.4}, "federated_private_no_bert": {"all": 0.5}}
    text = shown(made_up(scores))
    better, worse = text.index("federated_private_no_bert"), text.index("federated_private ")
    assert better < worse
    assert line(text, "federated_private_no_bert").split()[0] == "*"


def test_the_difference_to_the_honest_baseline_has_its_paired_error() -> None:
    text = shown(made_up(SCORES))
    assert "+0.0004 ± 0.0005" in line(text, "federated_private")
    assert "-0.1166 ± 0.0005" in line(text, "popularity")
    assert line(text, "backoff").split()[-1] == "-"


def test_it_says_in_a_sentence_where_a_baseline_is_ahead() -> None:
    text = " ".join(shown(made_up(SCORES)).split())
    assert "A baseline is ahead of federated_private on all (NDCG@10): boosted_trees by" in text
    assert (
        "on fluctuation (NDCG@10): boosted_trees by 0.0081, backoff by 0.0007 ± 0.0005 "
        "(within two standard errors)." in text
    )


def test_a_model_of_the_same_kind_without_privacy_is_no_baseline() -> None:
    scores = {name: SCORES[name] for name in ("central", "federated_private", "popularity")}
    text = shown(made_up(scores))
    assert "No baseline is ahead of federated_private on any slice." in text


def test_without_a_private_row_the_federated_one_is_compared() -> None:
    scores = {"federated": {"all": 0.48}, "backoff": {"all": 0.49}}
    text = shown(made_up(scores))
    assert "A baseline is ahead of federated on all" in text
    assert "best private" not in text


def test_unknown_errors_are_left_out_not_invented() -> None:
    results = made_up({"federated_private": {"all": 0.5}, "backoff": {"all": 0.4}}, se=None)
    assert line(shown(results), "federated_private").rstrip().endswith("+0.1000")


def test_leads_take_their_error_from_differences_to_the_subject_where_these_are_given() -> None:
    results = made_up(SCORES)
    known = Paired(
        model="boosted_trees",
        against="federated_private",
        slice="all",
        metric="ndcg@10",
        difference=0.002,
        se=0.003,
    )
    (lead,) = (
        each
        for each in standings.leads(results, against_subject=(known,))
        if (each.model, each.slice) == ("boosted_trees", "all")
    )
    assert (lead.difference, lead.se, lead.clear) == (0.002, 0.003, False)


def test_a_table_without_any_of_our_models_makes_no_claim() -> None:
    results = made_up({"popularity": {"all": 0.4}})
    assert standings.leads(results) == []
    assert standings.sentences(results, []) == []
    assert "popularity" in shown(results)


def test_a_figure_too_small_for_four_digits_does_not_read_as_nothing() -> None:
    assert figure(Metric(mean=0.00012, sd=None, n=1)) == "1.2e-04"
    assert figure(Metric(mean=0.0, sd=None, n=1)) == "0.0000"
    assert figure(Metric(mean=0.49664, sd=0.0025, n=1), spread=True) == "0.4966 ± 0.0025"
