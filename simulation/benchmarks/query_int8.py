"""What 8-bit weights of the text encoder cost: all texts by int8, NDCG on the demo data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from groundswell.client.annotate import encode
from groundswell.shared.batches import Inputs
from groundswell.shared.histories import Histories
from groundswell.shared.metrics import hits, ndcg
from groundswell.shared.model import InterestModel, load_weights
from groundswell.shared.predict import load_model
from groundswell.shared.targets import label_weights
from groundswell.shared.text_engine import TextEngine
from groundswell.simulation.datasets import complete_journey

MONDAYS = 2  # of the test
ROWS_AT_ONCE = 256


def compare(folder: Path) -> dict[str, Any]:
    """NDCG@10 over households of the first test Mondays, with texts by fp32 and by int8."""
    loaded = load_model(folder)
    checkpoint, dataset = loaded.checkpoint, complete_journey.load(sites=8)
    events = pl.concat(list(dataset.sites.values()))
    histories = encode(events, checkpoint.catalogue, checkpoint.task)
    engine = TextEngine(loaded.backbone, checkpoint.spec.layers, int8=True)
    rough = Inputs(
        checkpoint.spec,
        checkpoint.task,
        checkpoint.catalogue,
        loaded.backbone,
        encoded=engine.encode(checkpoint.catalogue.texts, unit=True),
        statistics=checkpoint.statistics,
    )
    exact = _scores(loaded.inputs, loaded.model, histories, dataset.times.test)
    model = InterestModel(checkpoint.spec, loaded.backbone, rough.space)
    load_weights(model, checkpoint.weights)
    found = _scores(rough, model.eval(), histories, dataset.times.test)
    return {
        "case": "int8",
        "ndcg@10": found,
        "ndcg@10_fp32": exact,
        "ratio": found / exact,
        "households": len(histories),
        "mondays": MONDAYS,
    }


def _scores(inputs: Inputs, model: InterestModel, h: Histories, times: Any) -> float:
    """Mean NDCG@10 over households with a purchase in the window."""
    labels, found = len(inputs.catalogue), []
    for at in times[:MONDAYS]:
        for start in range(0, len(h), ROWS_AT_ONCE):
            rows = h.take(np.arange(start, min(start + ROWS_AT_ONCE, len(h))))
            moment = np.full(len(rows), at, dtype=np.int64)
            positives = label_weights(rows, moment, inputs.task.window_us, labels) > 0
            kept = np.flatnonzero(
                positives.any(axis=1) & (np.diff(rows.before(moment).offsets) > 0)
            )
            if not len(kept):
                continue
            with torch.no_grad():
                scores = model(inputs.batch(rows.take(kept), moment[kept]))[:, 0].numpy()
            found.append(ndcg(hits(scores, positives[kept])))
    return float(np.concatenate(found).mean())
