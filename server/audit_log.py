"""What a coordinator or its operator did, one JSON line each, only ever appended to.

A line holds public values alone: runs, kinds, rounds, names of sites, codes, epsilons.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path


class AuditLog:
    """An append-only file; several processes may write to it."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock

    def write(self, event: str, **values: object) -> None:
        """Append one line and wait until it is on disk."""
        line = json.dumps({"at": round(self._clock(), 3), "event": event, **values}) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            # One write of one line: lines of two processes don't mix.
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
