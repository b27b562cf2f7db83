"""Exports answer as the model does."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from peft import PeftModel

from groundswell.server.exports import export
from groundswell.server.formats import Format
from groundswell.shared.backbone import load_backbone
from groundswell.shared.errors import InputError
from groundswell.shared.event_input import histories_of
from groundswell.shared.predict import load_model
from groundswell.shared.questions import Event

DAY = 86_400_000_000


def test_onnx_gives_the_same_probabilities_for_any_number_of_histories(
    model_folder: Path, tmp_path: Path
) -> None:
    export(model_folder, tmp_path / "onnx", Format.ONNX)
    loaded = load_model(model_folder)
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx")
    labels = json.loads((tmp_path / "onnx" / "labels.json").read_text("utf-8"))["labels"]
    assert tuple(labels) == loaded.checkpoint.catalogue.labels
    for rows in (1, 2, 5):
        events = [
            [
                Event.model_validate({"time": f"2025-01-0{i + 1}", "label": labels[(i + row) % 5]})
                for i in range(row + 1)
            ]
            for row in range(rows)
        ]
        h, _ = histories_of(events, loaded.checkpoint.catalogue, loaded.checkpoint.task)
        at = np.full(rows, 20_200 * DAY, dtype=np.int64)
        batch = loaded.inputs.batch(h, at).dense()
        given = {i.name: vars(batch)[i.name].numpy() for i in session.get_inputs()}
        (found,) = session.run(None, given)
        np.testing.assert_allclose(found, loaded.probabilities(h, at), atol=1e-5)


def test_mlflow_layout_loads_by_its_loader(model_folder: Path, tmp_path: Path) -> None:
    export(model_folder, tmp_path / "out", Format.MLFLOW)
    described = json.loads((tmp_path / "out" / "MLmodel").read_text("utf-8"))
    function = described["flavors"]["python_function"]
    loader = import_module(function["loader_module"])
    model = vars(loader)["_load_pyfunc"](str(tmp_path / "out" / function["data"]))
    events = pd.DataFrame({"user": ["a"], "time": ["2025-01-01T00:00:00"], "label": ["TEA"]})
    forecasts = model.predict(events)
    assert list(forecasts.columns) == ["user", "label", "probability", "lift", "trend"]
    assert forecasts["label"].iloc[0] == "TEA"


def test_peft_folder_loads_as_an_adapter_of_the_public_backbone(
    model_folder: Path, tmp_path: Path
) -> None:
    export(model_folder, tmp_path / "peft", Format.PEFT)
    adapted = PeftModel.from_pretrained(load_backbone().model, tmp_path / "peft")
    assert any("lora_B" in name for name, _ in adapted.named_parameters())
    adapted.unload()


def test_nothing_is_overwritten(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        export(model_folder, tmp_path, Format.FOLDER)
