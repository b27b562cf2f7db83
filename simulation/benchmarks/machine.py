"""What every benchmark says of the machine, and how it measures time and memory on it."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

_PROCESS = Path("/proc/self")


def machine() -> str:
    """Processor, cores and system in one line."""
    model = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        names = [
            line for line in described.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0].partition(":")[2].strip() if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def interleaved_times(
    sides: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, list[float]]:
    """Seconds of every call; the sides take turns, so that other load meets all of them alike.

    Each side is called once before the clock runs.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for call in sides.values():
        call()
    for _ in range(repeats):
        for name, call in sides.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def interleaved(sides: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each side, see ``interleaved_times``."""
    return {name: median(each) for name, each in interleaved_times(sides, repeats).items()}


def spread(values: list[float]) -> float:
    """Half of the distance between the quartiles, over the median: how steady a timing is."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return (ordered[round(0.75 * last)] - ordered[round(0.25 * last)]) / (2 * median(ordered))


def peak_bytes(call: Callable[[], object]) -> int | None:
    """Resident memory that ``call`` needs at its peak beyond what is resident before it.

    Linux only (``proc(5)``, ``clear_refs``); None elsewhere.
    """
    reset = _PROCESS / "clear_refs"
    if not reset.exists():
        return None
    gc.collect()
    # What the allocator kept from earlier calls would hide what this one needs.
    trim = ctypes.CDLL(None).malloc_trim
    trim(0)
    reset.write_text("5")
    before = _status("VmRSS")
    call()
    return max(0, _status("VmHWM") - before)


def _status(key: str) -> int:
    """A figure of ``/proc/self/status``, bytes."""
    for line in (_PROCESS / "status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0
