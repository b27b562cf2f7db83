"""Neural sequence baselines: GRU4Rec (Hidasi et al. 2016) and SASRec (Kang and McAuley 2018).

Both read a user's last label events, one a day and label, and end in a state; labels are scored by
the state's product with their embeddings. They learn the share of each label among those acted on
in the coming window, which is what rows are measured on, instead of the next event alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from groundswell.shared.histories import Histories, Int64
from groundswell.shared.targets import normalised
from groundswell.shared.task import Task
from groundswell.simulation.baselines.baseline import TrainingData
from groundswell.simulation.baselines.counts import UserDays
from groundswell.simulation.evaluate import LITTLE_BASKETS, Forecast

LENGTH = 50  # events read; the default of SASRec
WIDTH = 64
DROPOUT = 0.2
LITTLE_SHARE = 0.3  # examples that are shown from their last five baskets alone
BATCH, EPOCHS, LEARNING_RATE = 256, 4, 3e-3
_ROWS_AT_ONCE = 512


class GruState(nn.Module):
    """One GRU layer; the state after the last event."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, events: Tensor, known: Tensor) -> Tensor:
        """``[B, T, W]`` events, right-aligned, and bool ``[B, T]``: state ``[B, W]``."""
        states, _ = self.gru(events * known[:, :, None])
        last: Tensor = states[:, -1]
        return last


class AttentionState(nn.Module):
    """Two self-attention blocks over learned positions; the last event's output.

    Only the last state is used, so a causal mask would change the lower block alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(LENGTH, WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(
            WIDTH, 2, 2 * WIDTH, DROPOUT, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, events: Tensor, known: Tensor) -> Tensor:
        """``[B, T, W]`` events, right-aligned, and bool ``[B, T]``: state ``[B, W]``."""
        known = known.clone()
        known[:, -1] = True  # a user without events attends to the empty last place
        states = self.layers(events + self.position, src_key_padding_mask=~known)
        last: Tensor = states[:, -1]
        return last


class SequenceModel(nn.Module):
    """Embeds labels, reads them by ``state``, scores all labels: logits ``[B, L]``."""

    def __init__(self, labels: int, state: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(labels + 1, WIDTH, padding_idx=labels)
        nn.init.normal_(self.embedding.weight, std=0.05)
        self.state = state
        self.norm = nn.LayerNorm(WIDTH)
        self.bias = nn.Parameter(torch.zeros(labels))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 ``[B, T]``, right-aligned, ``L`` where there is no event."""
        labels = len(self.bias)
        events = self.dropout(self.embedding(tokens))
        state = self.norm(self.state(events, tokens < labels))
        logits: Tensor = state @ self.embedding.weight[:labels].T + self.bias
        return logits


class SequenceBaseline:
    """A sequence model as a baseline; the seed fixes its start and the order of examples."""

    def __init__(self, state: type[GruState] | type[AttentionState]) -> None:
        self._state = state

    def fit(self, data: TrainingData) -> Self:
        self._task, self._labels = data.task, data.labels
        tokens, little, target = self._examples(data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(data.seed)
            self._model = SequenceModel(data.labels, self._state())
            _train(self._model, tokens, little, target)
        self._model.eval()
        return self

    @torch.no_grad()
    def scores(self, h: Histories, at: Int64) -> Forecast:
        tokens = torch.from_numpy(sequences(h, self._task, self._labels))
        logits = torch.cat([self._model(part) for part in torch.split(tokens, _ROWS_AT_ONCE)])
        return Forecast(logits.numpy(), torch.softmax(logits, dim=1).numpy())

    def _examples(self, data: TrainingData) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of whole histories and of five baskets ``[N, T]``, targets ``[N, L]``."""
        whole, little, target = [], [], []
        for chunk in data.rows(data.times.train).chunks():
            whole.append(sequences(chunk.known, data.task, data.labels))
            view = chunk.known.last_baskets(LITTLE_BASKETS)
            little.append(sequences(view, data.task, data.labels))
            target.append(normalised((chunk.weights > 0).astype(np.float32)))
        return _joined(whole), _joined(little), _joined(target)


def gru4rec() -> SequenceBaseline:
    return SequenceBaseline(GruState)


def sasrec() -> SequenceBaseline:
    return SequenceBaseline(AttentionState)


def sequences(h: Histories, task: Task, labels: int) -> NDArray[np.int64]:
    """int64 ``[B, LENGTH]``: last labels in order of days, right-aligned, ``labels`` for none."""
    days = UserDays.of(h, task, labels)
    order = np.lexsort((days.label, days.day, days.row))
    row, label = days.row[order], days.label[order]
    count = np.bincount(row, minlength=len(h))
    end = np.cumsum(count)
    place = LENGTH - (end[row] - np.arange(len(row)))
    tokens = np.full((len(h), LENGTH), labels, dtype=np.int64)
    kept = place >= 0
    tokens[row[kept], place[kept]] = label[kept]
    return tokens


def _joined(parts: Sequence[NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))


def _train(model: SequenceModel, whole: Tensor, little: Tensor, target: Tensor) -> None:
    optimiser = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    steps = EPOCHS * -(-len(whole) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    model.train()
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(whole)), BATCH):
            short = torch.rand(len(batch), 1) < LITTLE_SHARE
            tokens = torch.where(short, little[batch], whole[batch])
            loss = functional.cross_entropy(model(tokens), target[batch])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
