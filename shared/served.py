"""A saved model, made ready to answer questions under a version."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groundswell.shared.answering import Forecast, Region, ServedModel
from groundswell.shared.backbone import Encoded
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.checkpoint import Checkpoint
from groundswell.shared.demand_release import DemandBlock, DemandRelease, released_demand
from groundswell.shared.histories import Float32, Histories, Int64
from groundswell.shared.legible import Vocabulary
from groundswell.shared.predict import Forecaster, load_model
from groundswell.shared.questions import Privacy, Tier
from groundswell.shared.recommend import ItemIndex
from groundswell.shared.task import Task
from groundswell.shared.text_engine import TextEngine, available
from groundswell.shared.text_engine_name import TextEngineName

WEAK_LOCAL_EPSILON = 10.0
WEAK_LOCAL_NOTE = "alone, the local tier protects little; this rests on secure aggregation"
REGION_NOTE = "this release alone; each site's ledger adds it to all others"
LEAST_RATE = 1e-12
VERSION_DIGITS = 12


class LoadedForecaster:
    """``answering.Forecaster`` over a loaded checkpoint.

    Args:
        engine: encodes the free text of questions; None: the backbone itself.
    """

    def __init__(self, loaded: Forecaster, engine: TextEngine | None = None) -> None:
        self._loaded = loaded
        self._engine = engine
        # A tokenizer changes while it works: two threads at once would fail.
        self._encoding = threading.Lock()

    @property
    def catalogue(self) -> Catalogue:
        """The labels that it ranks."""
        return self._loaded.checkpoint.catalogue

    @property
    def task(self) -> Task:
        """What it was trained to forecast."""
        return self._loaded.checkpoint.task

    def forecast(self, h: Histories, texts: Sequence[str], at: Int64) -> Forecast:
        """Forecast each row, see ``answering.Forecaster``."""
        probability = self._loaded.probabilities(h, at, self._encode(texts) if texts else ())
        long_term = np.maximum(self._loaded.long_term(h, at), LEAST_RATE)
        return Forecast(probability, (probability / long_term).astype(np.float32))

    def nearest(self, texts: Sequence[str]) -> list[tuple[int, float]]:
        """The nearest label of each text, see ``answering.Forecaster``."""
        cosine = self.likeness(texts)
        best = cosine.argmax(axis=1)
        return [(int(i), float(row[i])) for i, row in zip(best, cosine, strict=True)]

    def likeness(self, texts: Sequence[str]) -> Float32:
        """Cosines, see ``answering.Forecaster``."""
        embeddings = self._loaded.inputs.space.embeddings
        cosine: Float32 = self._encode(texts, unit=True).unit @ embeddings.T
        return cosine

    def unread(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Those that the backbone's vocabulary mostly does not know, see ``Vocabulary``."""
        with self._encoding:
            return Vocabulary.of(self._loaded.backbone.tokenizer).unread(texts)

    def _encode(self, texts: Sequence[str], *, unit: bool = False) -> Encoded:
        with self._encoding:
            if self._engine is not None:
                return self._engine.encode(texts, unit=unit)
            return self._loaded.backbone.encode(texts, self._loaded.checkpoint.spec.layers)


def serve_folder(
    folder: Path,
    version: str | None = None,
    backbone: str | None = None,
    engine: TextEngineName = TextEngineName.TORCH,
) -> ServedModel:
    """Load a model folder.

    Args:
        version: what answers call it; default: the first digits of its tensors' hash.
        engine: what encodes free text; a decoder, or a missing package, leaves torch.

    Raises:
        ModelError, InputError: see ``predict.load_model``.
    """
    loaded = load_model(folder, backbone)
    checkpoint = loaded.checkpoint
    text_engine = None
    if engine is not TextEngineName.TORCH and available() and not loaded.backbone.decoder:
        int8 = engine is TextEngineName.INT8
        text_engine = TextEngine(loaded.backbone, checkpoint.spec.layers, int8=int8)
    forecaster = LoadedForecaster(loaded, text_engine)
    return ServedModel(
        version or checkpoint.hash[:VERSION_DIGITS],
        forecaster,
        privacy_of(checkpoint.privacy),
        ItemIndex.of(checkpoint.catalogue),
        checkpoint.hash,
        _demand(checkpoint),
        {
            name: Region(each.sites, privacy_of(each.privacy, REGION_NOTE))
            for name, each in checkpoint.regions.items()
        },
        checkpoint.statistics_as_of,
        forecaster.unread,
    )


def _demand(checkpoint: Checkpoint) -> dict[DemandBlock, DemandRelease]:
    """What all sites released together, and what the sites of each region released alone."""
    found = released_demand(checkpoint.statistics, checkpoint.statistics_as_of)
    for name, each in checkpoint.regions.items():
        found |= released_demand(checkpoint.statistics, each.as_of, name)
    return found


def privacy_of(promised: Mapping[str, Any], note: str | None = None) -> Privacy:
    """Both tiers from the privacy object that manifest and results carry.

    Args:
        note: to stand beside a tier that has no weakness of its own to tell.
    """
    delta = promised.get("delta")
    tiers = {}
    for name in ("central", "local"):
        values = promised.get(name) or {}
        epsilon = values.get("epsilon")
        weak = name == "local" and epsilon is not None and epsilon > WEAK_LOCAL_EPSILON
        tiers[name] = Tier(
            epsilon=epsilon,
            reserved_epsilon=values.get("reserved_epsilon"),
            noise_multiplier=values.get("noise_multiplier"),
            tpr_at_1pct_fpr=values.get("tpr_at_1pct_fpr"),
            delta=delta,
            note=WEAK_LOCAL_NOTE if weak else note,
        )
    return Privacy(central=tiers["central"], local=tiers["local"])
