"""The prompt grid: public methods alone, every reply once, and no longer than its timeout."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from groundswell.server.flower_runtime import PromptGrid


class LateGrid(Grid):
    """Answers the n-th message at second n of a clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pulls = 0
        self._due: dict[str, float] = {}

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        return Run.create_empty(1)

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return [1, 2, 3]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        self._due = {str(n): self.now + n for n, _ in enumerate(messages, start=1)}
        return [*self._due, ""]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        self.pulls += 1
        arrived = [key for key in message_ids if self._due[key] <= self.now]
        for key in arrived:
            message = Message(RecordDict(), 1, "query.vault")
            message.metadata.__dict__["_reply_to_message_id"] = key
            yield message

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        raise NotImplementedError


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> LateGrid:
    for name in ("run_id", "node_id", "task_id"):
        monkeypatch.setattr(TaskIdentity, f"_{name}", 1)
    return LateGrid()


def messages(count: int) -> list[Message]:
    return [Message(RecordDict(), node, "query.vault") for node in range(1, count + 1)]


def test_every_reply_comes_once_and_soon_after_it_is_there(late: LateGrid) -> None:
    grid = PromptGrid(late, late.clock, late.sleep)
    replies = list(grid.send_and_receive(messages(3)))
    assert sorted(each.metadata.reply_to_message_id for each in replies) == ["1", "2", "3"]
    assert 3.0 <= late.now < 3.3
    assert late.pulls < 80


def test_the_timeout_leaves_out_whoever_is_late(late: LateGrid) -> None:
    grid = PromptGrid(late, late.clock, late.sleep)
    replies = list(grid.send_and_receive(messages(9), timeout=2.5))
    assert sorted(each.metadata.reply_to_message_id for each in replies) == ["1", "2"]
    assert late.now < 2.8


def test_nothing_to_send_returns_at_once(late: LateGrid) -> None:
    grid = PromptGrid(late, late.clock, late.sleep)
    assert list(grid.send_and_receive([])) == []
    assert late.now == 0.0
