"""The interest state: recent event tokens through the top layers of the backbone, with LoRA.

Event tokens are cached text embeddings; behind them stands one summary token, their weighted mean,
whose output is the state. Only the summary's output is needed, so the last layer computes queries
and feed-forward for it alone: the same numbers as the full layer, at a fraction of the cost.

By default the adapter follows FFA-LoRA (arXiv 2403.12313): A is frozen, so noise on B alone enters
once. A comes from ChaCha20 keyed by the plan's hash, B starts at 0.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray
from peft import LoraConfig, inject_adapter_in_model
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from torch import Tensor, nn

from groundswell.shared.backbone import Backbone
from groundswell.shared.errors import InputError
from groundswell.shared.products import filled
from groundswell.shared.tokens import EventTokens, TokenTables

_ADAPTER = ".default"  # PEFT's name of the one adapter, which its files leave out
_LAYERS = "layers."
LARGEST_TABLE = 65_536  # texts beyond which projected tables would take too much memory
_FURTHER_TARGETS = {"distilbert": ["q_lin", "v_lin"]}  # query and value, as PEFT does for BERT


def lora_targets(backbone: Backbone) -> tuple[str, ...]:
    """Names of the linear maps that PEFT adapts by default in this architecture."""
    known = {**TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, **_FURTHER_TARGETS}
    if backbone.model_type not in known:
        raise InputError(
            "[model].backbone",
            backbone.name,
            f"PEFT knows no LoRA targets for {backbone.model_type}",
            f"choose one of: {', '.join(sorted(known))}",
        )
    return tuple(known[backbone.model_type])


def lora_config(backbone: Backbone, top: int, rank: int, alpha: int) -> LoraConfig:
    """The adapter as PEFT describes it on the whole backbone."""
    layers = len(backbone.layers())
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules=list(lora_targets(backbone)),
        layers_to_transform=list(range(layers - top, layers)),
        layers_pattern=backbone.layers_path.rpartition(".")[2],
        bias="none",
        base_model_name_or_path=backbone.name,
        fan_in_fan_out=backbone.model_type == "gpt2",
    )


class InterestEncoder(nn.Module):
    """Copies of the backbone's top layers with a LoRA adapter; nothing trains at first."""

    def __init__(self, backbone: Backbone, *, top: int, rank: int, alpha: int) -> None:
        super().__init__()
        if not 1 <= top <= len(backbone.layers()):
            raise InputError(
                "[model].layers",
                top,
                f"{backbone.name} has {len(backbone.layers())} layers",
                "name fewer layers",
            )
        self.top = top
        self.decoder = backbone.decoder
        self.scaling = alpha / rank
        self._kept: tuple[TokenTables, int, TokenTables] | None = None
        self.heads = int(backbone.model.config.num_attention_heads)
        self.layers = nn.ModuleList(
            copy.deepcopy(layer) for layer in backbone.layers()[len(backbone.layers()) - top :]
        )
        modules = dict(backbone.model.named_modules())
        self.final_norm = copy.deepcopy(modules["ln_f"]) if "ln_f" in modules else nn.Identity()
        targets = "|".join(re.escape(name) for name in lora_targets(backbone))
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            lora_dropout=0.0,
            target_modules=rf".*\.({targets})",
            bias="none",
            fan_in_fan_out=backbone.model_type == "gpt2",
        )
        inject_adapter_in_model(config, self.layers)
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self.requires_grad_(False)

    def train_adapter(self, *, frozen_a: bool) -> None:
        """Let LoRA's B train, and A too unless it is frozen."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_("lora_B" in name or ("lora_A" in name and not frozen_a))

    def forward(self, tokens: Tensor | EventTokens, mask: Tensor, weight: Tensor) -> Tensor:
        """The interest state.

        Args:
            tokens: event tokens, oldest first: ``[R, T, D]``, or by their places in tables.
            mask: bool ``[R, T]``, False for filling.
            weight: ``[R, T]``, each token's weight in the summary token, >= 0.

        Returns:
            ``[R, D]``.
        """
        share = weight * mask
        share = share / share.sum(dim=1, keepdim=True).clamp_min(1e-6)
        if isinstance(tokens, EventTokens):
            if self._projects(tokens.tables):
                state = self._from_tables(tokens, mask, share)
                projected: Tensor = self.final_norm(state)
                return projected
            tokens = tokens.dense() * mask[:, :, None]
        summary = (share[:, :, None] * tokens).sum(dim=1, keepdim=True)
        hidden = torch.cat([tokens, summary], dim=1)
        seen = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        for layer in self.layers[:-1]:
            hidden = _run(layer, hidden, self._attention_mask(seen, hidden))
        state = self._last_position(hidden, seen)
        normed: Tensor = self.final_norm(state)
        return normed

    def _projects(self, tables: TokenTables) -> bool:
        """Whether keys and values can be looked up instead of computed for every event."""
        a = [p for name, p in self.named_parameters() if "lora_A" in name]
        frozen = not any(p.requires_grad for p in a)
        bert = self.top == 1 and _is_bert_layer(self.layers[-1])
        # By the catalogue's texts alone: were it by the users' texts too, one user's could change
        # the way, and with it the last bits, of all others.
        while tables.begins is not None:
            tables = tables.begins
        return frozen and bert and len(tables) <= LARGEST_TABLE

    def _from_tables(self, tokens: EventTokens, mask: Tensor, share: Tensor) -> Tensor:
        """The last layer at the summary token, from tables of projected texts.

        Key, value and LoRA's A are linear and frozen, and a token is a sum of table rows: so their
        products are looked up and added. Only B, the query and the feed-forward are computed.
        """
        layer = self.layers[-1]
        part = layer.get_submodule
        value, key = part("attention.self.value"), part("attention.self.key")
        rows = self._looked_up(tokens) * mask[:, :, None]
        rows = torch.cat([rows, torch.bmm(share[:, None, :], rows)], dim=1)
        width = tokens.tables.width
        last = rows[:, -1:, :width]
        keys = rows[:, :, width : 2 * width] + key.get_parameter("bias")
        adapted = value.get_submodule("lora_B.default")(rows[:, :, 3 * width :])
        values = rows[:, :, 2 * width : 3 * width] + value.get_parameter("base_layer.bias")
        values = values + self.scaling * adapted
        seen = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        return self._attend(last, part("attention.self.query")(last), keys, values, seen)

    @torch.no_grad()
    def _looked_up(self, tokens: EventTokens) -> Tensor:
        """``[R, T, W]``, rows as of ``_projected``; the same numbers however many texts there are.

        Too many further texts are not kept projected: those of these tokens are projected here.
        """
        tables, text = tokens.tables, tokens.text
        if tables.begins is None or len(tables) <= LARGEST_TABLE:
            return tokens.look_up(self._projected(tables))
        known = self._projected(tables.begins)
        is_further = text >= len(known)
        used, place = torch.unique(text[is_further], return_inverse=True)
        found = known.texts[text.clamp_max(len(known) - 1)]
        found[is_further] = self._project(filled(tables.texts[used]))[place]
        return found + known.contexts[tokens.context]

    @torch.no_grad()
    def _projected(self, tables: TokenTables) -> TokenTables:
        """Rows [x, Wk x, Wv x, A x] for every row x of the tables; kept until A or they change.

        Of tables that extend others only the further rows are projected anew.
        """
        if tables.begins is not None:
            # What else users typed must not tell in a text's last bits.
            further = tables.texts[len(tables.begins) :]
            projected = self._project(filled(further))[: len(further)]
            return self._projected(tables.begins).extended(projected)
        a = self.layers[-1].get_parameter("attention.self.value.lora_A.default.weight")
        known = self._kept
        if known is None or known[0] is not tables or known[1] != a._version:
            known = (tables, a._version, tables.mapped(self._project))
            self._kept = known
        return known[2]

    def _project(self, x: Tensor) -> Tensor:
        """``[n, W]`` from rows ``[n, D]``."""
        layer = self.layers[-1]
        weights = [
            layer.get_parameter("attention.self.key.weight"),
            layer.get_parameter("attention.self.value.base_layer.weight"),
            layer.get_parameter("attention.self.value.lora_A.default.weight"),
        ]
        return torch.cat([x, *(nn.functional.linear(x, w) for w in weights)], dim=1)

    def _last_position(self, hidden: Tensor, seen: Tensor) -> Tensor:
        layer = self.layers[-1]
        if not _is_bert_layer(layer):
            return _run(layer, hidden, self._attention_mask(seen, hidden))[:, -1]
        part = layer.get_submodule
        last = hidden[:, -1:]
        return self._attend(
            last,
            part("attention.self.query")(last),
            part("attention.self.key")(hidden),
            part("attention.self.value")(hidden),
            seen,
        )

    def _attend(
        self, last: Tensor, query: Tensor, keys: Tensor, values: Tensor, seen: Tensor
    ) -> Tensor:
        """Attention and feed-forward of a BERT layer for one position, ``[R, D]``."""

        def split(x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        part = self.layers[-1].get_submodule
        context = nn.functional.scaled_dot_product_attention(
            split(query), split(keys), split(values), attn_mask=seen[:, None, None, :]
        )
        context = context.transpose(1, 2).flatten(2)
        attended = part("attention.output")(context, last)
        out: Tensor = part("output")(part("intermediate")(attended), attended)
        return out[:, 0]

    def _attention_mask(self, seen: Tensor, hidden: Tensor) -> Tensor:
        """Additive ``[R, 1, T, T]``; a decoder's positions see no later ones."""
        length = seen.shape[1]
        allowed = seen[:, None, None, :].expand(-1, 1, length, length)
        if self.decoder:
            allowed = allowed & torch.ones(length, length, dtype=torch.bool).tril()
        least = torch.finfo(hidden.dtype).min
        return torch.zeros(allowed.shape, dtype=hidden.dtype).masked_fill(~allowed, least)


