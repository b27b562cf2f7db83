"""From histories to the tensors that the model reads; each row from its own events alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundswell.shared import next_item
from groundswell.shared.backbone import Backbone, Encoded, encode_catalogue
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.events import PROFILE
from groundswell.shared.features import Family, LabelSpace, evidence, facts, relative_popularity
from groundswell.shared.habits import RECENT_BASKETS, Habits, habits
from groundswell.shared.histories import MICROSECONDS_PER_DAY, Float32, Histories, Int64
from groundswell.shared.next_item import ItemSpace
from groundswell.shared.prompts import prompt_tokens, prompts
from groundswell.shared.spec import NEXT, REPEAT, ModelSpec
from groundswell.shared.statistic_kind import Statistics
from groundswell.shared.task import Task
from groundswell.shared.tokens import EventTokens, TokenTables

RECENT_DAYS = 28.0  # a label without an occasion in this time is a change when it comes
TOKEN_HALF_LIFE = 30.0  # days; how fast an event's weight in the interest state fades
LEAST_TOKEN_WEIGHT = 0.1  # of an event whose action weighs nothing in the target: a search, a view
PROFILE_WEIGHT = 0.5  # of the profile's token, whatever its age
CONTEXT_SCALE = 0.3  # of action and time-gap embeddings beside the event's text
_GAP_EDGES = np.array([1.0, 7.0, 14.0, 28.0, 90.0])  # days
_GAP_TEXTS = ("today", "this week", "last week", "this month", "this season", "long ago")


@dataclass(frozen=True)
class Batch:
    """``R`` rows in ``V`` views (full history, last five baskets), ``L`` labels.

    Attributes:
        scores: ``[R, V, L, K + M]``: K non-negative scores, then M tilts of either sign.
        facts: ``[R, V, G]``.
        tokens: event tokens, oldest first, or the word pieces of a prompt, shared by the views:
            ``[R, T, D]``, or by their places.
        mask: bool ``[R, T]``.
        weight: ``[R, T]``, weight of each token in the summary.
        log_popularity: ``[L]``.
        unrecent: bool ``[R, V, L]``: no occasion in the last 28 days; of none with the head
            ``next``, for which no label counts twice in the loss.
    """

    scores: Tensor
    facts: Tensor
    tokens: Tensor | EventTokens
    mask: Tensor
    weight: Tensor
    log_popularity: Tensor
    unrecent: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def dense(self) -> Batch:
        """The same batch with its tokens as ``[R, T, D]``."""
        if not isinstance(self.tokens, EventTokens):
            return self
        return replace(self, tokens=self.tokens.dense() * self.mask[:, :, None])

    def on(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        if self.scores.device == device:
            return self
        tokens = self.tokens
        return Batch(
            scores=self.scores.to(device),
            facts=self.facts.to(device),
            tokens=tokens.on(device) if isinstance(tokens, EventTokens) else tokens.to(device),
            mask=self.mask.to(device),
            weight=self.weight.to(device),
            log_popularity=self.log_popularity.to(device),
            unrecent=self.unrecent.to(device),
        )

    def to(self, dtype: torch.dtype) -> Batch:
        """The same batch with its real numbers in another precision."""
        return replace(
            self,
            scores=self.scores.to(dtype),
            facts=self.facts.to(dtype),
            tokens=self.tokens.to(dtype),
            weight=self.weight.to(dtype),
            log_popularity=self.log_popularity.to(dtype),
        )


@dataclass(frozen=True)
class TextTables:
    """Cached text embeddings that event tokens are made of.

    Attributes:
        events: catalogue texts, then further texts of the site, as ``Histories.token`` counts.
        actions: float32 ``[actions + 1, D]``; the last row is an unknown action's.
        gaps: float32 ``[6, D]``.
        begins: tables that these extend; None: none.
    """

    events: Encoded
    actions: Float32
    gaps: Float32
    begins: TextTables | None = None

    def extended(self, further: Encoded) -> TextTables:
        """These tables with more texts."""
        return TextTables(self.events.extended(further), self.actions, self.gaps, self)

    @cached_property
    def tokens(self) -> TokenTables:
        """The same as tokens are made of: contexts scaled, for every action and gap."""
        if self.begins is not None:
            further = self.events.prefix[len(self.begins.events) :]
            return self.begins.tokens.extended(torch.from_numpy(further))
        contexts = (self.actions[:, None] + self.gaps[None]) * np.float32(CONTEXT_SCALE)
        return TokenTables(
            torch.from_numpy(self.events.prefix),
            torch.from_numpy(contexts.reshape(-1, self.gaps.shape[1])),
            len(self.gaps),
        )

    @classmethod
    def of(
        cls, backbone: Backbone, task: Task, labels: Encoded, texts: Sequence[str], top: int
    ) -> TextTables:
        """Tables for a catalogue's encoded ``labels`` and a site's further ``texts``."""
        actions = backbone.encode([*task.action_names, "other"], top).prefix
        gaps = backbone.encode(_GAP_TEXTS, top).prefix
        found = cls(labels, _about_mean(actions), _about_mean(gaps))
        return found.extended(backbone.encode(texts, top)) if texts else found


class Inputs:
    """Makes batches for one catalogue, one task and one set of released statistics.

    Args:
        texts: the site's further texts (``PreparedSite.texts``); encoded here, kept in memory only.
        statistics: released statistics by name; may be replaced later.
    """

    def __init__(
        self,
        spec: ModelSpec,
        task: Task,
        catalogue: Catalogue,
        backbone: Backbone,
        *,
        encoded: Encoded | None = None,
        texts: Sequence[str] = (),
        statistics: Statistics | None = None,
    ) -> None:
        self.spec = spec
        self.task = task
        self.catalogue = catalogue
        self.backbone = backbone
        labels = encoded or encode_catalogue(backbone, catalogue, spec.layers)
        self.space = LabelSpace.of(catalogue, labels.unit)
        self.items = ItemSpace.of(catalogue, self.space) if spec.head == NEXT else None
        self.tables = TextTables.of(backbone, task, labels, texts, spec.layers)
        self.statistics: Statistics = statistics or {}

    def with_texts(self, texts: Sequence[str]) -> Inputs:
        """The same, with other further texts."""
        return self.with_encoded(self.backbone.encode(texts, self.spec.layers))

    def with_encoded(self, further: Encoded) -> Inputs:
        """The same, with other further texts that are encoded already."""
        other = copy.copy(self)
        other.tables = (self.tables.begins or self.tables).extended(further)
        return other

    def batch(self, h: Histories, at: Int64, *, both_views: bool = False) -> Batch:
        """The model's input for rows ``h`` as of ``at`` (int64 ``[R]``, microseconds).

        Only events of the task's ``history`` before that time are seen.

        Args:
            both_views: the last five baskets as a second view, for training; there is none with
                the head ``next``, whose histories are short.
        """
        at = np.asarray(at, dtype=np.int64)
        h = h.between(at - self.task.history_us, at)
        recent = h.last_baskets(RECENT_BASKETS)
        views = [h, recent] if both_views and self.spec.head == REPEAT else [h]
        labels, window = len(self.catalogue.labels), self.task.window_us
        seen = [habits(view, at, labels, window) for view in views]
        values = [self._evidence(*each) for each in zip(views, seen, strict=True)]
        tokens, mask, weight = self._tokens(h, recent, at)
        return Batch(
            scores=torch.from_numpy(np.stack(values, axis=1)),
            facts=torch.from_numpy(np.stack([facts(s) for s in seen], axis=1)),
            tokens=tokens,
            mask=mask,
            weight=weight,
            log_popularity=self._log_popularity,
            unrecent=torch.from_numpy(np.stack([self._unrecent(s) for s in seen], axis=1)),
        )

    def _evidence(self, view: Histories, seen: Habits) -> Float32:
        families = self.spec.families
        if self.items is not None:
            return next_item.evidence(view, seen, self.statistics, self.items, families)
        days = self.task.window_us / MICROSECONDS_PER_DAY
        return evidence(seen, self.statistics, self.space, families, days)

    def _unrecent(self, seen: Habits) -> NDArray[np.bool_]:
        recent = seen.recent(RECENT_DAYS)
        return ~recent if self.spec.head == REPEAT else np.zeros_like(recent)

    @property
    def _log_popularity(self) -> Tensor:
        known = self.statistics if Family.STATISTICS in self.spec.families else {}
        popularity = relative_popularity(known, len(self.catalogue.labels))
        return torch.from_numpy(np.log(popularity))

    def _tokens(
        self, h: Histories, recent: Histories, at: Int64
    ) -> tuple[Tensor | EventTokens, Tensor, Tensor]:
        """What the interest state reads: tokens, bool ``[R, T]``, weights ``[R, T]``.

        These are each row's strongest texts, in order of time, and then its newest profile where
        the task knows profiles; or the word pieces of one text that names them. An event's strength
        is its action's weight, halved every ``TOKEN_HALF_LIFE`` days; equal texts add up and take
        action and gap of the newest.
        """
        texts, names = len(self.tables.events), self.task.action_names
        profile = names.index(PROFILE) if PROFILE in names else None
        length = self.spec.tokens + (profile is not None)
        row, slot, event, strength = _strongest_tokens(recent, at, self.spec.tokens, texts, profile)
        told_row, told = _newest(h, profile, texts)
        if self.spec.prompt:
            action = np.r_[recent.action[event], h.action[told]]
            token = np.r_[recent.token[event], h.token[told]]
            return self._prompt_tokens(len(h), np.r_[row, told_row], action, token)
        text = np.zeros((len(recent), length), dtype=np.int64)
        context = np.zeros((len(recent), length), dtype=np.int64)
        mask = np.zeros((len(recent), length), dtype=bool)
        weight = np.zeros((len(recent), length), dtype=np.float32)
        age = (at[row] - recent.time[event]) / MICROSECONDS_PER_DAY
        action = np.clip(recent.action[event], 0, len(self.tables.actions) - 1)
        text[row, slot] = recent.token[event]
        context[row, slot] = action * len(self.tables.gaps) + np.digitize(age, _GAP_EDGES)
        mask[row, slot] = True
        weight[row, slot] = strength
        text[told_row, -1] = h.token[told]
        context[told_row, -1] = h.action[told].astype(np.int64) * len(self.tables.gaps)
        mask[told_row, -1] = True
        weight[told_row, -1] = PROFILE_WEIGHT
        tokens = EventTokens(self.tables.tokens, torch.from_numpy(text), torch.from_numpy(context))
        return tokens, torch.from_numpy(mask), torch.from_numpy(weight)

    def _prompt_tokens(
        self, rows: int, row: Int64, action: NDArray[np.int16], token: NDArray[np.int32]
    ) -> tuple[Tensor, Tensor, Tensor]:
        action = np.clip(action, 0, len(self.task.action_names))
        words = (*self.catalogue.labels, *self.tables.events.texts[len(self.catalogue) :])
        named = zip(row.tolist(), action.tolist(), token.tolist(), strict=True)
        texts = prompts(self.spec.prompt, rows, named, self.task.action_names, words)
        tokens, mask = prompt_tokens(self.backbone, texts, self.spec.layers)
        return tokens, mask, mask.to(tokens.dtype)


def _newest(h: Histories, action: int | None, texts: int) -> tuple[Int64, Int64]:
    """Row and place of each row's newest event of an action, ``[n]`` each; None: of no row."""
    if action is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    found = np.flatnonzero((h.action == action) & (h.token >= 0) & (h.token < texts))
    row = h.row()[found]
    last = np.ones(len(found), dtype=bool)
    last[:-1] = row[1:] != row[:-1]
    return row[last], found[last]


