"""What is wrong with the data, found by running the real steps on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from groundswell.client.annotate import annotate
from groundswell.client.held_back_rows import HeldBackRows
from groundswell.client.preparation import Preparation
from groundswell.client.preparation_report import PreparationReport, StepReport
from groundswell.client.sources.files import expand
from groundswell.shared.backbone_name import public_name
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.config import Config
from groundswell.shared.config_data import BY_FOLDER, BY_HASH, Data, HomeRule
from groundswell.shared.errors import InputError
from groundswell.shared.inputs import catalogue_from, check_sources, task_from
from groundswell.shared.legible import REMEDY, Vocabulary
from groundswell.shared.roster import LARGEST_ROSTER, most_users
from groundswell.shared.sizing import check_n_min
from groundswell.shared.task import MICROSECOND, Task, held_back

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 20  # characters of a text that is named
_MANY = 0.2  # share of rejected rows that is worth a word


@dataclass
class CheckReport:
    """The findings of a check.

    Attributes:
        steps: the steps, all sources together.
        sources: names of the sources.
        users, events, labels: what is left; ``labels`` is None without a catalogue.
        labels_used: labels that occur.
        sites: users per site (per place, where homes are guessed; empty where users are hashed).
        actions: events per action.
        named, outside: events with an item or label; those of them outside the catalogue.
        first, last: the span of the events.
        refused: what a run would refuse.
        remarks: what its reader should know.
    """

    steps: tuple[StepReport, ...] = ()
    sources: tuple[str, ...] = ()
    users: int = 0
    events: int = 0
    labels: int | None = None
    labels_used: int = 0
    sites: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    named: int = 0
    outside: int = 0
    first: datetime | None = None
    last: datetime | None = None
    refused: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """The findings as the command's JSON."""
        return {
            "schema": 1,
            "sources": list(self.sources),
            "steps": [
                {
                    "name": step.name,
                    "rows": step.rows,
                    "kept": step.kept,
                    "rejected": {k: n for k, n in sorted(step.rejected.items()) if n},
                    "changed": {k: n for k, n in sorted(step.changed.items()) if n},
                }
                for step in self.steps
            ],
            "users": self.users,
            "events": self.events,
            "labels": self.labels,
            "labels_used": self.labels_used,
            "sites": dict(sorted(self.sites.items())),
            "actions": dict(sorted(self.actions.items())),
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
            "refused": self.refused,
            "remarks": self.remarks,
        }


def check_data(
    config: Config, quarantine: Path | None = None, declared_users: int | None = None
) -> CheckReport:
    """Clean, integrate and annotate all sources; writes nothing but the quarantine file.

    Args:
        config: with events named.
        quarantine: file for rejected rows, or None.
        declared_users: N of the enrolment, to see whether an import would be refused.

    Raises:
        InputError: as the steps themselves.
    """
    if config.is_demo:
        raise InputError(
            "[data].events",
            "",
            "no source of events is named",
            "name files, or use groundswell init",
        )
    check_sources(config)
    task = task_from(config)
    catalogue = catalogue_from(config)
    report = CheckReport(labels=None if catalogue is None else len(catalogue))
    used: set[int] = set()
    seen: set[str] = set()
    runs: list[PreparationReport] = []
    held = HeldBackRows(task, config.evaluation.validation + config.evaluation.test)
    apart = ("user", "site") if _has_site_column(config) else ("user",)
    for data, site in _passes(config):
        preparation = Preparation(data, catalogue, site=site)
        for part in preparation.events(quarantine if site is None else None):
            _count(report, part, config)
            held.add(part, apart)
            named = part.filter(pl.any_horizontal(pl.col("item", "label").is_not_null()))
            report.named += len(named)
            if catalogue is None:
                seen.update(named.select(pl.coalesce("label", "item")).to_series().unique())
            else:
                labels = annotate(part.lazy(), task).select("label").collect()["label"]
                used.update(labels.unique().to_list())
                report.outside += int(named["label_index"].null_count())
        runs.append(preparation.report)
    _merge(report, runs)
    report.labels_used = len(used - {-1}) or len(seen)
    _judge(report, config, catalogue, task, declared_users, held)
    return report


def _passes(config: Config) -> Iterator[tuple[Data, str | None]]:
    """Sources to prepare together, and the site that they are of."""
    rule = config.sites.by
    if rule == BY_FOLDER:
        folders: dict[str, list[str]] = {}
        for file in (file for name in config.data.events for file in expand(name)):
            folders.setdefault(file.parent.name, []).append(str(file))
        for site, files in sorted(folders.items()):
            yield config.data.model_copy(update={"events": tuple(files)}), site
        return
    column = rule.field if isinstance(rule, HomeRule) else rule
    if column is None or column == BY_HASH:
        yield config.data, None
        return
    placed = {"columns": config.data.columns.model_copy(update={"site": column})}
    yield config.data.model_copy(update=placed), None


def _has_site_column(config: Config) -> bool:
    """Whether a column says the site of each event, so that a user of two counts at each."""
    rule = config.sites.by
    return isinstance(rule, str) and rule not in (BY_FOLDER, BY_HASH)


