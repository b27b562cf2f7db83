"""Invented users for a rehearsal, as a data set like any other: weekly shoppers with tastes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.events import DEFAULT_ACTION, SCHEMA
from groundswell.shared.task import EvaluationTimes, Task
from groundswell.simulation.datasets.dataset import Dataset

START = datetime(2024, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
WEEKS = 16
GOODS = ("apples", "batteries", "beer", "bread", "coffee", "milk", "nappies", "rice", "soap", "tea")


def invent(sites: int, users: int, generator: np.random.Generator) -> Dataset:
    """A data set of ``sites`` sites with ``users`` invented users each.

    Its times are thirteen weeks to train on and one to validate.
    """
    table = pl.DataFrame({"label": GOODS, "text": [f"{name} from the shop" for name in GOODS]})
    first = int(START.timestamp()) * 1_000_000
    weeks = first + np.arange(WEEKS, dtype=np.int64) * (WEEK // timedelta(microseconds=1))
    names = [f"site-{number:02d}" for number in range(1, sites + 1)]
    return Dataset(
        "rehearsal",
        {name: events(name, users, generator) for name in names},
        Catalogue.from_table(table, name="rehearsal", label="label", text=("text",)),
        Task(),
        EvaluationTimes(weeks[2:15], weeks[15:], weeks[:0]),
        generated=True,
    )


def events(site: str, users: int, generator: np.random.Generator) -> pl.DataFrame:
    """Canonical events: every user buys one or two goods a week, by a taste of the user's own."""
    rows = []
    for user in range(users):
        taste = generator.dirichlet(np.full(len(GOODS), 0.4))
        for week in range(WEEKS):
            at = START + week * WEEK + timedelta(minutes=int(generator.integers(7 * 24 * 60)))
            for good in generator.choice(GOODS, size=int(generator.integers(1, 3)), p=taste):
                name = f"user-{user:03d}"
                rows.append((site, name, at, DEFAULT_ACTION, None, str(good), None, 1.0))
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return frame.sort("user", "time", "label")
