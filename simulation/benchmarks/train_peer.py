"""The peer of ``bench train``: stock PEFT LoRA on BERT layers, made private by stock Opacus.

What feeds it is what feeds ours: the same event tokens, the same head and the same loss. What is
stock is how it is computed: every layer at every position, A and B both trained, per-example
gradients (or their norms) by Opacus, clipped and noised by Opacus's optimiser.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import PrivacyEngine
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from groundswell.shared.backbone import Backbone
from groundswell.shared.batches import Batch
from groundswell.shared.config import Train
from groundswell.shared.interest import lora_targets
from groundswell.shared.model import InterestModel, forecast_loss, trainable
from groundswell.shared.tokens import EventTokens

MakeBatch = Callable[[], tuple[Batch, Tensor]]

# Opacus warns that its generator is not a cryptographic one and of hooks on frozen inputs; PEFT
# uses an old name of transformers.
warnings.filterwarnings("ignore", message="Secure RNG turned off")
warnings.filterwarnings("ignore", message="Full backward hook is firing")
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")


class StockEncoder(nn.Module):
    """PEFT's LoRA on the query and value of the backbone's ``top`` layers, whole layers computed.

    Args:
        both: whether A trains too, as PEFT does it; else B alone, as ours does.
    """

    def __init__(
        self, backbone: Backbone, top: int, rank: int, alpha: int, *, both: bool = True
    ) -> None:
        super().__init__()
        model = copy.deepcopy(backbone.model)
        layers = model.get_submodule("encoder.layer")
        if not isinstance(layers, nn.ModuleList):
            raise TypeError("the peer is written for BERT")
        kept = nn.ModuleList(layers[len(layers) - top :])
        model.get_submodule("encoder").add_module("layer", kept)
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            lora_dropout=0.0,
            target_modules=list(lora_targets(backbone)),
            bias="none",
        )
        self.peft = get_peft_model(model, config)
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        if not both:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_("lora_B" in name)

    def forward(self, tokens: Tensor | EventTokens, mask: Tensor, weight: Tensor) -> Tensor:
        """The state ``[R, D]``; arguments as for ``InterestEncoder``."""
        dense = tokens.dense() if isinstance(tokens, EventTokens) else tokens
        dense = dense * mask[:, :, None]
        share = weight * mask
        share = share / share.sum(dim=1, keepdim=True).clamp_min(1e-6)
        summary = (share[:, :, None] * dense).sum(dim=1, keepdim=True)
        hidden = torch.cat([dense, summary], dim=1)
        seen = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)[:, None, None, :]
        length = hidden.shape[1]
        allowed = seen.expand(-1, 1, length, length)
        added = torch.zeros(allowed.shape, dtype=hidden.dtype)
        added = added.masked_fill(~allowed, torch.finfo(hidden.dtype).min)
        layers = self.peft.get_submodule("base_model.model.encoder")
        found: Tensor = layers(hidden, attention_mask=added).last_hidden_state
        return found[:, -1]


def stock_model(
    ours: InterestModel, backbone: Backbone, top: int, *, both: bool = True
) -> InterestModel:
    """Our head and loss over the stock encoder; adapters as ours where both have the layer."""
    model = copy.deepcopy(ours)
    encoder = StockEncoder(backbone, top, ours.spec.rank, ours.spec.alpha, both=both)
    model.add_module("encoder", encoder)
    generator = torch.Generator().manual_seed(1)
    own = {peer_name(name, ours.spec.layers, top): p for name, p in ours.named_parameters()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in own:
                parameter.copy_(own[name])
            elif "lora_B" in name:
                parameter.normal_(std=0.05, generator=generator)
    model.train()
    return model


def peer_name(name: str, layers: int, top: int) -> str:
    """The stock model's name for one of our parameters (of a model with ``layers`` layers)."""
    kind, number, rest = name.partition("encoder.layers.")
    if not number:
        return kind
    layer, _, inside = rest.partition(".")
    place = int(layer) + top - layers
    return f"encoder.peft.base_model.model.encoder.layer.{place}.{inside}"


class Criterion(nn.Module):
    """The forecast's loss as Opacus's fast clipping wants it: with a ``reduction``."""

    def __init__(self) -> None:
        super().__init__()
        self.reduction = "mean"

    def forward(self, logits: Tensor, targets: Tensor, unrecent: Tensor) -> Tensor:
        loss = forecast_loss(logits, targets, unrecent)
        return loss.mean() if self.reduction == "mean" else loss


class OpacusStep:
    """Steps of a model that ``PrivacyEngine.make_private`` took over.

    Args:
        mode: Opacus's ``grad_sample_mode``: ``hooks`` or ``ghost``.
        users: expected size of a batch.
    """

    def __init__(
        self, model: InterestModel, mode: str, users: int, clip_norm: float, sigma: float
    ) -> None:
        self.model = model
        self.criterion: Callable[..., Any] = Criterion()
        # The loader tells Opacus the sampling rate; the batches come from the benchmark.
        loader = DataLoader(TensorDataset(torch.arange(users)), batch_size=users)
        made = PrivacyEngine().make_private(
            module=model,
            optimizer=adam(model),
            data_loader=loader,
            criterion=self.criterion,
            noise_multiplier=sigma,
            max_grad_norm=clip_norm,
            poisson_sampling=False,
            grad_sample_mode=mode,
        )
        if mode == "ghost":
            self.module, self.optimizer, self.criterion, _ = made
        else:
            self.module, self.optimizer, _ = made
        self.module.train()

    def step(self, make_batch: MakeBatch) -> None:
        """One private step, from histories to moved weights."""
        self.backward(make_batch)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def backward(self, make_batch: MakeBatch) -> None:
        """Leave each example's gradient (``hooks``), or the clipped sum (``ghost``)."""
        batch, targets = make_batch()
        self.optimizer.zero_grad()
        self.criterion(self.module(batch.dense()), targets, batch.unrecent).backward()

    def vectors(self, make_batch: MakeBatch, names: list[str]) -> NDArray[np.float64]:
        """``[u, d]``: each example's gradient of the named parameters, in that order."""
        self.backward(make_batch)
        parameters = dict(self.model.named_parameters())
        samples: list[Tensor] = [vars(parameters[name])["grad_sample"] for name in names]
        flat = torch.cat([sample.reshape(len(sample), -1) for sample in samples], dim=1)
        self.optimizer.zero_grad()
        return np.asarray(flat.double().numpy())


def adam(model: nn.Module) -> torch.optim.Adam:
    """The default learning rates, for either side."""
    recipe = Train()
    found = trainable(model)
    head = [p for name, p in found.items() if name.startswith("head.")]
    adapter = [p for name, p in found.items() if not name.startswith("head.")]
    return torch.optim.Adam(
        [
            {"params": head, "lr": recipe.learning_rate},
            {"params": adapter, "lr": recipe.adapter_learning_rate},
        ],
        betas=(recipe.momentum, recipe.beta2),
    )
