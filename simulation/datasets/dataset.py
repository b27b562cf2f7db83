"""What every data set gives: events by site, the public catalogue, the task and the times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.task import EvaluationTimes, Task


@dataclass(frozen=True)
class Dataset:
    """A federation's data before preparation.

    Attributes:
        name: of the data set.
        sites: canonical events (``shared/events.py``) of each site, sorted by user and time.
        catalogue: the public catalogue.
        task: what is forecast.
        times: prediction times by use.
        generated: True where the events are invented; every output says so.
        notes: what the user should know of how the data were divided.
        excludes: what the privacy figures leave out.
    """

    name: str
    sites: Mapping[str, pl.DataFrame]
    catalogue: Catalogue
    task: Task
    times: EvaluationTimes
    generated: bool = False
    notes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
