"""Catalogue and calendar files that a configuration names."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from groundswell.shared.config import Config, TaskSection
from groundswell.shared.config_data import CatalogueSection, Columns, Data
from groundswell.shared.errors import InputError
from groundswell.shared.inputs import catalogue_from, task_from

ITEMS = "sku,title,kind\n1,Green tea,tea\n2,Plum jam,jam\n"


def config(folder: Path, items: str = ITEMS, **catalogue: object) -> Config:
    file = folder / "items.csv"
    file.write_text(items)
    section = CatalogueSection.model_validate({"file": str(file), "text": ["title"], **catalogue})
    return Config(data=Data(columns=Columns(item="sku")), catalogue=section)


def test_items_are_labels_by_default(tmp_path: Path) -> None:
    catalogue = catalogue_from(config(tmp_path))
    assert catalogue is not None
    assert catalogue.labels == ("1", "2")
    assert catalogue.texts == ("Green tea", "Plum jam")


def test_a_column_may_be_the_label(tmp_path: Path) -> None:
    catalogue = catalogue_from(config(tmp_path, label="kind"))
    assert catalogue is not None
    assert catalogue.labels == ("jam", "tea")
    assert catalogue.item_to_label == {"1": "tea", "2": "jam"}


def test_no_file_is_no_catalogue() -> None:
    assert catalogue_from(Config()) is None


@pytest.mark.parametrize(
    ("items", "catalogue", "rule"),
    [
        ("", {}, "damaged or empty"),
        ("sku,title,kind\n", {}, "no rows"),
        ("sku,title,kind\n1,,tea\n", {}, "no text"),
        (ITEMS, {"label": "colour"}, "no such column"),
        (ITEMS, {"item": "ean"}, "no such column"),
    ],
)
def test_bad_catalogue_is_one_line(
    tmp_path: Path, items: str, catalogue: dict[str, object], rule: str
) -> None:
    with pytest.raises(InputError, match=rule) as caught:
        catalogue_from(config(tmp_path, items, **catalogue))
    assert "\n" not in str(caught.value)


def test_missing_catalogue_is_refused(tmp_path: Path) -> None:
    section = CatalogueSection(file=str(tmp_path / "none.parquet"))
    with pytest.raises(InputError, match="can't be read"):
        catalogue_from(Config(catalogue=section))


def test_calendar_and_step_reach_the_task(tmp_path: Path) -> None:
    file = tmp_path / "calendar.csv"
    file.write_text("date,name,category\n2017-12-25,Christmas,holiday\n")
    section = TaskSection(calendar=str(file), window=timedelta(days=14))
    task = task_from(Config(task=section))
    assert task.calendar[0].date == date(2017, 12, 25)
    assert task.window == timedelta(days=14)
    assert task.step == timedelta(days=7)


def test_calendar_with_a_wrong_day_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "calendar.csv"
    file.write_text("date,name,category\n25.12.2017,Christmas,holiday\n")
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        task_from(Config(task=TaskSection(calendar=str(file))))


def test_action_without_any_weight_is_refused() -> None:
    with pytest.raises(InputError, match="weight above 0"):
        task_from(Config(task=TaskSection(actions={"view": 0.0})))