def _count(report: CheckReport, part: pl.DataFrame, config: Config) -> None:
    report.actions.update(dict(part["action"].value_counts().iter_rows()))
    placed = part.filter(pl.col("site").is_not_null())
    if isinstance(config.sites.by, HomeRule):
        placed = (
            placed.group_by("user", "site")
            .agg(pl.col("time").n_unique().alias("visits"))
            .sort("user", "visits", "site", descending=[False, True, False])
            .unique("user", keep="first", maintain_order=True)
        )
    users = placed.group_by("site").agg(pl.col("user").n_unique())
    report.sites.update(dict(users.iter_rows()))


def _merge(report: CheckReport, runs: list[PreparationReport]) -> None:
    report.sources = tuple(name for run in runs for name in run.sources)
    merged = []
    for steps in zip(*(run.steps for run in runs), strict=True):
        step = StepReport(steps[0].name)
        for one in steps:
            step.rows += one.rows
            step.rejected.update(one.rejected)
            step.changed.update(one.changed)
        merged.append(step)
    clean, integrate, annotated = merged
    annotated.rows = integrate.kept
    report.steps = (clean, integrate, annotated)
    report.events = annotated.kept
    report.users = sum(run.users for run in runs)
    report.first = min(run.first for run in runs if run.first is not None)
    report.last = max(run.last for run in runs if run.last is not None)


def _judge(
    report: CheckReport,
    config: Config,
    catalogue: Catalogue | None,
    task: Task,
    declared_users: int | None,
    measurable: HeldBackRows,
) -> None:
    refused, remarks = report.refused, report.remarks
    if catalogue is None:
        refused.append(
            "a data site refuses data without a public catalogue; a simulation takes the "
            f"{report.labels_used} labels seen as public, and says so"
        )
    elif not report.labels_used:
        refused.append(
            "no event's item or label stands in the catalogue: [catalogue].item and "
            "[data].columns.item seem to name different things"
        )
    elif report.outside:
        share = report.outside / report.named
        remarks.append(
            f"{share:.1%} of the items and labels lie outside the catalogue: only their text counts"
        )
    weighted = any(report.actions[action] for action, weight in task.actions.items() if weight)
    if not weighted:
        refused.append(
            f"no event has an action with a weight; the data know {_list(report.actions)}, "
            f"[task].actions {_list(task.actions)}"
        )
    unweighted = [action for action in report.actions if not task.actions.get(action)]
    if unweighted:
        remarks.append(f"{_list(unweighted)}: no weight in [task].actions, so habit and text only")
    if catalogue is not None:
        _judge_script(report, config, catalogue)
    _judge_sites(report, config)
    if declared_users is not None and report.users > most_users(declared_users):
        refused.append(
            f"an import refuses {report.users} users where {declared_users} are declared: "
            "declare the number anew"
        )
    if report.first is not None and report.last is not None:
        held = config.evaluation
        span = [(moment - _EPOCH) // MICROSECOND for moment in (report.first, report.last)]
        try:
            times = held_back(task, span[0], span[1], validation=held.validation, test=held.test)
        except InputError as error:
            refused.append(f"{error.rule}; {error.remedy}")
        else:
            # Where no label or action is known, that is what there is to mend.
            if weighted and report.labels_used and not measurable.any_in(times):
                refused.append(str(times.empty()))
    for step in report.steps:
        if step.rejected.total() > _MANY * step.rows:
            reason, rows = step.rejected.most_common(1)[0]
            remarks.append(f"{step.name} rejects {rows} of {step.rows} rows as {reason}")


def _judge_script(report: CheckReport, config: Config, catalogue: Catalogue) -> None:
    """Whether the language model can read the catalogue; where it is not at hand, nothing."""
    vocabulary = Vocabulary.named(config.model.backbone)
    unread = vocabulary.unread(catalogue.texts) if vocabulary else ()
    if unread:
        report.remarks.append(
            f"{len(unread)} of {len(set(catalogue.texts))} texts of the catalogue "
            f"({_list(text[:_SHOWN] for text in unread[:3])}) are in a script of which "
            f"{public_name(config.model.backbone)} knows little: searches in words and labels "
            f"without events get wrong neighbours; {REMEDY}"
        )


def _judge_sites(report: CheckReport, config: Config) -> None:
    rule, number = config.sites.by, config.sites.number
    sites = number
    if isinstance(rule, HomeRule):
        sites = min(number, len(report.sites))
    elif rule not in (None, BY_HASH):
        sites = len(report.sites)
    try:
        check_n_min("[privacy].n_min", config.resolved_n_min(sites), sites)
    except InputError as error:
        if sites > 1:  # one is no federation, whatever n_min is
            report.refused.append(str(error))
    if rule is None or rule == BY_HASH:
        report.remarks.append(
            f"no [sites].by: a simulation splits users by hash into {number} sites"
        )
        if report.users < number:
            report.refused.append(f"{report.users} user(s) do not fill {number} sites")
        return
    if len(report.sites) < 2:
        report.refused.append(f"{len(report.sites)} site(s): a federation needs two at least")
    if len(report.sites) > LARGEST_ROSTER and not isinstance(rule, HomeRule):
        report.refused.append(
            f"{len(report.sites)} sites: a federation has at most {LARGEST_ROSTER}"
        )


def _list(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:8]) + (" ..." if len(shown) > 8 else "")
