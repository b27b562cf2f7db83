"""The ways to encode free text when serving, apart so that a command line need not load them."""

from __future__ import annotations

from enum import StrEnum


class TextEngineName(StrEnum):
    """What encodes the free text of questions.

    ``torch`` as training does; ``onnx`` the same numbers, several times faster; ``int8`` faster
    still, a little less exactly.
    """

    TORCH = "torch"
    ONNX = "onnx"
    INT8 = "int8"
