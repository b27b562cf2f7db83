"""A saved model forecasts from a caller's table: own events before the time, and nothing else."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import groundswell
from groundswell.shared.errors import InputError, ModelError
from groundswell.shared.predict import Forecaster, trends

NOW = datetime(2026, 1, 31, tzinfo=UTC)
EVENTS = [
    {"user": "ann", "time": NOW - timedelta(days=20), "label": "TEA"},
    {"user": "ann", "time": NOW - timedelta(days=6), "item": "green tea"},
    {"user": "ann", "time": NOW - timedelta(days=2), "action": "view", "text": "warm soup"},
    {"user": "bob", "time": NOW - timedelta(days=1), "label": "手机"},
    {"user": "eve", "time": NOW + timedelta(days=3), "label": "SOUP"},
]


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Forecaster:
    model: Forecaster = groundswell.load_model(model_folder)
    return model


def test_every_user_gets_a_distribution_over_all_labels(model: Forecaster) -> None:
    found = model.predict(EVENTS, at=NOW)
    assert found.columns == ["user", "label", "probability", "lift", "trend"]
    assert found["user"].unique(maintain_order=True).to_list() == ["ann", "bob", "eve"]
    sums = found.group_by("user").agg(pl.col("probability").sum(), pl.len())
    np.testing.assert_allclose(sums["probability"], 1, rtol=1e-5)
    assert sums["len"].to_list() == [5, 5, 5]
    assert found.filter(pl.col("user") == "ann")["label"][0] == "TEA"


def test_dicts_pandas_and_polars_say_the_same(model: Forecaster) -> None:
    frame = pl.DataFrame(EVENTS)
    expected = model.predict(EVENTS, at=NOW)
    assert_frame_equal(model.predict(frame, at=NOW), expected)
    assert_frame_equal(model.predict(frame.to_pandas(), at=NOW), expected)


def test_a_forecast_depends_on_own_events_before_the_time_alone(model: Forecaster) -> None:
    alone = model.predict([e for e in EVENTS if e["user"] == "ann"], at=NOW)
    later = [{"user": "ann", "time": NOW + timedelta(hours=1), "label": "COFFEE"}]
    together = model.predict([*later, *reversed(EVENTS)], at=NOW)
    both = pl.concat([alone, together.filter(pl.col("user") == "ann")])
    pairs = both.group_by("label").agg(pl.col("probability").max() - pl.col("probability").min())
    assert (pairs["probability"] < 1e-6).all()  # last bits of a matrix product aside


def test_a_user_without_events_gets_the_prior_and_no_trend(model: Forecaster) -> None:
    with pytest.warns(UserWarning, match="1 of .* users have no usable event"):
        found = model.predict(EVENTS, at=NOW).filter(pl.col("user") == "eve")
    np.testing.assert_allclose(np.sort(found["probability"]), np.sort(model.prior), rtol=1e-5)
    np.testing.assert_allclose(found["lift"], 1, rtol=1e-4)
    assert set(found["trend"]) == {"steady"}


def test_by_default_it_forecasts_from_just_after_the_last_event(model: Forecaster) -> None:
    last = NOW + timedelta(days=3)
    expected = model.predict(EVENTS, at=last + timedelta(microseconds=1))
    assert_frame_equal(model.predict(EVENTS), expected)


def test_text_and_view_reach_the_forecast(model: Forecaster) -> None:
    without = model.predict([e for e in EVENTS if e.get("action") != "view"], at=NOW)
    with_text = model.predict(EVENTS, at=NOW)

    def soup(found: pl.DataFrame) -> float:
        chosen = (pl.col("user") == "ann") & (pl.col("label") == "SOUP")
        return float(found.filter(chosen)["probability"].item())

    assert soup(with_text) > soup(without)


def test_an_earlier_time_than_the_statistics_warns(model: Forecaster) -> None:
    with pytest.warns(UserWarning, match="statistics"):
        model.predict(EVENTS, at="2016-01-01T00:00:00")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*statistics")
        model.predict(EVENTS, at=NOW)


def test_taken_back_is_not_taken(model: Forecaster) -> None:
    kept = [{**event, "value": 1.0} for event in EVENTS]
    back = {"user": "ann", "time": NOW - timedelta(days=1), "label": "SOUP", "value": -1.0}
    assert_frame_equal(model.predict([*kept, back], at=NOW), model.predict(kept, at=NOW))


@pytest.mark.parametrize(
    ("events", "named"),
    [
        ([{"time": NOW, "label": "TEA"}], "user"),
        ([{"user": "ann", "label": "TEA"}], "time"),
        ([{"user": "ann", "time": "yesterday"}], "time"),
        (3, "events"),
    ],
)
def test_bad_events_get_one_clear_line(model: Forecaster, events: object, named: str) -> None:
    with pytest.raises(InputError, match=named):
        model.predict(events, at=NOW)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"manifest\.json"):
        groundswell.load_model(tmp_path)


def test_trend_words_follow_the_lift() -> None:
    assert trends(np.array([1.3, 1.25, 0.8, 0.79])) == ["rising", "steady", "steady", "fading"]
