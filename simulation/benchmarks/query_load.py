"""A load of clients over HTTP, light enough to leave the processor to the server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Load:
    """What a load saw.

    Attributes:
        answered: requests; seconds: how long they took together.
        p50, p99: milliseconds of one request.
        failed: answers other than 200.
    """

    answered: int
    seconds: float
    p50: float
    p99: float
    failed: int

    @property
    def rate(self) -> float:
        """Requests answered a second."""
        return self.answered / self.seconds


def load(port: int, bodies: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Keep ``clients`` connections busy for some seconds; bodies are taken in turn."""
    return asyncio.run(_load(port, bodies, clients, seconds))


def ask(port: int, bodies: Sequence[bytes]) -> list[dict[str, Any]]:
    """The answer to each body, one after the other."""
    return asyncio.run(_ask(port, bodies))


async def _load(port: int, bodies: Sequence[bytes], clients: int, seconds: float) -> Load:
    took: list[float] = []
    failed = 0
    began = time.monotonic()
    turn = iter(range(10**9))

    async def client() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() - began < seconds:
            started = time.monotonic()
            status, _ = await _exchange(reader, writer, bodies[next(turn) % len(bodies)])
            took.append(time.monotonic() - started)
            failed += status != 200
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    spent = time.monotonic() - began
    p50, p99 = np.percentile(np.array(took) * 1000, [50, 99])
    return Load(len(took), spent, float(p50), float(p99), failed)


async def _ask(port: int, bodies: Sequence[bytes]) -> list[dict[str, Any]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    for body in bodies:
        status, data = await _exchange(reader, writer, body)
        if status != 200:
            raise RuntimeError(f"answered {status}: {data[:200]!r}")
        answers.append(json.loads(data))
    writer.close()
    return answers


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> tuple[int, bytes]:
    head = (
        "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    received = await reader.readuntil(b"\r\n\r\n")
    lines = received.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    data = await reader.readexactly(int(headers["content-length"]))
    return int(lines[0].split()[1]), data
