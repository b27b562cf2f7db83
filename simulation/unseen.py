"""The ``unseen_labels`` slice: a model that never saw forty labels, asked to rank them.

Sorted labels at every seventh place, at most forty, are held out of all training and statistics of
models of their own. Their statistics then come from similar labels (``shared/unseen.py``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from groundswell.server.rounds import Outcome
from groundswell.shared.batches import Inputs
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import GroundswellError
from groundswell.shared.histories import Histories, Int64
from groundswell.shared.model import InterestModel, initialise, load_weights
from groundswell.shared.plan import Plan
from groundswell.shared.transfer import ModelState
from groundswell.shared.unseen import extended_statistics
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.evaluate import UNSEEN_LABELS, Forecast, Measurement, Scorer, evaluate
from groundswell.simulation.federated import run_in_process
from groundswell.simulation.models import Variant
from groundswell.simulation.setting import Setting


def measure_unseen(
    setting: Setting, variant: Variant, seed: int, name_run: Callable[[str], str]
) -> Measurement:
    """Train a variant without the held-out labels and measure how it ranks them.

    Args:
        setting: of the whole data; its evaluation rows are measured.
        name_run: the run's id for a name.
    """
    catalogue = setting.dataset.catalogue
    if not variant.groups:
        catalogue = replace(catalogue, groups=("",) * len(catalogue))
    known = Setting.build(
        variant.config, without_labels(setting.dataset, catalogue, setting.measured.held_out), seed
    )
    plan = known.plan(variant.config, variant.spec, run=name_run(f"{variant.name}-unseen"))
    with (
        tempfile.TemporaryDirectory() as folder,
        run_in_process(known, plan, Path(folder), seed=seed, noisy=variant.noisy) as running,
    ):
        if running.report.outcome is not Outcome.FINISHED:
            raise GroundswellError(f"{variant.name}: {running.report.reason}")
        state = running.model
    scorer = extended_scorer(setting, catalogue, known.dataset.catalogue, variant, plan, state)
    return evaluate(scorer, setting.measured, (UNSEEN_LABELS,))


def without_labels(dataset: Dataset, catalogue: Catalogue, held_out: Int64) -> Dataset:
    """The data set as if the labels at these places of ``catalogue`` did not exist."""
    kept = np.setdiff1d(np.arange(len(catalogue)), held_out)
    names = {catalogue.labels[i] for i in kept}
    items = {item: label for item, label in catalogue.item_to_label.items() if label in names}
    smaller = Catalogue(
        catalogue.name,
        tuple(catalogue.labels[i] for i in kept),
        tuple(catalogue.texts[i] for i in kept),
        tuple(catalogue.groups[i] for i in kept),
        catalogue.sizes[kept],
        items,
    )
    gone = pl.Series([catalogue.labels[i] for i in held_out], dtype=pl.String).implode()
    sites = {
        name: events.filter(~pl.col("label").is_in(gone).fill_null(False))
        for name, events in dataset.sites.items()
    }
    return replace(dataset, catalogue=smaller, sites=sites)


def extended_scorer(
    setting: Setting,
    catalogue: Catalogue,
    known: Catalogue,
    variant: Variant,
    plan: Plan,
    state: ModelState,
) -> Scorer:
    """A model trained on ``known`` labels as a scorer of all labels of ``catalogue``."""
    inputs = Inputs(
        variant.spec, setting.dataset.task, catalogue, setting.backbone, encoded=setting.encoded
    )
    inputs.statistics = extended_statistics(
        state.statistics,
        known,
        catalogue,
        setting.surroundings_of(bert=variant.spec.bert).label_embeddings,
    )
    model = InterestModel(variant.spec, setting.backbone, inputs.space)
    initialise(model, plan.hash())
    load_weights(model, state.weights)

    @torch.no_grad()
    def score(rows: Histories, at: Int64) -> Forecast:
        return Forecast(model(inputs.batch(rows, np.asarray(at)))[:, 0].cpu().numpy())

    return score
