"""Annotate is point-in-time correct: what happens later changes no earlier row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.client.annotate import encode, encode_site
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError
from groundswell.shared.events import SCHEMA
from groundswell.shared.task import Task

START = datetime(2026, 1, 1, tzinfo=UTC)
CATALOGUE = Catalogue.from_table(
    pl.DataFrame({"sku": ["1", "2", "3"], "kind": ["tea", "jam", "tea"], "title": ["a", "b", "c"]}),
    name="shop",
    label="kind",
    item="sku",
    text=["title"],
)
TASK = Task(actions={"purchase": 1.0, "view": 0.25}, session_gap=timedelta(minutes=30))


def events(*rows: dict[str, object]) -> pl.DataFrame:
    full = [{"user": "a", "time": START, "action": "purchase", **row} for row in rows]
    return pl.DataFrame(full, schema=SCHEMA)


def minutes(count: int) -> datetime:
    return START + timedelta(minutes=count)


def test_items_labels_and_texts_find_their_index() -> None:
    site = encode_site(
        events(
            {"item": "1"},
            {"label": "jam"},
            {"item": "9", "label": "jam"},
            {"item": "1", "label": "jam"},
            {"text": "red shoes", "action": "search"},
            {"item": "9"},
            {"label": "soap", "text": "soap, 3 pieces"},
        ),
        CATALOGUE,
        TASK,
    )
    assert CATALOGUE.labels == ("jam", "tea")
    assert site.histories.label.tolist() == [1, 0, 0, 1, -1, -1, -1]
    assert site.texts == ("red shoes", "soap, 3 pieces")
    assert site.histories.token.tolist() == [1, 0, 0, 1, 2, -1, 3]


def test_weights_and_actions() -> None:
    histories = encode(
        events(
            {"label": "jam"},
            {"label": "jam", "action": "view"},
            {"label": "jam", "action": "share"},
            {"label": "soap"},
        ),
        CATALOGUE,
        TASK,
    )
    assert TASK.action_names == ("purchase", "view")
    assert histories.weight.tolist() == [1.0, 0.25, 0.0, 0.0]
    assert histories.action.tolist() == [0, 1, 2, 0]


def test_baskets_end_at_a_gap() -> None:
    times = [0, 30, 61, 61, 100]
    frame = events(*({"label": "jam", "time": minutes(m)} for m in times))
    frame = pl.concat([frame, frame.with_columns(user=pl.lit("b")).head(3)])
    histories = encode(frame, CATALOGUE, TASK)
    assert histories.basket.tolist() == [0, 0, 1, 1, 2, 0, 0, 1]
    together = encode(frame, CATALOGUE, Task(session_gap=timedelta(0)))
    assert together.basket.tolist() == [0, 1, 2, 2, 3, 0, 1, 2]


def test_users_are_sorted_and_own_their_events() -> None:
    frame = events({"user": "b", "label": "jam"}, {"user": "a", "label": "tea"})
    histories = encode(frame, CATALOGUE, TASK)
    assert histories.users == ("a", "b")
    assert histories.label.tolist() == [1, 0]
    assert histories.offsets.tolist() == [0, 1, 2]


def test_no_events_are_no_users() -> None:
    assert len(encode(events(), CATALOGUE, TASK)) == 0


def test_a_frame_that_is_not_canonical_is_refused() -> None:
    with pytest.raises(InputError, match="canonical type"):
        encode(events({}).with_columns(pl.col("value").cast(pl.Int64)), CATALOGUE, TASK)


ROW = st.fixed_dictionaries(
    {
        "user": st.sampled_from("abc"),
        "time": st.integers(0, 300).map(minutes),
        "action": st.sampled_from(["purchase", "view", "share"]),
        "item": st.sampled_from([None, "1", "2", "9"]),
        "label": st.sampled_from([None, "jam", "soap"]),
        "text": st.sampled_from([None, "red shoes"]),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=30), st.integers(0, 300))
def test_no_feature_sees_an_event_of_the_label_window(
    rows: list[dict[str, object]], cut: int
) -> None:
    """Annotating what lies before t gives the rows before t of annotating everything."""
    whole = events(*rows)
    before = whole.filter(pl.col("time") < minutes(cut))
    at = np.int64(minutes(cut).timestamp() * 1_000_000)
    site, early = (encode_site(frame, CATALOGUE, TASK) for frame in (whole, before))
    seen = site.histories.before(np.full(len(site.histories), at))
    kept = np.flatnonzero(np.diff(seen.offsets))
    seen = seen.take(kept)
    assert seen.users == early.histories.users
    for name in ("offsets", "time", "label", "weight", "action", "basket"):
        assert vars(seen)[name].tobytes() == vars(early.histories)[name].tobytes()
    texts = (*CATALOGUE.texts, *site.texts)
    early_texts = (*CATALOGUE.texts, *early.texts)
    assert [texts[i] if i >= 0 else "" for i in seen.token] == [
        early_texts[i] if i >= 0 else "" for i in early.histories.token
    ]
