"""Coarse profiles: off by default, told once, and one token that does not wear off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from groundswell.client.annotate import encode_site
from groundswell.client.preparation import Preparation
from groundswell.shared.batches import PROFILE_WEIGHT, Inputs
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.config import Config
from groundswell.shared.config_data import Columns, Data
from groundswell.shared.errors import InputError
from groundswell.shared.events import COLUMNS, PROFILE
from groundswell.shared.frames import events_frame, histories_of
from groundswell.shared.histories import MICROSECONDS_PER_DAY as DAY
from groundswell.shared.inputs import task_from
from groundswell.shared.predict import Forecaster, load_model

ROWS = pl.DataFrame(
    {
        "user": ["ann", "ann", "ann", "bob"],
        "time": ["2025-06-01", "2025-06-02", "2025-06-03", "2025-06-01"],
        "label": ["tea", "jam", "tea", "jam"],
        "age": ["25-34", "25-34", "35-44", None],
        "region": ["north", "north", "north", None],
    }
)
PROFILED = ("age", "region")


def data(folder: Path, profile: tuple[str, ...]) -> Data:
    path = folder / "events.csv"
    ROWS.write_csv(path)
    return Data(events=(str(path),), columns=Columns(label="label"), profile=profile)


def prepared(folder: Path, profile: tuple[str, ...]) -> pl.DataFrame:
    return pl.concat(Preparation(data(folder, profile), None).events())


def test_a_profile_is_told_when_it_changes_and_not_again(tmp_path: Path) -> None:
    told = prepared(tmp_path, PROFILED).filter(action=PROFILE).sort("user", "time")
    assert told["user"].to_list() == ["ann", "ann"]
    assert told["text"].to_list() == ["age: 25-34, region: north", "age: 35-44, region: north"]
    assert [str(time)[:10] for time in told["time"]] == ["2025-06-01", "2025-06-03"]


def test_who_goes_back_to_an_earlier_profile_has_that_one_here_and_in_a_batch_forecast(
    tmp_path: Path, shop: Catalogue
) -> None:
    back = ROWS.filter(user="ann").with_columns(age=pl.Series(["25-34", "35-44", "25-34"]))
    path = tmp_path / "back.csv"
    back.write_csv(path)
    config = Data(events=(str(path),), columns=Columns(label="label"), profile=PROFILED)
    preparation = Preparation(config, None)
    site = pl.concat(preparation.events()).filter(action=PROFILE).sort("time")
    asked = events_frame(back, {"label": "label"}, "UTC", PROFILED).filter(action=PROFILE)
    assert site["text"].to_list() == asked.sort("time")["text"].to_list()
    assert site["text"].to_list()[-1] == "age: 25-34, region: north"
    assert preparation.report.clean.rows == preparation.report.clean.kept == 6


def test_a_row_without_a_user_is_set_aside_once(tmp_path: Path) -> None:
    path = tmp_path / "nobody.csv"
    pl.concat([ROWS, ROWS.head(1).with_columns(user=pl.lit(None, pl.String))]).write_csv(path)
    config = Data(events=(str(path),), columns=Columns(label="label"), profile=PROFILED)
    preparation = Preparation(config, None)
    list(preparation.events())
    assert preparation.report.clean.rejected == {"missing_user": 1}


def test_without_the_key_no_profile_is_read(tmp_path: Path) -> None:
    assert set(prepared(tmp_path, ())["action"]) == {"purchase"}
    assert PROFILE not in task_from(Config()).action_names


def test_a_missing_profile_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="size"):
        Preparation(data(tmp_path, ("size",)), None)


def test_a_batch_forecast_reads_the_same_profile_as_the_site(
    tmp_path: Path, shop: Catalogue
) -> None:
    task = task_from(Config(data=data(tmp_path, PROFILED)))
    site = encode_site(prepared(tmp_path, PROFILED).select(COLUMNS), shop, task)
    frame = events_frame(ROWS, {"label": "label"}, "UTC", PROFILED)
    asked, texts = histories_of(frame, shop, task)
    assert set(texts) == set(site.texts)
    place = task.action_names.index(PROFILE)
    assert set(site.histories.action) >= {place}
    assert set(asked.action) >= {place}


@pytest.fixture(scope="module")
def forecaster(model_folder: Path) -> Forecaster:
    return load_model(model_folder)


def test_the_newest_profile_stays_one_token_however_much_is_bought_after(
    tmp_path: Path, forecaster: Forecaster
) -> None:
    known = forecaster.checkpoint
    task = known.task.model_copy(update={"actions": {**known.task.actions, PROFILE: 0.0}})
    label = known.catalogue.labels[0]
    rows = [
        {"user": "ann", "time": f"2025-06-{day:02d}", "label": label, "age": "25-34"}
        for day in range(1, 20)
    ]
    frame = events_frame(pl.DataFrame(rows), {}, "UTC", ("age",))
    first = frame.filter(action=PROFILE).head(1)
    events = pl.concat([frame.filter(pl.col("action") != PROFILE), first])
    at = np.array([20_270 * DAY], dtype=np.int64)

    def read(table: pl.DataFrame) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        h, texts = histories_of(table, known.catalogue, task)
        inputs = Inputs(known.spec, task, known.catalogue, forecaster.backbone, texts=texts)
        batch = inputs.batch(h, at)
        return batch.mask, batch.weight, batch.scores

    mask, weight, scores = read(events)
    bare_mask, _, bare_scores = read(events.filter(pl.col("action") != PROFILE))
    assert mask[0, -1]
    assert weight[0, -1] == PROFILE_WEIGHT
    assert not bare_mask[0, -1]
    assert torch.equal(scores, bare_scores)
