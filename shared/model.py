"""The model: a gated mixture of non-negative scores, one of them the interest state's text score,
tilted by the user's own rhythm.

s(u, l) = log(1e-4 + sum_k exp(theta_k + Gamma_k facts(u)) f_k(u, l)) + sum_m (a_m + A_m facts(u))
r_m(u, l), softmax over labels, where f are scores and r tilts (``features.py``; of the head
``next``, where the text score is one of the tilts, ``next_item.py``). What trains is
LoRA's B (A too where it is not frozen) and the head (theta, Gamma, a, A): the flat vector of the
rounds, in sorted name order.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groundswell.shared.backbone import Backbone
from groundswell.shared.batches import Batch
from groundswell.shared.features import FACTS, LABELS_A_WEEK, LabelSpace
from groundswell.shared.interest import InterestEncoder, frozen_a
from groundswell.shared.spec import ModelSpec
from groundswell.shared.tensors import flatten, unflatten

Float32 = NDArray[np.float32]

LEAST_MIXTURE = 1e-4
LARGEST_LOG_GATE = 8.0
SLICE_WEIGHT = 0.5  # of the loss over labels without a recent occasion
# Key of an A that trains. It is part of the first model, whose hash stands in the plan, and so it
# can't follow from the plan's hash.
TRAINED_A = bytes(32)
MASKED = -1e9  # logit of a label outside the slice


class InterestModel(nn.Module):
    """Adapter and head over a frozen backbone.

    Args:
        spec: architecture and switches.
        backbone: its top layers are copied.
        space: the catalogue's labels; not a parameter, so a new catalogue needs no training.
    """

    label_directions: Tensor
    label_centre: Tensor

    def __init__(self, spec: ModelSpec, backbone: Backbone, space: LabelSpace) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = InterestEncoder(backbone, top=spec.layers, rank=spec.rank, alpha=spec.alpha)
        self.head = nn.Linear(len(FACTS), len(spec.weighed.names))
        if spec.bert:
            self.encoder.train_adapter(frozen_a=spec.frozen_a)
        self.register_buffer("label_directions", torch.zeros(0), persistent=False)
        self.register_buffer("label_centre", torch.zeros(0), persistent=False)
        self.use_labels(space)
        initialise(self, TRAINED_A)

    def use_labels(self, space: LabelSpace) -> None:
        """Score these labels from now on."""
        weight = self.head.weight
        self.label_directions = torch.from_numpy(space.directions).to(weight)
        self.label_centre = torch.from_numpy(space.centre).to(weight)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.head.weight.device

    def forward(self, batch: Batch) -> Tensor:
        """Logits ``[R, V, L]``, where the model computes."""
        batch = batch.on(self.device)
        weighed = self.spec.weighed
        head, own = self.head(batch.facts), len(weighed.scores)
        gates = head[:, :, : own + 1].clamp(max=LARGEST_LOG_GATE).exp()
        mixture = (batch.scores[:, :, :, :own] @ gates[:, :, :own, None]).squeeze(3)
        tilt = (batch.scores[:, :, :, own:] @ head[:, :, own + 1 :, None]).squeeze(3)
        if self.spec.bert and weighed.text_tilts:
            tilt = tilt + self.nearness(batch)[:, None, :] * head[:, :, own : own + 1]
        elif self.spec.bert:
            mixture = mixture + self.text_scores(batch)[:, None, :] * gates[:, :, own:]
        logits: Tensor = (mixture + LEAST_MIXTURE).log() + tilt
        return logits

    def nearness(self, batch: Batch) -> Tensor:
        """``[R, L]``: cosine of the interest state and each label's text, 0 without events."""
        state = self.encoder(batch.tokens, batch.mask, batch.weight)
        state = nn.functional.normalize(state, dim=1) - self.label_centre
        cosine = nn.functional.normalize(state, dim=1) @ self.label_directions.T
        return cosine * batch.mask.any(dim=1, keepdim=True)

    def text_scores(self, batch: Batch) -> Tensor:
        """``[R, L]``: popularity tilted towards labels near the interest state, sum ten a row."""
        logits = self.spec.sharpness * self.nearness(batch) + batch.log_popularity
        return LABELS_A_WEEK * logits.softmax(dim=1)


def forecast_loss(logits: Tensor, targets: Tensor, unrecent: Tensor) -> Tensor:
    """Cross-entropy over labels plus half the same over labels without a recent occasion.

    Args:
        logits: ``[R, V, L]``.
        targets: ``[R, L]``, rows sum to 1 or 0.
        unrecent: bool ``[R, V, L]``.

    Returns:
        ``[R]``, the mean over views.
    """
    wanted = targets[:, None, :].expand_as(logits)
    whole = -(wanted * logits.log_softmax(dim=2)).sum(dim=2)
    new = wanted * unrecent
    new = new / new.sum(dim=2, keepdim=True).clamp_min(1e-9)
    inside = logits.masked_fill(~unrecent, MASKED).log_softmax(dim=2)
    change = -(new * inside.masked_fill(~unrecent, 0.0)).sum(dim=2)
    return (whole + SLICE_WEIGHT * change).mean(dim=1)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that train, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def weights_of(model: nn.Module) -> dict[str, Float32]:
    """Copies of the trainable tensors, by name."""
    found = trainable(model)
    return {name: p.detach().cpu().float().numpy().copy() for name, p in found.items()}


def flat_trainable(model: nn.Module) -> Float32:
    """float32 ``[d]``: trainable tensors sorted by name."""
    return flatten(weights_of(model))


def load_flat(model: nn.Module, vector: NDArray[np.floating]) -> None:
    """The inverse of ``flat_trainable``; raises ModelError on a wrong length."""
    shapes = {name: tuple(p.shape) for name, p in trainable(model).items()}
    load_weights(model, unflatten(vector, shapes))


def load_weights(model: nn.Module, weights: Mapping[str, Float32]) -> None:
    """Set parameters by name, trainable or not; raises KeyError for an unknown name."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(torch.from_numpy(np.ascontiguousarray(value)))


def initialise(model: InterestModel, plan_hash: bytes) -> None:
    """Weights before the first round: A from the plan's hash, B = 0, the head's constants.

    An A that trains is the same for every plan.
    """
    found = dict(model.encoder.named_parameters())
    shapes = {name: tuple(p.shape) for name, p in found.items() if "lora_A" in name}
    drawn = frozen_a(shapes, plan_hash if model.spec.frozen_a else TRAINED_A)
    zeros = {
        name: np.zeros(tuple(p.shape), dtype=np.float32)
        for name, p in found.items()
        if "lora_B" in name
    }
    load_weights(model.encoder, {**drawn, **zeros})
    weighed = model.spec.weighed
    gates = np.array([weighed.initial[name] for name in weighed.names], dtype=np.float32)
    load_weights(
        model.head, {"bias": gates, "weight": np.zeros(tuple(model.head.weight.shape), np.float32)}
    )
