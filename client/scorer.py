"""The shop's own answers from its own events: whom to reach, what comes, and why.

Runs inside the vault, behind the local socket: exact figures of this one site, which cost no budget
and never leave it. Users are named by pseudonym. The global model comes from the federation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from groundswell.client.prepared import PreparedSite
from groundswell.client.site_cells import MAX_WINDOWS, Cells, cells
from groundswell.shared.answering import Asked, Forecast, ServedModel, forecast, interests
from groundswell.shared.demand_release import DemandRelease
from groundswell.shared.demand_themes import themes
from groundswell.shared.demand_trends import (
    LEAST_WINDOWS,
    SiteKnowledge,
    demand_trends,
    public_windows,
)
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.explain import explain
from groundswell.shared.histories import Histories, Int64
from groundswell.shared.promotions import Promotion, planned
from groundswell.shared.questions import Basis, ExplainAnswer, Interest, LabelTrend, moment
from groundswell.shared.searched import NEAR, with_labels_of_texts

ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class UserForecast:
    """The coming interests of one user."""

    user: str
    interests: tuple[Interest, ...]


@dataclass(frozen=True)
class Member:
    """A user for whom a label is probable."""

    user: str
    probability: float
    lift: float


@dataclass(frozen=True)
class WeeklyCounts:
    """Exact counts of one site: distinct users that acted on a label in each past window.

    Attributes:
        labels: names, ``L``.
        ends: int64 ``[W]``, where each window ends (microseconds), oldest first.
        users: int64 ``[L, W]``.
    """

    labels: tuple[str, ...]
    ends: Int64
    users: NDArray[np.int64]


class Scorer:
    """Answers about the users of one site.

    Args:
        model: the federation's.
        site: the prepared events.

    Raises:
        InputError: the events were prepared for another catalogue.
    """

    def __init__(self, model: ServedModel, site: PreparedSite, catalogue_hash: str) -> None:
        if model.forecaster.catalogue.hash != catalogue_hash:
            raise InputError(
                "model",
                model.version,
                "was trained on another catalogue than the events were prepared for",
                "import the events with the run's catalogue, or fetch the run's model",
            )
        self._model = model
        self._site = site
        self._row = {user: row for row, user in enumerate(site.histories.users)}

    @property
    def model(self) -> ServedModel:
        """The model that answers."""
        return self._model

    @property
    def now(self) -> int:
        """Just after the site's last event (microseconds): the default time of every answer."""
        time = self._site.histories.time
        return int(time.max()) + 1 if len(time) else 0

    def score(self, at: int | None = None, top: int | None = None) -> Iterator[UserForecast]:
        """Every user's interests, most probable first; users in order of pseudonym.

        Args:
            at: microseconds; events at or after it are not seen.
            top: most interests a user; None: all labels.
        """
        labels = self._model.labels
        for users, found in self._forecasts(at):
            for row, user in enumerate(users):
                best = interests(
                    labels, found.probability[row], found.lift[row], top or len(labels)
                )
                yield UserForecast(user, best)

    def audience(self, label: str, top: int, at: int | None = None) -> list[Member]:
        """The users for whom a label is most probable, best first.

        Raises:
            InputError: the catalogue does not hold the label.
        """
        place = self._place(label)
        members: list[Member] = []
        for users, found in self._forecasts(at):
            members += [
                Member(user, float(found.probability[row, place]), float(found.lift[row, place]))
                for row, user in enumerate(users)
            ]
            # Never more in memory than one block beyond what is asked for.
            members = sorted(members, key=lambda m: (-m.probability, m.user))[:top]
        return members

    def explain(self, user: str, label: str | None = None, at: int | None = None) -> ExplainAnswer:
        """Which of a user's past events made a forecast; default: of the most probable label.

        Raises:
            Refusal: ``unknown-user``.
            InputError: the catalogue does not hold the label.
        """
        if user not in self._row:
            raise Refusal("unknown-user", "the site's store holds no such pseudonym")
        time = self.now if at is None else at
        batch = self._asked(np.array([self._row[user]]), time)
        if label is None:
            place = int(np.argmax(forecast(self._model, batch).probability[0]))
        else:
            place = self._place(label)
        found = explain(self._model.forecaster, batch.histories, batch.texts, time, place)
        return ExplainAnswer(
            model_version=self._model.version,
            privacy=self._model.privacy,
            basis=batch.basis[0],
            label=self._model.labels[place],
            method="shapley",
            probability=found.probability,
            baseline=found.baseline,
            contributions=found.contributions,
            habit=found.habit,
        )

    def trends(
        self,
        labels: Sequence[str] = (),
        windows: int | None = None,
        lead: int = 2,
        at: int | None = None,
        action: str | None = None,
        plan: Sequence[Promotion] = (),
    ) -> list[LabelTrend]:
        """What rises, what to restock, what fades at this site, from its exact counts.

        Args:
            windows: past windows that are learned from; None: all whole ones, at most MAX_WINDOWS.
            lead: windows until a restock arrives.
            action: see ``counts``.
            plan: public promotions, past ones and those to come.

        Raises:
            InputError: the catalogue does not hold a label, the task does not know the action,
                there are too few or too many windows, none of them holds an event, or the plan is
                wrong.
        """
        end = self.now if at is None else at
        seen = self._cells(windows, end, action)
        release = DemandRelease.exact(seen.counts().astype(np.float64), end)
        task = self._model.forecaster.task
        windows = release.values.shape[1]
        if not windows:
            raise InputError(
                "at",
                moment(end).isoformat(),
                f"no event that counts lies in the {seen.windows} windows before it",
                "ask for an earlier time",
            )
        known = public_windows(release, task)
        knowledge = SiteKnowledge(
            due=seen.due()[:, -(windows + 1) :],
            themes=themes(task.calendar, known, self._model.forecaster.likeness),
            plan=planned(plan, self._model.forecaster.catalogue.index, known),
        )
        trends = demand_trends(release, self._model.labels, task, lead, knowledge)
        if trends is None:
            raise InputError(
                "windows",
                windows,
                f"trends are learned from at least {LEAST_WINDOWS} windows with events",
                "ask for more windows, or import older events",
            )
        wanted = {self._model.labels[self._place(label)] for label in labels}
        return [each for each in trends if not wanted or each.label in wanted]

    def counts(
        self,
        labels: Sequence[str] = (),
        windows: int = 26,
        at: int | None = None,
        action: str | None = None,
    ) -> WeeklyCounts:
        """Distinct users that acted on each label in the last ``windows`` windows before ``at``.

        Args:
            action: by this one alone, a search without a label counting for the label that its
                words are about; None: by all that the task weighs.

        Raises:
            InputError: the catalogue does not hold a label, the task does not know the action, or
                ``windows`` lies outside 1..MAX_WINDOWS.
        """
        places = [self._place(label) for label in labels] or list(range(len(self._model.labels)))
        end = self.now if at is None else at
        counts = self._cells(windows, end, action).counts()
        window_us = self._model.forecaster.task.window_us
        ends = end - window_us * np.arange(windows - 1, -1, -1, dtype=np.int64)
        return WeeklyCounts(tuple(self._model.labels[i] for i in places), ends, counts[places])

    def _cells(self, windows: int | None, end: int, action: str | None) -> Cells:
        if windows is not None and not 1 <= windows <= MAX_WINDOWS:
            rule = f"must lie in 1..{MAX_WINDOWS}"
            raise InputError("windows", windows, rule, "ask for another number")
        task = self._model.forecaster.task
        if action is not None and action not in task.actions:
            raise InputError(
                "action",
                action,
                "the model's task does not know it",
                f"one of: {', '.join(task.action_names)}",
            )
        h = self._site.histories if action is None else self._searched
        return cells(h, end, windows, task, len(self._model.labels), action)

    @cached_property
    def _searched(self) -> Histories:
        """The events, searches under the labels that their words are about."""
        texts = self._site.texts
        found = self._model.forecaster.nearest(texts) if texts else []
        nearest = np.array([place if near >= NEAR else -1 for place, near in found], dtype=np.int32)
        return with_labels_of_texts(self._site.histories, nearest, len(self._model.labels))

    def _forecasts(self, at: int | None) -> Iterator[tuple[tuple[str, ...], Forecast]]:
        time = self.now if at is None else at
        for start in range(0, len(self._site.histories), ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, len(self._site.histories))
            batch = self._asked(np.arange(start, stop), time)
            yield batch.histories.users, forecast(self._model, batch)

    def _asked(self, rows: NDArray[np.int64], time: int) -> Asked:
        """Some users as of ``time``, with only the texts that they use."""
        at = np.full(len(rows), time, dtype=np.int64)
        seen = self._site.histories.take(rows).before(at)
        histories, texts = _own_texts(seen, self._site.texts, len(self._model.labels))
        told = np.bincount(seen.row()[seen.token >= 0], minlength=len(seen)) > 0
        basis = tuple(Basis.HISTORY if each else Basis.PRIOR for each in told)
        return Asked(histories, texts, at, basis)

    def _place(self, label: str) -> int:
        index = self._model.forecaster.catalogue.index
        if label not in index:
            raise InputError("label", label, "the catalogue holds no such label", "see its labels")
        return index[label]


def _own_texts(
    h: Histories, texts: tuple[str, ...], labels: int
) -> tuple[Histories, tuple[str, ...]]:
    """The same histories with tokens that count through the texts in use alone."""
    used = np.unique(h.token[h.token >= labels])
    place = labels + np.searchsorted(used, h.token)
    token = np.where(h.token >= labels, place, h.token).astype(np.int32)
    return replace(h, token=token), tuple(texts[i - labels] for i in used)