def _strongest_tokens(
    h: Histories, at: Int64, length: int, texts: int, profile: int | None
) -> tuple[Int64, Int64, Int64, Float32]:
    """Row, slot, newest event and strength of every chosen token, ``[n]`` each."""
    kept = (h.token >= 0) & (h.token < texts)
    worded = np.flatnonzero(kept if profile is None else kept & (h.action != profile))
    row = h.row()[worded]
    age = (at[row] - h.time[worded]) / MICROSECONDS_PER_DAY
    strength = np.maximum(h.weight[worded], LEAST_TOKEN_WEIGHT) * np.exp2(-age / TOKEN_HALF_LIFE)
    key = row * np.int64(texts) + h.token[worded]
    order = np.argsort(key, kind="stable")
    key, strength, event = key[order], strength[order], worded[order]
    last = np.ones(len(key), dtype=bool)
    last[:-1] = key[1:] != key[:-1]
    ends = np.flatnonzero(last)
    total = np.add.reduceat(strength, np.r_[0, ends[:-1] + 1]) if len(ends) else strength
    row, event = key[ends] // texts, event[ends]
    by_strength = np.lexsort((event, -total, row))
    row, event, total = row[by_strength], event[by_strength], total[by_strength]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept = rank < length
    row, event, total = row[kept], event[kept], total[kept]
    by_time = np.lexsort((event, row))
    row, event, total = row[by_time], event[by_time], total[by_time]
    slot = np.arange(len(row)) - np.searchsorted(row, row)
    return row, slot, event, total.astype(np.float32)


def _about_mean(table: Float32) -> Float32:
    return np.asarray(table - table.mean(axis=0), dtype=np.float32)
