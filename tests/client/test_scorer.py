"""A shop's own answers: by pseudonym, exact, as the model forecasts, over the local socket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundswell.client.annotate import encode_site
from groundswell.client.local_client import LocalClient
from groundswell.client.local_server import SERVICE, local_handlers
from groundswell.client.prepared import PreparedSite
from groundswell.client.scorer import Scorer
from groundswell.client.site_cells import MAX_WINDOWS
from groundswell.client.sockets import listen
from groundswell.shared.answering import ServedModel, predict
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.events import SCHEMA
from groundswell.shared.promotions import Promotion
from groundswell.shared.questions import Event, PredictRequest
from groundswell.shared.wire import local_pb2 as wire

START = datetime(2025, 1, 6, tzinfo=UTC)
Row = tuple[str, int, str, str | None, str | None]
# user, day, action, label, text
ROWS: list[Row] = [
    ("anna", 0, "purchase", "COFFEE", None),
    ("anna", 14, "purchase", "COFFEE", None),
    ("anna", 20, "search", None, "air fryer"),
    ("bo", 1, "purchase", "TEA", None),
    ("bo", 20, "purchase", "手机", None),
    ("cleo", 20, "view", None, "智能手表"),
    ("cleo", 21, "view", None, "air fryer"),
]


def prepared(rows: Sequence[Row], served: ServedModel) -> PreparedSite:
    frame = pl.DataFrame(
        {
            "site": ["shop"] * len(rows),
            "user": [row[0] for row in rows],
            "time": [START + timedelta(days=row[1]) for row in rows],
            "action": [row[2] for row in rows],
            "item": [None] * len(rows),
            "label": [row[3] for row in rows],
            "text": [row[4] for row in rows],
            "value": [None] * len(rows),
        },
        schema=SCHEMA,
    )
    return encode_site(frame, served.forecaster.catalogue, served.forecaster.task)


@pytest.fixture(scope="module")
def site(served: ServedModel) -> PreparedSite:
    return prepared(ROWS, served)


@pytest.fixture(scope="module")
def scorer(served: ServedModel, site: PreparedSite, shop: Catalogue) -> Scorer:
    return Scorer(served, site, shop.hash)


def test_all_users_are_scored_as_the_gateway_would(scorer: Scorer, served: ServedModel) -> None:
    rows = list(scorer.score())
    assert [row.user for row in rows] == ["anna", "bo", "cleo"]
    for row in rows:
        events = [
            Event.model_validate(
                {"time": START + timedelta(days=day), "action": action, "label": label, "text": t}
            )
            for user, day, action, label, t in ROWS
            if user == row.user
        ]
        request = PredictRequest(events=tuple(events), top=1000)
        (answer,) = predict(served, [request], [scorer.now])
        assert [each.label for each in row.interests] == [each.label for each in answer.interests]
        np.testing.assert_allclose(
            [each.probability for each in row.interests],
            [each.probability for each in answer.interests],
            atol=1e-5,
        )


def test_an_audience_is_ranked_by_the_label(scorer: Scorer) -> None:
    assert scorer.audience("COFFEE", 2)[0].user == "anna"
    assert [each.user for each in scorer.audience("手机", 1)] == ["bo"]
    assert len(scorer.audience("TEA", 1000)) == 3
    with pytest.raises(InputError, match="no such label"):
        scorer.audience("nothing", 5)


def test_an_earlier_time_sees_fewer_events(scorer: Scorer) -> None:
    early = int((START + timedelta(days=10)).timestamp() * 1e6)
    assert scorer.audience("手机", 1, early)[0].user != "bo"


def test_an_explanation_by_pseudonym(scorer: Scorer) -> None:
    answer = scorer.explain("anna", "COFFEE")
    total = answer.baseline + sum(each.contribution for each in answer.contributions)
    assert total == pytest.approx(answer.probability, abs=1e-6)
    assert answer.habit.times == 2
    assert answer.habit.words.startswith("bought 2 times, last 7 days ago, usually every 14")
    with pytest.raises(Refusal, match="no such pseudonym"):
        scorer.explain("nobody")


def test_counts_are_exact(scorer: Scorer) -> None:
    counts = scorer.counts(["COFFEE", "TEA", "手机"], windows=3)
    assert counts.users.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    whole = scorer.counts(windows=52)
    assert whole.users.sum() == 4
    assert whole.labels == scorer.model.labels


def test_what_is_looked_for_is_counted_exactly_and_by_its_words(
    served: ServedModel, shop: Catalogue
) -> None:
    """Two users look for one thing in one week, one of them twice; neither buys it."""
    rows: list[Row] = [
        ("anna", 14, "view", None, "fitness band"),
        ("anna", 16, "view", None, "fitness band"),
        ("bo", 15, "view", None, "fitness tracker"),
        ("bo", 15, "view", None, "a letter to the editor"),
        ("bo", 9, "purchase", "TEA", None),
        ("bo", 20, "view", "TEA", None),
    ]
    scorer = Scorer(served, prepared(rows, served), shop.hash)
    looked = scorer.counts(["FITNESS", "TEA"], windows=2, action="view")
    assert looked.users.tolist() == [[0, 2], [0, 1]]
    assert scorer.counts(windows=3, action="view").users.sum() == 3
    bought = scorer.counts(["FITNESS", "TEA"], windows=2, action="purchase")
    assert bought.users.tolist() == [[0, 0], [1, 0]]
    assert scorer.counts(["FITNESS", "TEA"], windows=2).users.tolist() == [[0, 0], [1, 1]]
    with pytest.raises(InputError, match="does not know it"):
        scorer.counts(action="share")


def test_trends_need_enough_windows(scorer: Scorer) -> None:
    with pytest.raises(InputError, match="at least 17 windows"):
        scorer.trends()


def test_trends_of_a_time_long_after_the_last_event_are_refused(scorer: Scorer) -> None:
    late = int((START + timedelta(weeks=MAX_WINDOWS + 10)).timestamp() * 1e6)
    with pytest.raises(InputError, match=rf"at: '2035-.*no event .* {MAX_WINDOWS} windows"):
        scorer.trends(at=late)
    with pytest.raises(InputError, match=rf"1\.\.{MAX_WINDOWS}"):
        scorer.trends(windows=MAX_WINDOWS + 1)


def test_trends_of_exact_counts(served: ServedModel, shop: Catalogue) -> None:
    days = [7 * week + 1 for week in range(30) for _ in range(1)]
    rows: list[Row] = [
        (f"u{u}", day, "purchase", "TEA", None) for day in days for u in range(1 + day // 20)
    ]
    site = prepared(rows, served)
    assert Scorer(served, site, shop.hash).trends(["TEA"], windows=28, action="purchase") == (
        Scorer(served, site, shop.hash).trends(["TEA"], windows=28)
    )
    found = Scorer(served, site, shop.hash).trends(["TEA"], windows=28)
    (tea,) = found
    assert set(tea.noise) == {0}
    assert tea.resolvable
    assert tea.history[-1] == 1 + days[-1] // 20
    assert tea.horizons[0].p50 == pytest.approx(tea.history[-1], abs=3)


def test_events_of_another_catalogue_are_refused(served: ServedModel, site: PreparedSite) -> None:
    with pytest.raises(InputError, match="another catalogue"):
        Scorer(served, site, "0" * 64)


@pytest.fixture
def local(scorer: Scorer, tmp_path: Path) -> Iterator[LocalClient]:
    socket = tmp_path / "local" / "local.sock"
    server = listen(socket, local_handlers(scorer), group=None, workers=2)
    with LocalClient(socket, seconds=60) as client:
        yield client
    server.stop(None)


def test_the_local_socket_answers_the_same(scorer: Scorer, local: LocalClient) -> None:
    assert [row.user for row in local.score(top=1)] == ["anna", "bo", "cleo"]
    members = local.audience("COFFEE", 2).members
    assert [each.user for each in members] == [e.user for e in scorer.audience("COFFEE", 2)]
    with pytest.raises(InputError, match="does not know it"):
        local.trends(action="share")
    assert local.explain("anna", "COFFEE") == scorer.explain("anna", "COFFEE")


def test_the_local_socket_says_what_is_wrong(local: LocalClient, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="not-found"):
        local.explain("nobody")
    with pytest.raises(InputError, match="no such label"):
        local.audience("nothing", 3)
    with pytest.raises(InputError, match="must lie in"):
        local.audience("COFFEE", 0)
    with pytest.raises(Refusal, match="can't be opened"):
        LocalClient(tmp_path / "none.sock", seconds=2).audience("COFFEE", 1)


SOUND = {
    "Score": wire.ScoreRequest(top=2, at=1_737_000_000_000_000),
    "Audience": wire.AudienceRequest(label="COFFEE", top=2),
    "Trends": wire.SiteTrendsRequest(
        labels=["TEA"],
        windows=20,
        lead=1,
        plan=[wire.Promotion(label="TEA", first="2025-01-06", last="2025-01-12", share=0.5)],
    ),
    "Explain": wire.ExplainUserRequest(user="anna", label="COFFEE"),
}
EDITS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 10), st.binary(max_size=12)), max_size=3
)


@pytest.fixture(scope="module")
def channel(scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    socket = tmp_path_factory.mktemp("local") / "local.sock"
    server = listen(socket, local_handlers(scorer), group=None, workers=2)
    with grpc.insecure_channel(f"unix:{socket}") as opened:
        yield opened
    server.stop(None)


@pytest.mark.fuzz
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(sorted(SOUND)), EDITS, st.none() | st.binary(max_size=80))
def test_any_bytes_over_the_local_socket_get_an_answer_or_a_status(
    channel: grpc.Channel,
    method: str,
    edits: list[tuple[int, int, bytes]],
    other: bytes | None,
) -> None:
    data = SOUND[method].SerializeToString()
    for position, length, new in edits:
        at = position % (len(data) + 1)
        data = data[:at] + new + data[at + length :]
    data = data if other is None else other
    path = f"/{SERVICE}/{method}"
    try:
        if method == "Score":
            assert all(
                isinstance(row, bytes) for row in channel.unary_stream(path, None, None)(data)
            )
        else:
            assert isinstance(channel.unary_unary(path, None, None)(data, timeout=30), bytes)
    except grpc.RpcError as error:
        said = error.code()
    else:
        said = grpc.StatusCode.OK
    allowed = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
    assert said in allowed


PROMOTED_WEEKS = 30


@pytest.fixture(scope="module")
def promoted(served: ServedModel, shop: Catalogue) -> tuple[Scorer, list[Promotion]]:
    """Three times as many buy tea in weeks 4, 9, 14 ... , and so does the plan promote it."""
    weeks = [week for week in range(PROMOTED_WEEKS) if week % 5 == 4]
    rows: list[Row] = [
        (f"u{u}", 7 * week + 1 + u % 6, "purchase", label, None)
        for week in range(PROMOTED_WEEKS)
        for label in ("TEA", "COFFEE")
        for u in range(12 + (week * 7) % 5 + (26 if label == "TEA" and week in weeks else 0))
    ]
    first = START.date()
    plan = [
        Promotion("TEA", first + timedelta(7 * week), first + timedelta(7 * week + 6), 1.0)
        for week in [*weeks, PROMOTED_WEEKS]
    ]
    return Scorer(served, prepared(rows, served), shop.hash), plan


END = int((START + timedelta(days=7 * PROMOTED_WEEKS)).timestamp() * 1e6)


def test_a_promotion_that_lifted_a_label_before_lifts_its_next_forecast(
    promoted: tuple[Scorer, list[Promotion]],
) -> None:
    scorer, plan = promoted
    (without,) = scorer.trends(["TEA"], at=END)
    (with_plan,) = scorer.trends(["TEA"], at=END, plan=plan)
    (past_only,) = scorer.trends(["TEA"], at=END, plan=plan[:-1])
    assert with_plan.horizons[0].p50 > 1.3 * without.horizons[0].p50
    assert with_plan.horizons[0].p50 > 1.3 * past_only.horizons[0].p50
    assert (with_plan.surge or 0) > 2 * (without.surge or 0)
    (later,) = scorer.trends(["COFFEE"], at=END, plan=plan)
    (coffee,) = scorer.trends(["COFFEE"], at=END)
    assert later.horizons[0].p50 == pytest.approx(coffee.horizons[0].p50, abs=5)


def test_a_plan_without_a_past_changes_nothing(
    promoted: tuple[Scorer, list[Promotion]],
) -> None:
    scorer, plan = promoted
    (without,) = scorer.trends(["TEA"], at=END)
    (found,) = scorer.trends(["TEA"], at=END, plan=plan[-1:])
    assert found.horizons[0].p50 == pytest.approx(without.horizons[0].p50, abs=1)


def test_a_plan_goes_over_the_local_socket(
    promoted: tuple[Scorer, list[Promotion]], tmp_path: Path
) -> None:
    scorer, plan = promoted
    socket = tmp_path / "plan" / "local.sock"
    server = listen(socket, local_handlers(scorer), group=None, workers=2)
    with LocalClient(socket, seconds=60) as client:
        assert client.trends(["TEA"], at=END, plan=plan) == scorer.trends(
            ["TEA"], at=END, plan=plan
        )
        assert client.trends(["TEA"], at=END) == scorer.trends(["TEA"], at=END)
        wrong = replace(plan[0], label="nothing")
        with pytest.raises(InputError, match=r"plan, line 1: label.*no such label"):
            client.trends(["TEA"], at=END, plan=[wrong])
    server.stop(None)


def test_all_whole_windows_are_learned_from_unless_said_otherwise(
    promoted: tuple[Scorer, list[Promotion]],
) -> None:
    scorer, _ = promoted
    (tea,) = scorer.trends(["TEA"], at=END)
    assert len(tea.history) == PROMOTED_WEEKS - 1
