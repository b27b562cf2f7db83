"""A trained state of the model as a scorer for the evaluation."""

from __future__ import annotations

import numpy as np
import torch

from groundswell.client.contributions import Workplace
from groundswell.shared.histories import Histories, Int64
from groundswell.shared.model import load_weights
from groundswell.shared.transfer import ModelState
from groundswell.simulation.evaluate import Forecast, Scorer


def model_scorer(workplace: Workplace, state: ModelState) -> Scorer:
    """Scores rows with the workplace's model in this state; the workplace is used from then on."""

    @torch.no_grad()
    def score(rows: Histories, at: Int64) -> Forecast:
        workplace.inputs.statistics = workplace.own_statistics(state)
        load_weights(workplace.model, state.weights)
        logits = workplace.model(workplace.inputs.batch(rows, np.asarray(at)))[:, 0].cpu()
        return Forecast(logits.numpy(), torch.softmax(logits, dim=1).numpy())

    return score
