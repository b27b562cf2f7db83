"""The user's own files as a data set: prepared as at a site, then divided into sites."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from groundswell.client.preparation import Preparation
from groundswell.client.preparation_report import PreparationReport
from groundswell.client.sources.files import expand
from groundswell.shared.blocks import check_together
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.config import Config
from groundswell.shared.config_data import BY_FOLDER, BY_HASH, Data, HomeRule
from groundswell.shared.errors import InputError
from groundswell.shared.events import COLUMNS
from groundswell.shared.inputs import catalogue_from, check_sources, task_from
from groundswell.shared.task import MICROSECOND, EvaluationTimes, Task, held_back
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.sites import by_column, by_hash, by_home, check_users, roster_names

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = "the times of the forecasts, which follow from the first and the last event of anyone"
_SEEN = (
    "which labels exist, and the text that most of a label's users have: there is no catalogue, so "
    "what is seen in the events is public"
)
# A text is taken for the label's own, not for what one user has typed, where so many users have it.
_USERS_OF_A_TEXT = 10
_SEARCH = "search"


@dataclass(frozen=True)
class OwnData:
    """A data set of the user's files, and what their preparation did."""

    dataset: Dataset
    reports: tuple[PreparationReport, ...]

    @property
    def span(self) -> tuple[int, int]:
        """Microseconds of the first and of the last event."""
        return _span(self.reports)


def load(config: Config, quarantine: Path | None = None, *, alone: bool = True) -> OwnData:
    """Prepare the events of a configuration and divide them by ``[sites]``.

    Args:
        config: with events named.
        quarantine: file for rejected rows; with one folder per site, a folder for such files.
        alone: they are a whole federation's; else of one merchant, who may have a single site.

    Raises:
        InputError: the configuration, a source or the catalogue is wrong, or the data are too few.
    """
    check_sources(config)
    task = task_from(config)
    catalogue = catalogue_from(config)
    rule = config.sites.by
    if rule == BY_FOLDER:
        frames, reports = _from_folders(config.data, catalogue, quarantine)
    else:
        events, report = _prepared(_with_site(config), catalogue, None, quarantine)
        frames, reports = {"": events}, [report]
    times = _times(config, task, *_span(reports))
    number = config.sites.number
    notes: list[str] = []
    if isinstance(rule, HomeRule):
        ends = [int(part[0]) for part in (times.validation, times.test) if len(part)]
        before = _EPOCH + timedelta(microseconds=min(ends)) if ends else None
        frames = by_home(frames[""], number, before)
    elif rule is None or rule == BY_HASH:
        frames = by_hash(frames[""], number)
        notes.append(f"no [sites].by: users are split by hash into {number} sites")
        check_users(frames, number)
    elif rule != BY_FOLDER:
        frames = by_column(frames[""])
    if alone:
        check_users(frames)
    frames, renamed = _rostered(frames)
    notes += renamed
    seen = catalogue is None
    labels = catalogue or seen_labels(frames)
    dataset = Dataset(
        _name(config.data),
        frames,
        labels,
        task,
        times,
        notes=tuple(notes),
        generated=config.data.generated,
        excludes=(_TIMES, _SEEN) if seen else (_TIMES,),
    )
    return OwnData(dataset, tuple(reports))


def load_together(configs: Sequence[Config], quarantine: Path | None = None) -> list[Dataset]:
    """Data sets with a catalogue each, for one federation: the same windows, no site's name twice.

    Args:
        configs: one for each; alike but for where the data are, the catalogue and the sites.
        quarantine: folder for rejected rows, with one file or folder for each catalogue.

    Raises:
        InputError: as ``load``; or a part has no catalogue.
    """
    for config in configs:
        if config.catalogue.file is None:
            raise InputError(
                "[catalogue].file", "", "merchants with different goods need one each", "name it"
            )
    loaded = []
    for config in configs:
        rejected = None
        if quarantine is not None:
            quarantine.mkdir(parents=True, exist_ok=True)
            rejected = quarantine / f"{Path(str(config.catalogue.file)).stem}.parquet"
        try:
            loaded.append(load(config, rejected, alone=False))
        except InputError as error:
            whose = f"{error.value} (of {Path(str(config.catalogue.file)).stem})"
            raise InputError(error.key, whose, error.rule, error.remedy) from error
    if quarantine is not None and not any(quarantine.iterdir()):
        quarantine.rmdir()
    check_together("[catalogue].file", [each.dataset.catalogue for each in loaded])
    spans = [each.span for each in loaded]
    task = loaded[0].dataset.task
    times = _times(
        configs[0], task, min(first for first, _ in spans), max(last for _, last in spans)
    )
    names = Counter(name for each in loaded for name in each.dataset.sites)
    twice = max(names.values()) > 1
    datasets = [_prefixed(each.dataset) if twice else each.dataset for each in loaded]
    return [
        replace(each, times=times, notes=(*each.notes, _company(each, datasets)))
        for each in datasets
    ]


