"""Groundswell: private federated forecasting of shoppers' short-term interest.

Public names are handed on lazily, so that a process which only needs one light part (the relay, the
query client) never imports torch.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# A user's gradient must be the same to the bit whoever else is in the sample: it is rounded to
# integers, and one user may move one user's integers alone. The matrix products of MKL depend on
# their shape unless it is asked for strict reproducibility before its first call.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
# Threads that wait by spinning take the cores of whoever else computes on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_LAZY = {
    "load_model": "groundswell.shared.predict",
    "AsyncClient": "groundswell.query_client",
    "Client": "groundswell.query_client",
    "simulate": "groundswell.simulation.federation",
}
__all__ = ["AsyncClient", "Client", "__version__", "load_model", "simulate"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'groundswell' has no attribute {name!r}")
