"""Forecasts from a saved model; pure, so that a shop, a gateway and a script run the same code."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from groundswell.shared.backbone import Backbone, Encoded, load_backbone
from groundswell.shared.batches import Batch, Inputs
from groundswell.shared.checkpoint import Checkpoint, load, read_manifest
from groundswell.shared.device import preferred
from groundswell.shared.frames import events_frame, histories_of
from groundswell.shared.habits import habits
from groundswell.shared.histories import Float32, Histories, Int64
from groundswell.shared.model import InterestModel, load_weights

ROWS_AT_ONCE = 1024
RISING, FADING = 1.25, 0.8  # lifts beyond which a label rises or fades
PRIOR_OCCASIONS = 20.0  # the prior's weight in a user's long-term rate, in occasions


class Forecaster:
    """A model that is ready to forecast.

    Args:
        checkpoint: the saved model.
        backbone: the one it belongs to.
    """

    def __init__(self, checkpoint: Checkpoint, backbone: Backbone) -> None:
        self.checkpoint = checkpoint
        self.backbone = backbone
        self.inputs = Inputs(
            checkpoint.spec,
            checkpoint.task,
            checkpoint.catalogue,
            backbone,
            statistics=checkpoint.statistics,
        )
        self.model = InterestModel(checkpoint.spec, backbone, self.inputs.space)
        load_weights(self.model, checkpoint.weights)
        self.model.eval()
        self.model.to(preferred())

    def predict(self, events: Any, at: datetime | str | None = None) -> pl.DataFrame:
        """Forecast all labels of every user in ``events``.

        Args:
            events: list of dicts, pandas or Polars frame, columns as in the training data.
            at: as of when; default: just after the last event. Later events are not looked at.

        Returns:
            Columns user, label, probability, lift, trend; users in order of appearance, labels by
            falling probability. A user without events before ``at`` gets the prior, and a warning
            says how many do.

        Raises:
            InputError: the events can't be read.
        """
        known = self.checkpoint
        frame = events_frame(events, known.columns, known.timezone, known.profile)
        h, texts = histories_of(frame, self.checkpoint.catalogue, self.checkpoint.task)
        times = np.full(len(h), self._time(at, frame), dtype=np.int64)
        empty = int((np.diff(h.before(times).offsets) == 0).sum())
        if empty:
            warnings.warn(
                f"{empty} of {len(h)} users have no usable event before the time that is forecast "
                "from: their forecast is the prior",
                stacklevel=2,
            )
        probability = self.probabilities(h, times, texts)
        long_term = self.long_term(h, times)
        return _table(h.users, self.checkpoint.catalogue.labels, probability, long_term)

    def probabilities(
        self, h: Histories, at: Int64, texts: tuple[str, ...] | Encoded = ()
    ) -> NDArray[np.float32]:
        """float32 ``[B, L]``, rows sum to 1, for rows ``h`` as of ``at`` (microseconds).

        Args:
            texts: what tokens from the number of labels on stand for, encoded or not.
        """
        inputs = self.inputs
        if isinstance(texts, Encoded):
            inputs = inputs.with_encoded(texts)
        elif texts:
            inputs = inputs.with_texts(texts)
        blocks = [np.zeros((0, len(self.checkpoint.catalogue)), dtype=np.float32)]
        for start in range(0, len(h), ROWS_AT_ONCE):
            rows = np.arange(start, min(start + ROWS_AT_ONCE, len(h)))
            batch = inputs.batch(h.take(rows), at[rows])
            blocks.append(self._softmax(batch))
        return np.concatenate(blocks)

    def long_term(self, h: Histories, at: Int64) -> Float32:
        """Each user's own long-term rate, float32 ``[B, L]``, rows sum to 1.

        Own occasions so far, and ``PRIOR_OCCASIONS`` more spread as the prior is.
        """
        count = habits(h, at, len(self.checkpoint.catalogue)).count
        total = count.sum(axis=1, keepdims=True) + PRIOR_OCCASIONS
        return np.asarray((count + PRIOR_OCCASIONS * self.prior) / total, dtype=np.float32)

    @cached_property
    def prior(self) -> Float32:
        """The forecast for a user without any event, float32 ``[L]``."""
        return np.asarray(self.probabilities(nobody(), np.zeros(1, dtype=np.int64))[0])

    def _softmax(self, batch: Batch) -> Float32:
        with torch.no_grad():
            logits = self.model(batch)[:, 0]
        return np.asarray(logits.softmax(dim=1).float().cpu().numpy())

    def _time(self, at: datetime | str | None, frame: pl.DataFrame) -> int:
        if at is None:
            last = frame["time"].dt.epoch("us").max()
            return int(last) + 1 if isinstance(last, int) else _now()
        moment = datetime.fromisoformat(at) if isinstance(at, str) else at
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        time = round(moment.timestamp() * 1_000_000)
        as_of = self.checkpoint.statistics_as_of
        if as_of is not None and time < as_of:
            warnings.warn(
                "the model's statistics saw events after the time that is forecast from",
                stacklevel=3,
            )
        return time


def load_model(folder: str | Path, backbone: str | None = None) -> Forecaster:
    """Load a saved model.

    Args:
        folder: the checkpoint folder.
        backbone: name or local folder of the backbone; default: the name in the manifest.

    Raises:
        ModelError: the checkpoint is damaged or belongs to another backbone.
        InputError: the backbone is not on this machine.
    """
    manifest = read_manifest(Path(folder))
    found = load_backbone(backbone or str(manifest["backbone"]))
    return Forecaster(load(Path(folder), found), found)


def trends(lift: NDArray[np.floating]) -> list[str]:
    """rising, fading or steady for each lift."""
    named = np.where(lift > RISING, "rising", np.where(lift < FADING, "fading", "steady"))
    return [str(name) for name in named]


def _table(
    users: tuple[str, ...], labels: tuple[str, ...], probability: Float32, long_term: Float32
) -> pl.DataFrame:
    order = np.argsort(-probability, axis=1, kind="stable")
    ranked = np.take_along_axis(probability, order, axis=1)
    lift = ranked / np.maximum(np.take_along_axis(long_term, order, axis=1), 1e-12)
    flat = lift.astype(np.float32).ravel()
    return pl.DataFrame(
        {
            "user": np.repeat(np.array(users, dtype=object), len(labels)),
            "label": np.array(labels, dtype=object)[order.ravel()],
            "probability": ranked.ravel(),
            "lift": flat,
            "trend": trends(flat),
        },
        schema={
            "user": pl.String,
            "label": pl.String,
            "probability": pl.Float32,
            "lift": pl.Float32,
            "trend": pl.String,
        },
    )


def nobody() -> Histories:
    """One row without events."""
    none = np.zeros(0, dtype=np.int64)
    return Histories(
        ("",),
        np.zeros(2, dtype=np.int64),
        none,
        none.astype(np.int32),
        none.astype(np.float32),
        none.astype(np.int16),
        none.astype(np.int32),
        none.astype(np.int32),
    )


def _now() -> int:
    return round(datetime.now(UTC).timestamp() * 1_000_000)
