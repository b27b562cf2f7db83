"""The forms in which a model version leaves the registry."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """What a version may be exported as."""

    PEFT = "peft"
    ONNX = "onnx"
    MLFLOW = "mlflow"
    FOLDER = "folder"