def _company(own: Dataset, datasets: Sequence[Dataset]) -> str:
    others = ", ".join(
        f"{each.catalogue.name} ({len(each.sites)} sites)" for each in datasets if each is not own
    )
    return (
        f"adapter and head of {own.catalogue.name} are trained together with the sites of {others}"
    )


def _prefixed(dataset: Dataset) -> Dataset:
    """The same with the catalogue's name before that of each site."""
    places = {name: f"{dataset.catalogue.name}-{name}" for name in dataset.sites}
    names = roster_names(places.values())
    sites = {
        names[places[name]]: events.with_columns(site=pl.lit(names[places[name]]))
        for name, events in dataset.sites.items()
    }
    return replace(dataset, sites=sites)


def _span(reports: Sequence[PreparationReport]) -> tuple[int, int]:
    first = min(report.first for report in reports if report.first is not None)
    last = max(report.last for report in reports if report.last is not None)
    return _micros(first), _micros(last)


def _times(config: Config, task: Task, first: int, last: int) -> EvaluationTimes:
    held = config.evaluation
    return held_back(task, first, last, validation=held.validation, test=held.test)


def seen_labels(sites: Mapping[str, pl.DataFrame]) -> Catalogue:
    """A catalogue of the labels that occur, each with the text that most users have with it.

    A text that fewer than ten users have, or that was searched for, is nobody's but theirs: the
    label's name stands in its place. This mixes users, so a deployed site never does it; a
    simulation says so in ``excludes``.

    Raises:
        InputError: no event has a label or an item.
    """
    label = pl.coalesce("label", "item").alias("label")
    rows = (
        pl.concat([events.lazy() for events in sites.values()])
        .select("site", "user", "action", label, "item", "text")
        .filter(pl.col("label").is_not_null())
    )
    common = (
        rows.filter(pl.col("text").is_not_null(), pl.col("action") != _SEARCH)
        .group_by("label", "text")
        .agg(pl.struct("site", "user").n_unique().alias("users"))
        .filter(pl.col("users") >= _USERS_OF_A_TEXT)
        .sort("label", "users", "text", descending=[False, True, False])
        .group_by("label", maintain_order=True)
        .agg(pl.col("text").first())
    )
    texts = rows.select("label").unique().join(common, on="label", how="left")
    sizes = rows.group_by("label").agg(pl.col("item").drop_nulls().n_unique().clip(1).alias("size"))
    table = texts.join(sizes, on="label").sort("label").collect()
    if table.is_empty():
        raise InputError(
            "[data].columns.label", "", "no event has a label or an item", "map one of them"
        )
    return Catalogue(
        "seen",
        tuple(table["label"]),
        tuple(table.select(pl.coalesce("text", "label")).to_series()),
        ("",) * len(table),
        table["size"].cast(pl.Float32).to_numpy(),
        {item: item for item in table["label"]},
    )


def _rostered(
    frames: Mapping[str, pl.DataFrame],
) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """The sites by names that a certificate may carry, and a note on those that differ."""
    names = roster_names(frames)
    differ = ", ".join(f"{name} is {place}" for place, name in names.items() if name != place)
    notes = [f"sites carry names of lower-case letters: {differ}"] if differ else []
    return {
        names[place]: events.with_columns(site=pl.lit(names[place]))
        for place, events in frames.items()
    }, notes


def _with_site(config: Config) -> Data:
    """The sources with ``[sites].by`` as their column of the site."""
    rule = config.sites.by
    column = rule.field if isinstance(rule, HomeRule) else rule
    if column is None or column == BY_HASH:
        return config.data
    data = config.data
    also = tuple(
        table.model_copy(update={"columns": table.columns.model_copy(update={"site": column})})
        for table in data.also
    )
    columns = data.columns.model_copy(update={"site": column})
    return data.model_copy(update={"columns": columns, "also": also})


def _prepared(
    data: Data, catalogue: Catalogue | None, site: str | None, quarantine: Path | None
) -> tuple[pl.DataFrame, PreparationReport]:
    preparation = Preparation(data, catalogue, site=site)
    parts = [part.select(COLUMNS) for part in preparation.events(quarantine)]
    return pl.concat(parts).sort("user", "time", maintain_order=True), preparation.report


def _from_folders(
    data: Data, catalogue: Catalogue | None, quarantine: Path | None
) -> tuple[dict[str, pl.DataFrame], list[PreparationReport]]:
    folders: dict[str, list[str]] = {}
    for file in (file for name in data.events for file in expand(name)):
        folders.setdefault(file.parent.name, []).append(str(file))
    frames, reports = {}, []
    for site, files in sorted(folders.items()):
        of_site = data.model_copy(update={"events": tuple(files)})
        rejected = quarantine / f"{site}.parquet" if quarantine else None
        events, report = _prepared(of_site, catalogue, site, rejected)
        frames[site] = events.with_columns(site=pl.lit(site))
        reports.append(report)
    return frames, reports


def _name(data: Data) -> str:
    path = Path(data.events[0])
    return path.parent.name if set("*?[") & set(path.name) else path.name


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // MICROSECOND
