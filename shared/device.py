"""Where tensors are computed: on a GPU where there is one, else on the processor."""

from __future__ import annotations

import torch


def preferred() -> torch.device:
    """The first GPU that torch can use, or the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
