"""The report: one file that fetches nothing, shows every figure, and says the plain truth."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.checkpoint import load
from groundswell.shared.config_file import load_config
from groundswell.shared.demand_release import RegionRelease, of_region, released_demand
from groundswell.shared.events import SCHEMA
from groundswell.shared.histories import Histories, Int64
from groundswell.shared.metrics import Calibration
from groundswell.shared.results import (
    DataSize,
    Metric,
    Paired,
    Privacy,
    Results,
    Round,
    Row,
    TierPrivacy,
)
from groundswell.shared.spec import ModelSpec
from groundswell.shared.task import EvaluationTimes, Task
from groundswell.simulation import summaries
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.evaluate import Forecast, evaluate
from groundswell.simulation.regions import Released
from groundswell.simulation.report import write_report
from groundswell.simulation.report_parts.example import Change, Example, changes
from groundswell.simulation.report_parts.facts import Facts
from groundswell.simulation.report_parts.page import report_page
from groundswell.simulation.saving import save_trained
from groundswell.simulation.setting import Setting

FIGURES = (
    "forest",
    "epsilons",
    "membership",
    "learning",
    "reliability",
    "example",
    "sites",
    "bytes",
    "seconds",
)
EVIL = '<script>alert("x")</script> & <b>bold</b>'
ROUNDS = 4


def made_up(
    difference: float = 0.0002,
    *,
    private: bool = True,
    local_epsilon: float = 7.6,
    evaluated: bool = True,
) -> Results:
    ours = "federated_private" if private else "federated"
    scores = {"popularity": 0.38, "backoff": 0.4966, ours: 0.4966 + difference}
    privacy = Privacy(
        private=private,
        seeded=True,
        delta=1e-6 if private else None,
        central=tier(2.87, private),
        local=tier(local_epsilon, private),
        excludes=(EVIL, "a user who shops at several sites"),
    )
    rounds = [
        Round.model_validate(
            {
                "round": number,
                "loss": None,
                "ndcg@10": 0.489 if evaluated and number == ROUNDS else None,
                "central_epsilon": 2.0 + number / 10 if private else None,
                "local_epsilon": 6.0 + number / 10 if private else None,
                "bytes": 1_000_000 + number,
                "seconds": 1.5,
            }
        )
        for number in range(1, ROUNDS + 1)
    ]
    return Results(
        command="groundswell simulate --out runs/demo",
        data=DataSize(events=1_402_937, users=2469, sites=2, labels=302),
        privacy=privacy,
        rows=tuple(row(model, score) for model, score in scores.items()),
        paired=tuple(
            Paired(
                model=model,
                against="backoff",
                slice="all",
                metric="ndcg@10",
                difference=score - scores["backoff"],
                se=0.0005,
            )
            for model, score in scores.items()
            if model != "backoff"
        ),
        rounds=tuple(rounds),
        seconds=214.0,
        peak_rss_mib=2210.0,
    )


def row(model: str, score: float) -> Row:
    return Row(
        model=model,
        slice="all",
        metrics={"ndcg@10": Metric(mean=score, sd=0.003, n=10_749), "log_loss": None},
    )


def tier(epsilon: float, private: bool) -> TierPrivacy:
    return TierPrivacy(
        epsilon=epsilon if private else None,
        reserved_epsilon=epsilon + 0.1 if private else None,
        noise_multiplier=4.0 if private else None,
        tpr_at_1pct_fpr=0.176 if private else None,
    )


def facts() -> Facts:
    pairs = np.array([[1e5, 1e4, 500.0, 8.0]])
    predicted = pairs * np.array([1e-4, 1e-3, 1e-2, 0.2])
    example = Example(
        site="store 1",
        at=1_509_926_400_000_000,
        events=413,
        rising=(Change(EVIL, 0.03, 0.06, came=True),),
        fading=(Change("BEER", 0.03, 0.01, came=False),),
    )
    return Facts(
        data="made up",
        generated=False,
        notes=(),
        window=timedelta(days=7),
        weeks=(1_509_926_400_000_000, 1_514_160_000_000_000),
        windows=8,
        tested=True,
        colluders=1,
        honest=5,
        caps=(3.0, 8.0),
        reliability=Calibration(pairs, predicted, 1.1 * predicted),
        by_site={
            "federated_private": {EVIL: (0.5, 0.01, 1200), "store 2": (0.48, float("nan"), 1)},
            "backoff": {EVIL: (0.49, 0.01, 1200), "store 2": (0.485, 0.0, 1)},
        },
        released_se=0.014,
        example=example,
    )


class Reader(HTMLParser):
    """Collects what the tests ask for, and fails on tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def having(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.attributes if name == tag]


def read(results: Results, known: Facts | None = None) -> Reader:
    return Reader(report_page(results, known or facts()))


