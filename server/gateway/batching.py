"""Micro-batching: whatever waits while one batch is computed is the next batch.

A request alone is computed at once. Under load (the batch before held several) the next batch waits
a moment, so that the callers who were just answered can be in it. The queue is bounded: beyond it a
request is refused at once, which keeps the wait of the others short.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

from groundswell.shared.errors import Refusal

Q = TypeVar("Q")
A = TypeVar("A")
GATHER_SECONDS = 0.002
RECENT_SECONDS = 0.01


@dataclass(frozen=True)
class _Waiting(Generic[Q, A]):
    question: Q
    deadline: float
    answer: asyncio.Future[A]


class MicroBatcher(Generic[Q, A]):
    """Runs questions in batches on an executor.

    Args:
        run: computes one batch; answers in the questions' order. An exception fails them all.
        executor: where ``run`` is called, one batch at a time.
        largest: most questions of a batch.
        waiting: most questions that may wait.
        watch: told the size of every batch.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Q]], Sequence[A]],
        executor: Executor,
        *,
        largest: int = 64,
        waiting: int = 1024,
        watch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._run = run
        self._executor = executor
        self._largest = largest
        self._most_waiting = waiting
        self._watch = watch
        self._waiting: deque[_Waiting[Q, A]] = deque()
        self._working: asyncio.Task[None] | None = None
        self._before = 0  # size of the last batch, and when it ended
        self._ended = 0.0

    async def ask(self, question: Q, deadline: float) -> A:
        """The answer to one question.

        Args:
            deadline: by ``time.monotonic``; what waits longer is not computed any more.

        Raises:
            Refusal: ``overloaded``: too many wait; ``deadline``: it passed.
        """
        if len(self._waiting) >= self._most_waiting:
            raise Refusal("overloaded", "too many requests wait; try again in a moment")
        loop = asyncio.get_running_loop()
        entry = _Waiting(question, deadline, loop.create_future())
        self._waiting.append(entry)
        if self._working is None or self._working.done():
            self._working = loop.create_task(self._work())
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                answer: A = await entry.answer
                return answer
        except TimeoutError as error:
            raise Refusal("deadline", "the deadline passed before the answer was ready") from error

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            recent = time.monotonic() - self._ended < RECENT_SECONDS
            if recent and len(self._waiting) < self._before:
                await asyncio.sleep(GATHER_SECONDS)
            batch = self._next_batch()
            if not batch:
                continue
            self._watch(len(batch))
            questions = [entry.question for entry in batch]
            computed = loop.run_in_executor(self._executor, self._run, questions)
            await asyncio.wait([computed])
            self._before, self._ended = len(batch), time.monotonic()
            error = computed.exception()
            for number, entry in enumerate(batch):
                if entry.answer.done():
                    continue
                if error is not None:
                    entry.answer.set_exception(error)
                else:
                    entry.answer.set_result(computed.result()[number])

    def _next_batch(self) -> list[_Waiting[Q, A]]:
        """The oldest that still want an answer."""
        batch: list[_Waiting[Q, A]] = []
        now = time.monotonic()
        while self._waiting and len(batch) < self._largest:
            entry = self._waiting.popleft()
            if not entry.answer.done() and entry.deadline > now:
                batch.append(entry)
        return batch
