"""``bench query``: requests a second over HTTP, against plain transformers with FastAPI.

Each side is a process of one thread; the same clients send the same households' histories, some of
which end with a search. Before the figures count, all probabilities of all sides are compared. A
rate is the median over turns; lowest and highest say how far the turns lie apart.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from groundswell.shared.errors import InputError
from groundswell.simulation.benchmarks.machine import machine
from groundswell.simulation.benchmarks.query_int8 import compare
from groundswell.simulation.benchmarks.query_load import Load, ask, load
from groundswell.simulation.datasets import complete_journey

REQUESTS = 256
EVENTS = 60  # newest events of a history
SEARCH_EVERY = 4  # one history in so many ends with a search
COMPARED = 32
TURNS = 4
TOLERANCE = 1e-4  # largest difference of a probability
_SEARCHES = (
    "coffee filters", "birthday candles", "gluten free pasta", "phone charger", "sensitive wipes",
    "cat food senior", "barbecue charcoal", "oat milk barista", "lunch box kids", "garden gloves",
)  # fmt: skip
_PEER = "groundswell.simulation.benchmarks.query_peer"
_OURS = ("-m", "groundswell", "serve", "--grpc-port", "0", "--model")
_START_SECONDS = 180.0


def run(model: Path, clients: int, seconds: float) -> dict[str, Any]:
    """The benchmark as JSON values.

    Args:
        model: folder of a model of the demo data.
        seconds: of load on each side.

    Raises:
        InputError: there is no model.
    """
    if not (model / "manifest.json").exists():
        raise InputError("--model", str(model), "is no model folder", "run make demo first")
    bodies = households()
    whole = [{**json.loads(body), "top": 1000} for body in bodies[:COMPARED]]
    checks = [json.dumps(body).encode() for body in whole]
    sides = {
        "ours": [*_OURS, str(model)],
        "ours_int8": [*_OURS, str(model), "--text-engine", "int8"],
        "plain": ["-m", _PEER, str(model)],
        "batched_cached": ["-m", _PEER, str(model)],
    }
    loads: dict[str, list[Load]] = {name: [] for name in sides}
    used: dict[str, float] = dict.fromkeys(sides, 0.0)
    answers: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as running:
        served = {
            name: running.enter_context(_serving(name, command)) for name, command in sides.items()
        }
        for name, (port, _) in served.items():
            answers[name] = [_probabilities(each) for each in ask(port, checks)]
            load(port, bodies, clients, 1.0)  # warm
        # Sides take turns, so that what else the machine does falls on all of them alike.
        for _ in range(TURNS):
            for name, (port, process) in served.items():
                before = _processor_seconds(process.pid)
                loads[name].append(load(port, bodies, clients, seconds / TURNS))
                used[name] += _processor_seconds(process.pid) - before
    rates = {name: float(np.median([each.rate for each in loads[name]])) for name in sides}
    differences = {name: _difference(answers["ours"], found) for name, found in answers.items()}
    failed = sum(each.failed for found in loads.values() for each in found)
    exact = [difference for name, difference in differences.items() if name != "ours_int8"]
    equal = failed == 0 and max(exact) <= TOLERANCE
    ours, peer = rates["ours"], rates["plain"]
    return {
        "name": "query",
        "machine": machine(),
        "ours": ours,
        "peer": peer,
        "unit": "requests/s",
        "ratio": ours / peer,
        "higher_is_better": True,
        "equal": equal,
        "peer_name": "transformers + PEFT + FastAPI, one request at a time",
        "peer_version": ", ".join(
            f"{name} {version(name)}" for name in ("transformers", "peft", "fastapi", "torch")
        ),
        "cases": [
            {
                "case": name,
                "requests_per_second": rates[name],
                "lowest": min(each.rate for each in found),
                "highest": max(each.rate for each in found),
                "ratio": ours / rates[name],
                "processor_ms_per_request": 1000 * used[name] / sum(e.answered for e in found),
                "p50_ms": float(np.median([each.p50 for each in found])),
                "p99_ms": float(np.median([each.p99 for each in found])),
                "clients": clients,
                "failed": sum(each.failed for each in found),
                "largest_difference": differences[name],
            }
            for name, found in loads.items()
        ]
        + [compare(model)],
    }


def households() -> list[bytes]:
    """Request bodies: the newest events of households as of the first test Monday."""
    dataset = complete_journey.load(sites=8)
    at = pl.lit(int(dataset.times.test[0])).cast(pl.Datetime("us", "UTC"))
    events = (
        pl.concat(list(dataset.sites.values()))
        .filter(pl.col("time") < at)
        .sort("user", "time")
        .group_by("user", maintain_order=True)
        .tail(EVENTS)
    )
    moment = str(pl.select(at.dt.to_string("iso:strict")).item())
    bodies = []
    for number, history in enumerate(events.partition_by("user", maintain_order=True)[:REQUESTS]):
        rows = history.select(
            pl.col("time").dt.to_string("iso:strict"), "action", "item", "label"
        ).to_dicts()
        if number % SEARCH_EVERY == 0:
            words = f"{_SEARCHES[number % len(_SEARCHES)]} {number}"
            rows.append({"time": rows[-1]["time"], "action": "search", "text": words})
        bodies.append(json.dumps({"events": rows, "at": moment, "top": 10}).encode())
    return bodies


@contextmanager
def _serving(name: str, command: Sequence[str]) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run one side in a process of its own until the block ends."""
    port = _free_port()
    place = ["--port", str(port)] if name.startswith("ours") else [str(port)]
    cached = ["cached"] if name == "batched_cached" else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *command, *place, *cached],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield port, process
    finally:
        process.terminate()
        process.wait(30)


def _processor_seconds(pid: int) -> float:
    """What a process has used of the processor so far, all its threads together (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError("a side of the benchmark did not start")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _probabilities(answer: dict[str, Any]) -> dict[str, float]:
    return {each["label"]: each["probability"] for each in answer["interests"]}


def _difference(ours: list[dict[str, float]], other: list[dict[str, float]]) -> float:
    """Largest difference of a probability over all labels of all compared requests."""
    found = [
        abs(mine[label] - theirs.get(label, np.inf))
        for mine, theirs in zip(ours, other, strict=True)
        for label in mine
    ]
    return float(max(found))