def test_the_file_stands_alone() -> None:
    page = report_page(made_up(), facts())
    reader = Reader(page)
    assert page.startswith("<!doctype html>")
    assert len(page) < 2_000_000
    assert not re.search(r"https?://|//cdn|@import|url\(", page)
    tags = {tag for tag, _ in reader.attributes}
    assert not tags & {"script", "link", "img", "iframe", "object", "image"}
    targets = {str(each["href"]) for each in reader.having("a")}
    identifiers = {f"#{each['id']}" for _, each in reader.attributes if "id" in each}
    assert targets <= identifiers


def test_every_figure_is_there_with_words_for_those_who_cannot_see_it() -> None:
    reader = read(made_up())
    assert {each.get("id") for each in reader.having("figure")} == set(FIGURES)
    identifiers = [each["id"] for _, each in reader.attributes if "id" in each]
    assert len(identifiers) == len(set(identifiers))
    for svg in reader.having("svg"):
        assert svg["role"] == "img"
        assert svg["aria-labelledby"] in identifiers
        assert svg["aria-describedby"] in identifiers
    tags = [tag for tag, _ in reader.attributes]
    assert tags.count("caption") == tags.count("table")
    assert tags.count("h1") == 1
    assert all(each.get("scope") in ("row", "col") for each in reader.having("th"))


def test_it_follows_light_and_dark_and_prints() -> None:
    page = report_page(made_up(), facts())
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert not re.search(r'(fill|stroke)="', page)


def test_labels_and_names_with_markup_in_them_stay_text() -> None:
    page = report_page(made_up(), facts())
    assert "<script" not in page
    assert "<b>bold" not in page
    assert EVIL in Reader(page).words


def test_seeded_noise_is_called_a_rehearsal() -> None:
    assert "rehearsal: seeded, not a release" in read(made_up()).words
    known = made_up()
    private = known.privacy.model_copy(update={"seeded": False})
    released = known.model_copy(update={"privacy": private})
    assert "rehearsal" not in read(released).words


def test_without_privacy_a_red_banner_stands_first_and_no_epsilon_anywhere() -> None:
    reader = read(made_up(private=False))
    banner = next(each for each in reader.having("p") if "banner" in str(each.get("class")))
    assert banner["class"] == "banner danger"
    assert "no privacy: --no-privacy was set" in reader.words
    assert "no noise" in reader.words
    assert not {"epsilons", "membership"} & {each.get("id") for each in reader.having("figure")}
    assert "rehearsal" not in reader.words


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (-0.01, "The baseline is ahead of federated_private."),
        (0.01, "federated_private is ahead, by more than chance would often give."),
        (0.0002, "no difference that these data could show"),
    ],
)
def test_the_summary_says_plainly_who_is_ahead(difference: float, said: str) -> None:
    assert said in read(made_up(difference)).words


def test_where_a_baseline_is_ahead_is_listed_with_its_error() -> None:
    behind = read(made_up(-0.01)).words
    assert "Where a baseline is ahead of federated_private" in behind
    assert "backoff by 0.0100 ± 0.0005" in behind
    assert "No baseline is ahead of federated_private" in read(made_up(0.01)).words


def test_the_table_has_every_row_with_its_paired_difference_in_words() -> None:
    words = read(made_up(0.01)).words
    assert "0.5066 ± 0.0030" in words
    assert "+0.0100 ± 0.0005 ahead" in words
    assert "\N{MINUS SIGN}0.1166 ± 0.0005 behind" in words


def test_what_was_not_paid_for_is_a_dash_and_the_paid_score_has_its_error() -> None:
    reader = read(made_up())
    assert "0.489 ± 0.014" in reader.words
    assert reader.text.count("-") >= 2 * ROUNDS - 1
    unpaid = read(made_up(evaluated=False), replace(facts(), released_se=None)).words
    assert "no evaluation was paid for" in unpaid
    assert "nothing was released" in unpaid


def test_both_tiers_say_what_they_protect_against_and_rest_on() -> None:
    words = read(made_up()).words
    assert "the coordinator and all other sites together, secure aggregation broken" in words
    assert "whoever sees the sums and the model, with up to 1 colluding site" in words
    assert "17.6 %" in words
    assert "a user who shops at several sites" in words


def test_a_weak_local_tier_and_a_lone_honest_site_are_warned_of() -> None:
    warning = "alone, the local tier protects little; this rests on secure aggregation"
    assert warning not in read(made_up()).words
    assert warning in read(made_up(local_epsilon=10.1)).words
    lone = read(made_up(), replace(facts(), honest=1)).words
    assert "the central tier equals the local one" in lone


def test_a_run_without_rounds_measurements_or_example_still_gives_a_page() -> None:
    bare = made_up().model_copy(update={"rounds": (), "rows": (), "paired": ()})
    known = replace(facts(), example=None, reliability=None, by_site={}, weeks=None)
    words = read(bare, known).words
    assert "The run had no rounds" in words
    assert "Nobody was measured" in words


def test_generated_data_are_called_so() -> None:
    said = "generated, not real"
    assert said not in read(made_up()).words
    assert said in read(made_up(), replace(facts(), generated=True)).words


