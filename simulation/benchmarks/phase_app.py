"""The ServerApp of the phase benchmark: it sends the same bytes to every node, and times that."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

from groundswell.server.flower_runtime import prompt

__all__ = ["app"]

_JOIN_SECONDS = 120.0
_PHASE_SECONDS = 120.0

app = ServerApp()


@app.main()
def measure(grid: Grid, context: Context) -> None:
    """Time ``phases`` message phases after one that is not timed, and write what came of them.

    Run configuration: ``mode`` (``ours`` or ``stock``), ``nodes``, ``phases``, ``payload`` (bytes)
    and ``out``, the file to write.
    """
    configuration = context.run_config
    nodes, phases = int(configuration["nodes"]), int(configuration["phases"])
    if configuration["mode"] == "ours":
        grid = prompt(grid)
    deadline = time.monotonic() + _JOIN_SECONDS
    while len(list(grid.get_node_ids())) < nodes and time.monotonic() < deadline:
        time.sleep(0.2)
    seconds, equal = [], True
    for _ in range(phases + 1):
        payload = os.urandom(int(configuration["payload"]))
        started = time.monotonic()
        replies = _phase(grid, payload)
        seconds.append(time.monotonic() - started)
        equal = equal and replies == [payload] * nodes
    result = {"seconds": seconds[1:], "first": seconds[0], "equal": equal}
    Path(str(configuration["out"])).write_text(json.dumps(result))


def _phase(grid: Grid, payload: bytes) -> list[bytes]:
    messages = [
        Message(
            RecordDict({"vault": ConfigRecord({"request": payload})}),
            node,
            f"{MessageType.QUERY}.vault",
        )
        for node in grid.get_node_ids()
    ]
    replies = grid.send_and_receive(messages, timeout=_PHASE_SECONDS)
    return [
        bytes(data)
        for reply in replies
        if not reply.has_error()
        and isinstance(data := reply.content.config_records["vault"].get("reply"), bytes)
    ]
