"""Two Amazon departments for ``bench quality``: what may be learned from, and what is measured.

The files hold rows, not users, and their rows overlap. Learned from are the first history of each
user of the validation rows, and of each user who has test rows alone: its inner steps, and never a
target (else a user's later row would hold the target of an earlier one). Item numbers follow the
order in which items first occurred, so they are never a feature, an order or a tie-break: the
catalogue has the items in the order of a hash.

There are no timestamps. So every history gets one event a window, the newest in the same window for
all users: in training that is the one to be foreseen, and statistics before the rounds see all but
it. A window is as long as the model's memory asks for, whose half-life for events is 30 days.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError
from groundswell.shared.events import COLUMNS, DEFAULT_ACTION, SCHEMA
from groundswell.shared.histories import Histories, Int64
from groundswell.shared.task import MICROSECOND, EvaluationTimes, Task
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.sites import by_hash

DEPARTMENTS = ("office", "industrial")
SITES = 4  # of each department
LONGEST = 10  # events of a history
WINDOW = timedelta(days=20)
_FILES = ("items", "valid", "test")
_AT = datetime(2024, 1, 1, tzinfo=UTC)  # about when the last windows of training begin


@dataclass(frozen=True)
class Department:
    """One catalogue, the users to learn from, and the rows to measure on.

    Attributes:
        dataset: the users to learn from, at their sites.
        histories: of the measured rows; at: int64 ``[B]``, their prediction times, microseconds.
        target: int64 ``[B]``, place of the next item in the catalogue; user: int64 ``[B]``.
        cold: bool ``[B]``, the target stands in no history that was learned from.
    """

    dataset: Dataset
    histories: Histories = field(repr=False)
    at: Int64 = field(repr=False)
    target: Int64 = field(repr=False)
    user: Int64 = field(repr=False)
    cold: NDArray[np.bool_] = field(repr=False)

    @property
    def name(self) -> str:
        return self.dataset.name


def load_department(folder: Path, name: str, measured: str = "test") -> Department:
    """Read ``NAME_items``, ``NAME_valid`` and ``NAME_test`` (Parquet).

    Args:
        measured: whose rows are measured, ``test`` or, to choose by, ``valid``.

    Raises:
        InputError: a file is missing, or there are no such rows.
    """
    if measured not in ("valid", "test"):
        raise InputError("--rows", measured, "is neither test nor valid", "name one of the two")
    paths = {part: folder / f"{name}_{part}.parquet" for part in _FILES}
    for path in paths.values():
        if not path.exists():
            raise InputError("--amazon", str(path), "does not exist", "name the data's folder")
    items, valid, test = (pl.read_parquet(paths[part]) for part in _FILES)
    catalogue = _catalogue(items, name)
    learned = _learned(valid, test)
    rows = {"valid": valid, "test": test}[measured]
    place = np.array([catalogue.index[_label(name, item)] for item in range(len(items))])
    target = place[rows["target"].cast(pl.Int64).to_numpy()]
    seen = np.zeros(len(catalogue), dtype=np.bool_)
    seen[place[np.concatenate(learned)]] = True
    task = Task(window=WINDOW, step=WINDOW)
    last = int(
        task.prediction_times(0, (_AT - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND)[-1]
    )
    times = EvaluationTimes(
        train=last + task.step_us * np.arange(1 - LONGEST, 1, dtype=np.int64),
        validation=np.array([last], dtype=np.int64),
        test=np.zeros(0, dtype=np.int64),
        examples=1,
    )
    events = _events(name, learned, last, task.window_us)
    sites = {f"{name}-{site}": frame for site, frame in by_hash(events, SITES).items()}
    histories = [_array(history) for history in rows["history"]]
    return Department(
        Dataset(name, sites, catalogue, task, times),
        _histories(histories, place, last, task.window_us),
        np.full(len(rows), last + task.window_us, dtype=np.int64),
        target,
        rows["user"].cast(pl.Int64).to_numpy(),
        ~seen[target],
    )


def _catalogue(items: pl.DataFrame, name: str) -> Catalogue:
    """Every item is a label; its text is the title, its group the brand."""
    keys = [_label(name, item) for item in items["item_id"]]
    table = items.select(
        pl.Series("item", keys),
        pl.Series("title", [html.unescape(title or "") or "-" for title in items["title"]]),
        pl.col("brand").fill_null(""),
        pl.Series("order", [hashlib.sha256(key.encode()).hexdigest() for key in keys]),
    ).sort("order")
    return Catalogue.from_table(
        table, name=name, label="item", item="item", text=("title",), group="brand"
    )


def _label(name: str, item: int) -> str:
    """Both departments count their items from 0."""
    return f"{name}-{item}"


def _learned(valid: pl.DataFrame, test: pl.DataFrame) -> tuple[Int64, ...]:
    first: dict[int, Int64] = {}
    for rows in (valid, test):
        for user, history in zip(rows["user"].to_list(), rows["history"], strict=True):
            # The first row of a user in this order; a user with both kinds keeps the earlier one.
            first.setdefault(user, _array(history))
    return tuple(first.values())


def _events(name: str, learned: Sequence[Int64], last: int, window: int) -> pl.DataFrame:
    """Canonical events; the newest of each history lies in the window at ``last``."""
    lengths = np.array([len(history) for history in learned])
    items = np.concatenate(learned)
    frame = pl.DataFrame(
        {
            "site": None,
            "user": np.repeat([f"u{n:05d}" for n in range(len(learned))], lengths),
            "time": _times(lengths, last, window),
            "action": DEFAULT_ACTION,
            "item": [_label(name, item) for item in items.tolist()],
            "label": None,
            "text": None,
            "value": None,
        }
    )
    times = pl.col("time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return frame.with_columns(times).cast(SCHEMA).select(COLUMNS)


def _histories(rows: Sequence[Int64], place: Int64, last: int, window: int) -> Histories:
    """Rows as of the window after ``last``."""
    lengths = np.array([len(history) for history in rows])
    label = place[np.concatenate(rows)].astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Histories(
        tuple(str(row) for row in range(len(rows))),
        starts,
        _times(lengths, last, window),
        label,
        np.ones(len(label), dtype=np.float32),
        np.zeros(len(label), dtype=np.int16),
        label,
        (np.arange(len(label)) - np.repeat(starts[:-1], lengths)).astype(np.int32),
    )


def _times(lengths: Int64, last: int, window: int) -> Int64:
    """int64 ``[sum of lengths]``: the newest event of each history just after ``last``."""
    ends = np.repeat(np.cumsum(lengths), lengths)
    age = ends - 1 - np.arange(len(ends))
    return np.asarray(last + 1 - age * window, dtype=np.int64)


def _array(history: pl.Series) -> Int64:
    return history.cast(pl.Int64).to_numpy()