def test_rising_and_fading_labels_are_those_whose_share_moves_most() -> None:
    labels = ("a", "b", "c", "d")
    long_term = np.array([0.10, 0.001, 0.5, 0.399], dtype=np.float32)
    forecast = np.array([0.30, 0.004, 0.2, 0.496], dtype=np.float32)
    rising, fading = changes(labels, long_term, forecast, np.array([True, False, False, False]))
    assert [each.label for each in rising] == ["a", "b"]
    assert [each.label for each in fading] == ["c"]
    assert rising[0].came
    assert rising[0].lift == pytest.approx(3.0)


# A whole run's report, with an untrained model: real sites, real checkpoint, real measurements.

START = datetime(2017, 4, 3, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture(scope="module")
def setting(shop: Catalogue) -> Setting:
    first = int(START.timestamp()) * 1_000_000
    weeks = first + np.arange(20, dtype=np.int64) * int(WEEK.total_seconds()) * 1_000_000
    times = EvaluationTimes(weeks[2:14], weeks[14:16], weeks[16:19])
    names = ("north", "south", "west")
    data = Dataset(
        name="made up",
        sites={name: events(name, number, shop) for number, name in enumerate(names)},
        catalogue=shop,
        task=Task(),
        times=times,
    )
    loaded = load_config(None, {"train.rounds": ROUNDS, "privacy.eps_l": 50.0})
    return Setting.build(loaded.config, data, seed=0)


def events(site: str, number: int, shop: Catalogue) -> pl.DataFrame:
    """Twelve users of a site who buy one or two labels every week, and search once."""
    draw = np.random.default_rng(number)
    rows: list[tuple[str, str, datetime, str, None, str | None, str | None, float]] = []
    for user in (f"{site} {index}" for index in range(12)):
        taste = draw.dirichlet(np.full(len(shop), 0.5))
        for week in range(20):
            at = START + week * WEEK + timedelta(minutes=int(draw.integers(7 * 24 * 60)))
            for label in draw.choice(shop.labels, size=int(draw.integers(1, 3)), p=taste):
                rows.append((site, user, at, "purchase", None, str(label), None, 1.0))
            rows.append((site, user, at, "search", None, None, f"something {week % 3}", 1.0))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("user", "time", "action", "label")


def frequency(h: Histories, at: Int64) -> Forecast:
    """Own counts; the five labels are those of the shop."""
    counted = h.label >= 0
    cells = np.bincount(h.row()[counted] * 5 + h.label[counted], minlength=5 * len(h))
    scores = cells.reshape(len(h), 5) + np.arange(1, 6) / 10
    return Forecast(scores, scores / scores.sum(axis=1, keepdims=True))


def constant(h: Histories, at: Int64) -> Forecast:
    """The same for everybody, without probabilities."""
    return Forecast(np.tile(np.arange(5.0), (len(h), 1)))


@pytest.mark.parametrize("private", [True, False])
def test_a_model_claims_noise_on_its_demand_where_some_was_added(
    setting: Setting, tmp_path: Path, private: bool
) -> None:
    spec, folder = ModelSpec(), tmp_path / "model"
    labels, windows = len(setting.dataset.catalogue), 26
    counts = np.arange(labels * windows, dtype=np.float32).reshape(windows, labels)
    noise = 9 * np.eye(windows, dtype=np.float32)
    state = setting.initial_model(spec)
    tensors = {"demand": counts, "demand_noise": noise}
    privacy = made_up(private=private).privacy
    own = Released(of_region(tensors, "north"), RegionRelease(7, 3, privacy.model_dump()))
    state = replace(state, statistics={**state.statistics, **tensors})
    plan = setting.plan(setting.config, spec)
    save_trained(folder, setting, plan, state, privacy, regions={"north": own})
    saved = load(folder, setting.backbone)
    for region in (None, "north"):
        (found,) = released_demand(saved.statistics, 7, region).values()
        assert found.noise.any() == private
        assert found.deviations.max() == (3 if private else 0)


@pytest.mark.parametrize("private", [True, False])
def test_a_whole_run_is_written_as_one_file(
    setting: Setting, tmp_path: Path, private: bool
) -> None:
    name = "federated_private" if private else "federated"
    measured = {
        name: [evaluate(frequency, setting.measured)],
        "backoff": [evaluate(constant, setting.measured)],
    }
    results = made_up(private=private).model_copy(
        update={
            "rows": tuple(r for each, m in measured.items() for r in summaries.rows(each, m)),
            "paired": tuple(summaries.paired(measured)),
        }
    )
    spec, model = ModelSpec(), tmp_path / "model"
    plan = setting.plan(setting.config, spec)
    save_trained(model, setting, plan, setting.initial_model(spec), results.privacy, results.rows)
    write_report(tmp_path / "out" / "report.html", setting, measured, results, model, plan)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    words = Reader(page).words
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html"}
    assert all(site in words for site in setting.sites.names)
    assert "One user of site" in words
    assert ("standard error of the noise" in words) == private
    assert str(tmp_path) not in page
    assert not any(user in page for user in setting.sites.pooled.histories.users)
