"""The one version of Flower whose internals are known here; see ``client/warm_relay.py``."""

from __future__ import annotations

from importlib.metadata import version

FLOWER_VERSION = "1.41.0"


def fits() -> bool:
    """Whether that version is the one that is installed."""
    return version("flwr") == FLOWER_VERSION
