"""A faster way to encode free text when serving: the backbone as an ONNX graph.

Training and sites encode by ``Backbone.encode``, which gives a text the same bits whatever stands
beside it. A gateway's answers need only the same numbers to some 1e-6, and ONNX Runtime gives those
several times faster for the few short texts of a request; with int8 weights faster still, and a
little less exactly.

The graph is made from the backbone once and kept in the user's cache folder, named by its hash.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groundswell.shared.backbone import MAX_TEXT_TOKENS, Backbone, Encoded

_OPSET = 17
_ROWS_AT_ONCE = 16
_NAMES = ("input_ids", "attention_mask")
PREFIX, BOTH = ("prefix",), ("prefix", "unit")


def available() -> bool:
    """Whether the packages are installed."""
    return all(find_spec(name) is not None for name in ("onnx", "onnxruntime"))


class TextEngine:
    """Encodes texts through ONNX Runtime on one thread.

    Args:
        backbone: an encoder (mean-pooled).
        top: number of top layers that ``Encoded.prefix`` stops below.
        int8: weights of 8 bits.
        cache: folder of the graphs; default: the user's cache.
    """

    def __init__(
        self, backbone: Backbone, top: int, *, int8: bool = False, cache: Path | None = None
    ) -> None:
        self._backbone = backbone
        self._top = top
        self._prefix = _session(backbone, top, PREFIX, int8=int8, cache=cache or _cache())
        self._both = _session(backbone, top, BOTH, int8=int8, cache=cache or _cache())

    def encode(self, texts: Sequence[str], *, unit: bool = False) -> Encoded:
        """The same as ``Backbone.encode``, but for the last bits.

        Args:
            unit: also compute ``Encoded.unit``, which costs a further layer; else it is 0.
        """
        hidden = self._backbone.hidden
        prefix = np.zeros((len(texts), hidden), dtype=np.float32)
        units = np.zeros((len(texts), hidden), dtype=np.float32)
        worded = [text if text.strip() else "-" for text in texts]
        # Texts of like length stand together, so that little filling is computed.
        order = sorted(range(len(texts)), key=lambda i: len(worded[i]))
        for start in range(0, len(order), _ROWS_AT_ONCE):
            rows = order[start : start + _ROWS_AT_ONCE]
            found = self._backbone.tokenizer(
                [worded[i] for i in rows],
                padding=True,
                truncation=True,
                max_length=MAX_TEXT_TOKENS,
                return_tensors="np",
            )
            feed = {name: found[name].astype(np.int64) for name in _NAMES}
            if unit:
                prefix[rows], units[rows] = self._both.run(None, feed)
            else:
                (prefix[rows],) = self._prefix.run(None, feed)
        return Encoded(self._top, tuple(texts), prefix, units)


class _Pooled(nn.Module):
    """The backbone with its pooled outputs."""

    def __init__(self, backbone: Backbone, top: int, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model = backbone.model
        self.place = len(backbone.layers()) - top
        self.outputs = outputs

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """``[n, D]`` each: prefix, and unit where it is wanted."""
        states = self.model(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True
        ).hidden_states
        weight = attention_mask[:, :, None].float()
        total = weight.sum(dim=1)
        prefix = (states[self.place] * weight).sum(dim=1) / total
        if self.outputs == PREFIX:
            return (prefix,)
        final = (states[-1] * weight).sum(dim=1) / total
        return prefix, final / final.norm(dim=1, keepdim=True).clamp_min(1e-9)


def _session(
    backbone: Backbone, top: int, outputs: tuple[str, ...], *, int8: bool, cache: Path
) -> Any:
    """An ``onnxruntime.InferenceSession`` of one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    path = _graph(backbone, top, outputs, int8=int8, cache=cache)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _graph(
    backbone: Backbone, top: int, outputs: tuple[str, ...], *, int8: bool, cache: Path
) -> Path:
    """The graph's file; made where it is missing."""
    kind = f"{'-'.join(outputs)}{'-int8' if int8 else ''}"
    path = cache / f"{backbone.hash[:32]}-{top}-{kind}.onnx"
    if path.exists():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as partial:
        made = Path(partial) / "graph.onnx"
        if int8:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            whole = _graph(backbone, top, outputs, int8=False, cache=cache)
            quantize_dynamic(whole, made, weight_type=QuantType.QInt8)
        else:
            _export(backbone, top, outputs, made)
        shutil.move(made, path)
    return path


def _export(backbone: Backbone, top: int, outputs: tuple[str, ...], path: Path) -> None:
    example = backbone.tokenizer(["a few words", "one"], padding=True, return_tensors="pt")
    axes = {name: {0: "texts", 1: "pieces"} for name in _NAMES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of shapes that are in fact fixed
        torch.onnx.export(
            _Pooled(backbone, top, outputs).eval(),
            tuple(example[name] for name in _NAMES),
            str(path),
            dynamo=False,
            opset_version=_OPSET,
            input_names=list(_NAMES),
            output_names=list(outputs),
            dynamic_axes={**axes, **{name: {0: "texts"} for name in outputs}},
        )


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "groundswell"