def _is_bert_layer(layer: nn.Module) -> bool:
    names = {name for name, _ in layer.named_modules()}
    wanted = {"attention.self.query", "attention.self.value", "attention.output", "intermediate"}
    return wanted <= names


def _run(layer: nn.Module, hidden: Tensor, mask: Tensor) -> Tensor:
    out = layer(hidden, attention_mask=mask)
    found: Tensor = out[0] if isinstance(out, tuple) else out
    return found


def frozen_a(shapes: Mapping[str, tuple[int, ...]], key: bytes) -> dict[str, NDArray[np.float32]]:
    """LoRA's A matrices, uniform within 1/sqrt(columns), from ChaCha20 under a 32-byte key.

    Args:
        shapes: shape ``[rank, columns]`` of each A, by name.
        key: the plan's hash.
    """
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    stream = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(8 * count))
    words = np.frombuffer(stream, dtype="<u8")
    uniform = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53 * 2 - 1
    tensors, start = {}, 0
    for name in sorted(shapes):
        size = int(np.prod(shapes[name]))
        values = uniform[start : start + size].reshape(shapes[name])
        tensors[name] = (values / np.sqrt(shapes[name][-1])).astype(np.float32)
        start += size
    return tensors


def peft_name(name: str, backbone: Backbone, top: int) -> str:
    """A parameter's name in PEFT's adapter file, from its name within the encoder."""
    match = re.fullmatch(rf"{_LAYERS}(\d+)\.(.*)", name)
    if match is None:
        raise InputError("adapter", name, "is no layer's parameter", "report this as a bug")
    layer = len(backbone.layers()) - top + int(match[1])
    inner = match[2].replace(_ADAPTER, "")
    return f"base_model.model.{backbone.layers_path}.{layer}.{inner}"
