"""A version in other programs' forms: a PEFT folder, ONNX, and MLflow's file layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from groundswell import __version__
from groundswell.server.formats import Format
from groundswell.server.versions import MODEL_FILES
from groundswell.shared.batches import Batch
from groundswell.shared.errors import InputError
from groundswell.shared.histories import Histories
from groundswell.shared.model import InterestModel
from groundswell.shared.predict import Forecaster, load_model

_PEFT_FILES = ("adapter_config.json", "adapter_model.safetensors", "README.md")
_OPSET = 17
_INPUTS = tuple(field.name for field in fields(Batch) if field.name != "unrecent")


def export(folder: Path, target: Path, form: Format) -> None:
    """Write a model folder in another form to a folder that does not exist yet.

    Raises:
        InputError: the target exists.
        ModelError: the model can't be read.
    """
    if target.exists():
        raise InputError("--out", str(target), "exists already", "name another folder")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _WRITERS[form](folder, partial)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _Probabilities(nn.Module):
    """The model with its inputs one by one and a softmax behind it."""

    def __init__(self, model: InterestModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        scores: Tensor,
        facts: Tensor,
        tokens: Tensor,
        mask: Tensor,
        weight: Tensor,
        log_popularity: Tensor,
    ) -> Tensor:
        """``[R, L]``; see ``Batch`` for the inputs."""
        unrecent = torch.ones_like(scores[:, :, :, 0], dtype=torch.bool)
        batch = Batch(scores, facts, tokens, mask, weight, log_popularity, unrecent)
        probability: Tensor = self.model(batch)[:, 0].softmax(dim=1)
        return probability


def _write_peft(folder: Path, target: Path) -> None:
    for name in _PEFT_FILES:
        shutil.copy2(folder / name, target / name)


def _write_folder(folder: Path, target: Path) -> None:
    for name in MODEL_FILES:
        shutil.copy2(folder / name, target / name)


def _write_onnx(folder: Path, target: Path) -> None:
    """``model.onnx`` and ``labels.json``; the number of histories is free."""
    loaded = load_model(folder)
    example = _example(loaded)
    inputs = tuple(vars(example)[name] for name in _INPUTS)
    rows = {name: {0: "histories"} for name in _INPUTS if name != "log_popularity"}
    torch.onnx.export(
        _Probabilities(loaded.model.cpu()).eval(),
        inputs,
        str(target / "model.onnx"),
        dynamo=False,
        opset_version=_OPSET,
        input_names=list(_INPUTS),
        output_names=["probability"],
        dynamic_axes={**rows, "probability": {0: "histories"}},
    )
    labels = {"labels": list(loaded.checkpoint.catalogue.labels)}
    text = json.dumps(labels, ensure_ascii=False, indent=1)
    (target / "labels.json").write_text(text + "\n", encoding="utf-8")


def _example(loaded: Forecaster) -> Batch:
    """The inputs of two histories of one event each."""
    h = Histories(
        users=("a", "b"),
        offsets=np.array([0, 1, 2]),
        time=np.array([0, 0]),
        label=np.zeros(2, dtype=np.int32),
        weight=np.ones(2, dtype=np.float32),
        action=np.zeros(2, dtype=np.int16),
        token=np.zeros(2, dtype=np.int32),
        basket=np.zeros(2, dtype=np.int32),
    )
    return loaded.inputs.batch(h, np.array([1, 1], dtype=np.int64)).dense()


def _write_mlflow(folder: Path, target: Path) -> None:
    """MLflow's layout of a Python function: it loads wherever groundswell is installed."""
    (target / "model").mkdir()
    _write_folder(folder, target / "model")
    requirements = f"groundswell[model]=={__version__}"
    (target / "requirements.txt").write_text(requirements + "\n", encoding="utf-8")
    environment = {"python": "3.11", "dependencies": ["-r requirements.txt"]}
    # MLflow reads YAML, of which JSON is a part.
    (target / "python_env.yaml").write_text(json.dumps(environment), encoding="utf-8")
    described = {
        "flavors": {
            "python_function": {
                "data": "model",
                "env": {"virtualenv": "python_env.yaml"},
                "loader_module": "groundswell.shared.mlflow_loader",
                "python_version": "3.11",
            }
        },
        "model_size_bytes": sum(p.stat().st_size for p in (target / "model").iterdir()),
    }
    (target / "MLmodel").write_text(json.dumps(described, indent=1), encoding="utf-8")


_WRITERS: dict[Format, Callable[[Path, Path], None]] = {
    Format.PEFT: _write_peft,
    Format.ONNX: _write_onnx,
    Format.MLFLOW: _write_mlflow,
    Format.FOLDER: _write_folder,
}
