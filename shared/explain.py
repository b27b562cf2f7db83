"""Which past events made a forecast: Shapley values and LIME over events, and habits in words.

A *player* is one event, or in long histories all events about the same thing; what hardly moves the
forecast is one player together. The game's value is the probability of one label as forecast from
the events of the players that take part, so Shapley's contributions add up to the forecast minus
the forecast without any history (completeness).

Shapley: Castro et al. 2009, sampling of permutations. LIME: Ribeiro et al. 2016. Both by Captum.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from captum.attr import Lime, ShapleyValueSampling
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from groundswell.shared.answering import Forecaster, ServedModel, asked, forecast
from groundswell.shared.errors import InputError
from groundswell.shared.event_input import ordered
from groundswell.shared.histories import MICROSECONDS_PER_DAY, Histories
from groundswell.shared.questions import (
    Contribution,
    ExplainAnswer,
    ExplainRequest,
    Habit,
    moment,
)

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]

MAX_PLAYERS = 16
PERMUTATIONS = 24
LIME_SAMPLES = 400
LIME_RIDGE = 1e-3  # keeps the weighted least squares solvable
ROWS_A_CALL = 256
RECENT_BASKETS = 5
_ELSE = "everything else"
_DONE = {"purchase": "bought", "view": "viewed", "search": "searched", "cart": "put in the cart"}
# Captum draws from torch's global generator; one explanation at a time may set it.
_GENERATOR = threading.Lock()


@dataclass(frozen=True)
class Explanation:
    """Of one label for one history.

    Attributes:
        probability: as forecast from the whole history; baseline: without any.
        contributions: largest effect first; for Shapley they sum to probability - baseline.
        habit: what the shopper's own events say of the label.
    """

    probability: float
    baseline: float
    contributions: tuple[Contribution, ...]
    habit: Habit


def explain(
    forecaster: Forecaster,
    h: Histories,
    texts: Sequence[str],
    at: int,
    label: int,
    method: Literal["shapley", "lime"] = "shapley",
    actions: Sequence[str] | None = None,
) -> Explanation:
    """Explain the forecast of one label; the same question gets the same answer.

    Args:
        h: one row, events before ``at`` (microseconds).
        texts: what tokens from the number of labels on stand for.
        label: position in the catalogue.
        actions: the events' actions in the caller's words, one an event.
    """
    gap = forecaster.task.session_gap_us

    def value(taking_part: Bool) -> Float64:
        """Probability of the label from each subset of the events, bool ``[n, E]``."""
        unique, back = np.unique(taking_part, axis=0, return_inverse=True)
        found = []
        for start in range(0, len(unique), ROWS_A_CALL):
            rows = subsets(h, unique[start : start + ROWS_A_CALL], gap)
            times = np.full(len(rows), at, dtype=np.int64)
            found.append(forecaster.forecast(rows, texts, times).probability[:, label])
        values = np.concatenate(found).astype(np.float64)
        return np.asarray(values[back.reshape(-1)], dtype=np.float64)

    ends = value(np.stack([np.zeros(h.events, dtype=bool), np.ones(h.events, dtype=bool)]))
    players = _players(h, value, float(ends[1]))
    parts = _attribute(players, value, method) if len(players) else np.zeros(0)
    named = actions if actions is not None else _action_names(forecaster, h)
    contributions = [
        _contribution(forecaster, h, texts, named, player, float(part), len(players))
        for player, part in zip(players, parts, strict=True)
    ]
    contributions.sort(key=lambda each: -abs(each.contribution))
    return Explanation(
        float(ends[1]), float(ends[0]), tuple(contributions), habit(h, label, at, named)
    )


def explain_question(model: ServedModel, request: ExplainRequest, time: int) -> ExplainAnswer:
    """Explain a checked question's forecast as of ``time`` (microseconds).

    Raises:
        InputError: the catalogue does not hold the label.
    """
    batch = asked(model, [request], [time])
    index = model.forecaster.catalogue.index
    if request.label is None:
        label = int(np.argmax(forecast(model, batch).probability[0]))
    elif request.label in index:
        label = index[request.label]
    else:
        raise InputError(
            "label", request.label, "the model's catalogue holds no such label", "see its labels"
        )
    found = explain(
        model.forecaster,
        batch.histories,
        batch.texts,
        time,
        label,
        request.method,
        [event.action for event in ordered(request.events, time)],
    )
    return ExplainAnswer(
        model_version=model.version,
        privacy=model.privacy,
        basis=batch.basis[0],
        label=model.labels[label],
        method=request.method,
        probability=found.probability,
        baseline=found.baseline,
        contributions=found.contributions,
        habit=found.habit,
    )


def subsets(h: Histories, taking_part: Bool, session_gap_us: int) -> Histories:
    """Copies of a one-row history with only some of its events; baskets are numbered anew.

    Args:
        taking_part: bool ``[n, E]``.
        session_gap_us: events further apart than this lie in different baskets.
    """
    row, event = np.nonzero(taking_part)
    time = h.time[event]
    new = np.zeros(len(event), dtype=np.int64)
    new[1:] = (time[1:] - time[:-1] > session_gap_us) & (row[1:] == row[:-1])
    offsets = np.concatenate([[0], np.cumsum(taking_part.sum(axis=1))]).astype(np.int64)
    started = np.concatenate([[0], np.cumsum(new)])
    basket = started[1:] - started[offsets[row] + 1] if len(event) else new
    return Histories(
        users=tuple(str(i) for i in range(len(taking_part))),
        offsets=offsets,
        time=time,
        label=h.label[event],
        weight=h.weight[event],
        action=h.action[event],
        token=h.token[event],
        basket=basket.astype(np.int32),
    )


def habit(h: Histories, label: int, at: int, actions: Sequence[str]) -> Habit:
    """What a one-row history says of a label: how often, how long ago, how regularly."""
    own = np.flatnonzero((h.label == label) & (h.weight > 0))
    if not len(own):
        return Habit(words="never bought before")
    baskets = np.unique(h.basket[own])
    strongest = own[np.argmax(h.weight[own])]
    done = _DONE.get(actions[strongest], f"{actions[strongest]}:")
    days = (at - h.time[own]) / MICROSECONDS_PER_DAY
    times, last = len(baskets), float(days.min())
    recent = int((baskets > int(h.basket[-1]) - RECENT_BASKETS).sum())
    words = f"{done} {_times(times)}, last {_days(np.floor(last))} ago"
    every = None
    if times > 1:
        every = float(days.max() - days.min()) / (times - 1)
        words += f", usually every {_days(every)}"
    return Habit(
        times=times,
        last_days=last,
        every_days=every,
        of_last_five_baskets=recent,
        words=words,
    )


def _players(h: Histories, value: Callable[[Bool], Float64], whole: float) -> Bool:
    """Which events each player holds, bool ``[P, E]``; every event has one player."""
    if not h.events:
        return np.zeros((0, 0), dtype=bool)
    if h.events <= MAX_PLAYERS:
        return np.eye(h.events, dtype=bool)
    things, thing = np.unique(h.token, return_inverse=True)
    groups: Bool = np.zeros((len(things), h.events), dtype=bool)
    groups[thing, np.arange(h.events)] = True
    if len(groups) <= MAX_PLAYERS:
        return groups
    moved = np.abs(value(~groups) - whole)
    order = np.argsort(-moved, kind="stable")
    kept = groups[np.sort(order[: MAX_PLAYERS - 1])]
    rest: Bool = np.asarray(~kept.any(axis=0), dtype=bool)
    return np.concatenate([kept, rest[None, :]])


def _attribute(
    players: Bool, value: Callable[[Bool], Float64], method: Literal["shapley", "lime"]
) -> Float64:
    """The contribution of each player, float64 ``[P]``."""

    def score(masks: torch.Tensor) -> torch.Tensor:
        present = masks.numpy() > 0.5
        return torch.from_numpy(value((present @ players) > 0))

    inputs = torch.ones(1, len(players), dtype=torch.float64)
    with _GENERATOR, torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        if method == "lime":
            surrogate = Lime(score, interpretable_model=_WeightedLine())
            found = surrogate.attribute(
                inputs, n_samples=LIME_SAMPLES, perturbations_per_eval=ROWS_A_CALL
            )
        else:
            found = ShapleyValueSampling(score).attribute(
                inputs, n_samples=PERMUTATIONS, perturbations_per_eval=len(players)
            )
    return np.asarray(found[0].numpy(), dtype=np.float64)


class _WeightedLine:
    """Weighted least squares with a small ridge: LIME's interpretable model, in closed form."""

    def __init__(self) -> None:
        self._weights = torch.zeros(0, dtype=torch.float64)

    def fit(
        self, train_data: DataLoader[tuple[torch.Tensor, ...]], **kwargs: object
    ) -> dict[str, float]:
        """Fit to batches of (inputs ``[n, P]``, values ``[n]``, weights ``[n]``)."""
        batches = list(train_data)
        x = torch.cat([batch[0].double() for batch in batches])
        y = torch.cat([batch[1].double().reshape(-1) for batch in batches])
        w = torch.cat([batch[2].double().reshape(-1) for batch in batches])
        x = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
        ridge = LIME_RIDGE * torch.eye(x.shape[1], dtype=torch.float64)
        gram = x.T @ (w[:, None] * x) + ridge
        self._weights = torch.linalg.solve(gram, x.T @ (w * y))
        return {}

    def representation(self) -> torch.Tensor:
        """``[1, P]``: the effect of each player."""
        return self._weights[None, :-1]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``[n]``: the surrogate's values."""
        return x.double() @ self._weights[:-1] + self._weights[-1]


def _contribution(
    forecaster: Forecaster,
    h: Histories,
    texts: Sequence[str],
    actions: Sequence[str],
    player: Bool,
    part: float,
    players: int,
) -> Contribution:
    events = np.flatnonzero(player)
    newest = events[-1]
    tokens = np.unique(h.token[events])
    what = _ELSE
    if len(tokens) == 1:
        token = int(tokens[0])
        labels = forecaster.catalogue.labels
        if token < 0:
            what = "an unknown item"
        else:
            what = labels[token] if token < len(labels) else texts[token - len(labels)]
    return Contribution(
        time=moment(int(h.time[newest])),
        action=actions[newest],
        what=what,
        events=len(events),
        contribution=part,
    )


def _action_names(forecaster: Forecaster, h: Histories) -> list[str]:
    names = [*forecaster.task.action_names, "other"]
    return [names[i] for i in h.action]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _days(days: float) -> str:
    whole = round(days)
    if whole < 1:
        return "less than a day"
    return f"{whole} day{'s' if whole > 1 else ''}"
