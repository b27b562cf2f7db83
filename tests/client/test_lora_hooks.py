"""Opacus hooks on LoRA give true per-user gradients, on an encoder and on a decoder.

opacus#820 reported per-sample gradients that were silently wrong under PEFT.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model

USERS, LENGTH, WIDTH = 5, 4, 16


class Pooled(nn.Module):
    """A model over embeddings with one number a user."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.inner(inputs_embeds=x).last_hidden_state
        out: Tensor = self.head(torch.tanh(hidden.mean(dim=1)))[:, 0]
        return out


def model(kind: str) -> Pooled:
    torch.manual_seed(1)
    inner: nn.Module
    if kind == "gpt2":
        config = GPT2Config(vocab_size=4, n_embd=WIDTH, n_layer=1, n_head=2, n_positions=8)
        inner, targets = GPT2Model(config), ["c_attn"]
    else:
        inner = BertModel(
            BertConfig(
                vocab_size=4,
                hidden_size=WIDTH,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=16,
            )
        )
        targets = ["query", "value"]
    inner.requires_grad_(False)
    lora = LoraConfig(r=2, target_modules=targets, fan_in_fan_out=kind == "gpt2")
    inject_adapter_in_model(lora, inner)
    for module in inner.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for name, parameter in inner.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return Pooled(inner)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_hooks_on_lora_equal_a_loop_over_users(kind: str) -> None:
    plain = model(kind).double()
    x = torch.randn(USERS, LENGTH, WIDTH, dtype=torch.float64)
    trained = {n: p for n, p in plain.named_parameters() if p.requires_grad}
    loops = [
        torch.autograd.grad(plain(x[i : i + 1]).sum() ** 2, list(trained.values()))
        for i in range(5)
    ]
    hooked = GradSampleModule(plain, loss_reduction="sum")
    hooked.train()
    torch.autograd.backward((hooked(x) ** 2).sum())
    for k, (name, parameter) in enumerate(trained.items()):
        found = vars(parameter)["grad_sample"].numpy()
        expected = np.stack([loop[k].numpy() for loop in loops])
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12, err_msg=name)
