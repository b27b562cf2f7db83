"""A Flower message as it arrives at a node."""

from __future__ import annotations

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity


@pytest.fixture
def flower_message(monkeypatch: pytest.MonkeyPatch) -> tuple[Message, Context]:
    """A query with the bytes ``b"ask"``, and its context."""
    for name in ("run_id", "node_id", "task_id"):
        monkeypatch.setattr(TaskIdentity, f"_{name}", 1)
    content = RecordDict({"vault": ConfigRecord({"request": b"ask"})})
    message = Message(content, 2, "query.vault")
    message.metadata.__dict__["_message_id"] = "1"
    context = Context(run_id=1, node_id=2, node_config={}, state=RecordDict(), run_config={})
    return message, context
