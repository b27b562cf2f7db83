"""From a question to an answer: pure functions that the gateway, the site and notebooks host.

Nothing here keeps what it was asked. A *forecaster* is whatever turns histories into distributions;
``predict.load_model`` gives the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import numpy as np

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.demand_release import DemandBlock, DemandRelease
from groundswell.shared.durations import format_duration
from groundswell.shared.errors import InputError
from groundswell.shared.event_input import forecast_time, histories_of
from groundswell.shared.histories import Float32, Histories, Int64
from groundswell.shared.questions import (
    Basis,
    Event,
    HistoryQuestion,
    Interest,
    PredictAnswer,
    PredictRequest,
    Privacy,
    RecommendAnswer,
    RecommendRequest,
    Trend,
    microseconds,
)
from groundswell.shared.recommend import ItemIndex, recommend_items
from groundswell.shared.searched import NEAR
from groundswell.shared.task import Task
from groundswell.shared.typed import TypedAnswer, TypedEvent


@dataclass(frozen=True)
class Forecast:
    """Of ``B`` histories over ``L`` labels.

    Attributes:
        probability: float32 ``[B, L]``, rows sum to 1.
        lift: float32 ``[B, L]``, probability over the user's own long-term rate.
    """

    probability: Float32
    lift: Float32


class Forecaster(Protocol):
    """Turns histories into distributions over labels."""

    @property
    def catalogue(self) -> Catalogue:
        """The labels that it ranks."""

    @property
    def task(self) -> Task:
        """What it was trained to forecast."""

    def forecast(self, h: Histories, texts: Sequence[str], at: Int64) -> Forecast:
        """Forecast each row as of ``at`` (int64 ``[B]``, microseconds) from its events before.

        Args:
            texts: what the tokens from ``len(catalogue)`` on stand for.
        """

    def nearest(self, texts: Sequence[str]) -> list[tuple[int, float]]:
        """The label whose text is most like each text, and the cosine of the two."""

    def likeness(self, texts: Sequence[str]) -> Float32:
        """float32 ``[N, L]``: cosine of each text with each label's text."""


@dataclass(frozen=True)
class Region:
    """A region whose ``sites`` sites released demand of their own, and what that run promised."""

    sites: int
    privacy: Privacy


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A forecaster under a version, with what its training promised.

    Attributes:
        hash: SHA-256 (hex) over its tensors.
        demand: weekly demand, the blocks that runs released.
        regions: those whose sites made a release of their own.
        statistics_as_of: the model's population statistics cover events before it (microseconds).
        unread: gives those of some texts that the model's vocabulary mostly does not know.
    """

    version: str
    forecaster: Forecaster
    privacy: Privacy
    items: ItemIndex
    hash: str
    demand: Mapping[DemandBlock, DemandRelease] = field(default_factory=dict)
    regions: Mapping[str, Region] = field(default_factory=dict)
    statistics_as_of: int | None = None
    unread: Callable[[Sequence[str]], tuple[str, ...]] = lambda texts: ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label, in the model's order."""
        return self.forecaster.catalogue.labels


@dataclass(frozen=True)
class Asked:
    """A checked batch of questions in the form that a forecaster takes.

    Attributes:
        at: int64 ``[B]``, microseconds.
        basis: of each row.
    """

    histories: Histories
    texts: tuple[str, ...]
    at: Int64
    basis: tuple[Basis, ...]


def check(model: ServedModel, question: HistoryQuestion, now: int) -> int:
    """The time at which the forecast begins (microseconds).

    Args:
        now: microseconds.

    Raises:
        InputError: a window that the model was not trained for, or an impossible time.
    """
    window = model.forecaster.task.window
    if question.window is not None and question.window != window:
        allowed = format_duration(window)
        raise InputError(
            "window",
            format_duration(question.window),
            f"the model forecasts a window of {allowed}",
            f'leave window out or send "{allowed}"',
        )
    at = microseconds(question.at) if question.at is not None else None
    return forecast_time(question.events, at, now)


def asked(model: ServedModel, questions: Sequence[HistoryQuestion], times: Sequence[int]) -> Asked:
    """Histories of checked questions, cut at the questions' times."""
    at = np.array(times, dtype=np.int64)
    forecaster = model.forecaster
    events = [question.events for question in questions]
    whole, texts = histories_of(events, forecaster.catalogue, forecaster.task)
    seen = whole.before(at)
    told = np.bincount(seen.row()[seen.token >= 0], minlength=len(seen)) > 0
    return Asked(seen, texts, at, tuple(Basis.HISTORY if t else Basis.PRIOR for t in told))


def forecast(model: ServedModel, batch: Asked) -> Forecast:
    """The forecasts of a batch."""
    return model.forecaster.forecast(batch.histories, batch.texts, batch.at)


def predict(
    model: ServedModel, requests: Sequence[PredictRequest], times: Sequence[int]
) -> list[PredictAnswer]:
    """Answers to checked requests, in their order."""
    batch = asked(model, requests, times)
    found = forecast(model, batch)
    return [
        PredictAnswer(
            model_version=model.version,
            privacy=model.privacy,
            basis=batch.basis[row],
            interests=interests(model.labels, found.probability[row], found.lift[row], request.top),
        )
        for row, request in enumerate(requests)
    ]


def understand(model: ServedModel, events: Sequence[Event], now: datetime) -> TypedAnswer:
    """The labels that the words of typed events come near to."""
    texts = [event.text or "" for event in events]
    found = model.forecaster.nearest(texts) if texts else []
    exact = {label.casefold(): label for label in model.labels}
    return TypedAnswer(
        now=now,
        events=tuple(
            TypedEvent(
                time=event.time,
                action=event.action,
                text=text,
                label=exact.get(text.casefold(), model.labels[place] if near >= NEAR else None),
                similarity=near,
            )
            for event, text, (place, near) in zip(events, texts, found, strict=True)
        ),
        unread=model.unread([text for text in texts if text.casefold() not in exact]),
    )


def interests(
    labels: Sequence[str], probability: Float32, lift: Float32, top: int
) -> tuple[Interest, ...]:
    """The ``top`` most probable labels; equal ones in the labels' order.

    Args:
        probability, lift: float32 ``[L]``.
    """
    return tuple(
        Interest.model_construct(
            label=labels[i],
            probability=float(probability[i]),
            lift=float(lift[i]),
            trend=Trend.of(float(lift[i])),
        )
        for i in most(probability, top)
    )


def most(values: Float32, top: int) -> list[int]:
    """Positions of the ``top`` largest values, largest first; equal ones by position."""
    if top < len(values):
        least = np.partition(values, len(values) - top)[len(values) - top]
        candidates = np.flatnonzero(values >= least)
    else:
        candidates = np.arange(len(values))
    order = candidates[np.argsort(-values[candidates], kind="stable")][:top]
    return [int(i) for i in order]


def recommend(model: ServedModel, request: RecommendRequest, time: int) -> RecommendAnswer:
    """Items for one shopper.

    Raises:
        InputError: a filter names a label or group that the catalogue does not hold, or the
            catalogue names no items.
    """
    batch = asked(model, [request], [time])
    found = forecast(model, batch)
    items = recommend_items(
        model.items,
        found.probability[0],
        found.lift[0],
        [event for event in request.events if microseconds(event.time) < time],
        request.filters,
        time,
        request.top,
    )
    return RecommendAnswer(
        model_version=model.version, privacy=model.privacy, basis=batch.basis[0], items=items
    )
