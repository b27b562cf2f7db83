"""The service itself: pure of protocols; gRPC and HTTP host the same object.

Nothing of a question is kept, but for the sessions of ``StreamInterest``, in memory until their
TTL. Every method checks its question, so a host only translates.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from groundswell.server.gateway.batching import MicroBatcher
from groundswell.server.gateway.limits import REQUEST_SECONDS, RateLimit
from groundswell.server.gateway.metrics import Metrics
from groundswell.server.gateway.sessions import SESSION_SECONDS, SessionKey, Sessions
from groundswell.server.gateway.sources import ModelSource, NoTrends, TrendSource
from groundswell.server.tokens import ANYONE, Caller, Scope, Tokens, require
from groundswell.shared import answering
from groundswell.shared.answering import ServedModel
from groundswell.shared.errors import Refusal
from groundswell.shared.explain import explain_question
from groundswell.shared.questions import (
    BatchAnswer,
    BatchRequest,
    ExplainAnswer,
    ExplainRequest,
    HistoryQuestion,
    ModelsAnswer,
    PredictAnswer,
    PredictRequest,
    RecommendAnswer,
    RecommendRequest,
    StreamRequest,
    TrendsAnswer,
    TrendsRequest,
    microseconds,
    moment,
    utc_now,
)
from groundswell.shared.typed import TypedAnswer, TypedRequest, typed_history

A = TypeVar("A")
MOST_SLOW = 16  # explanations and recommendations that may wait
SWEEPS = 30  # looks for ended sessions within one session's time


@dataclass(frozen=True)
class _Checked:
    """A question that passed its checks, with its model and the time it forecasts from."""

    model: ServedModel
    request: PredictRequest
    at: int


class QueryService:
    """Answers questions about one source of models.

    Args:
        tokens: None in development on loopback: everyone may do everything.
        clock: microseconds since 1970.
        waiting: most forecasts that may wait.
        session_seconds: a streamed session ends so long after its last event.
    """

    def __init__(
        self,
        models: ModelSource,
        trends: TrendSource | None = None,
        tokens: Tokens | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], int] = lambda: microseconds(utc_now()),
        waiting: int = 1024,
        session_seconds: float = SESSION_SECONDS,
    ) -> None:
        self.models = models
        self.metrics = metrics or Metrics()
        self._trends = trends or NoTrends()
        self._tokens = tokens
        self._clock = clock
        self._rates = RateLimit()
        self._sessions = Sessions(seconds=session_seconds)
        self._sweep: asyncio.TimerHandle | None = None
        # Threads of their own: neither an explanation nor a load ever holds up a forecast.
        self._forecasting = ThreadPoolExecutor(1, "forecast")
        self._slow = ThreadPoolExecutor(1, "explain")
        self._loading = ThreadPoolExecutor(2, "load")
        self._slow_waiting = 0
        self._batcher: MicroBatcher[_Checked, PredictAnswer] = MicroBatcher(
            _predict_batch, self._forecasting, waiting=waiting, watch=self.metrics.batch
        )

    def close(self) -> None:
        """Let the threads end."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._forecasting.shutdown(wait=False, cancel_futures=True)
        self._slow.shutdown(wait=False, cancel_futures=True)
        self._loading.shutdown(wait=False, cancel_futures=True)

    def admit(self, authorization: str | None, scope: Scope, cost: int = 1) -> Caller:
        """Who asks, if they may.

        Raises:
            Refusal: ``no-token``, ``bad-token``, ``expired-token``, ``wrong-scope`` or
                ``rate-limited``.
        """
        if self._tokens is None:
            return ANYONE
        caller = self._tokens.check(authorization, utc_now(), time.monotonic())
        require(caller, scope)
        if caller.per_minute is not None:
            self._rates.take(caller.id, caller.per_minute, time.monotonic(), cost)
        return caller

    async def predict(self, request: PredictRequest, seconds: float | None = None) -> PredictAnswer:
        """The interests of one shopper; ``seconds``: until the caller's deadline.

        Raises:
            InputError, Refusal: as ``answering.check`` and the batching say.
        """
        model = await self._model(request.model)
        at = answering.check(model, request, self._clock())
        return await self._batcher.ask(_Checked(model, request, at), _deadline(seconds))

    async def predict_batch(
        self, request: BatchRequest, seconds: float | None = None
    ) -> BatchAnswer:
        """Several shoppers; one wrong request fails them all."""
        answers = await asyncio.gather(*(self.predict(each, seconds) for each in request.requests))
        return BatchAnswer(answers=tuple(answers))

    async def stream(
        self, request: StreamRequest, caller: Caller, seconds: float | None = None
    ) -> PredictAnswer:
        """Add one event to a session and forecast from just after its last event."""
        question = PredictRequest(events=(request.event,), top=request.top, model=request.model)
        answering.check(await self._model(request.model), question, self._clock())
        events = self._sessions.add(
            SessionKey(caller.id, request.session), request.event, time.monotonic()
        )
        self.metrics.sessions(len(self._sessions))
        if self._sweep is None:
            self._sweep_later()
        return await self.predict(
            PredictRequest(events=events, top=request.top, model=request.model), seconds
        )

    def _sweep_later(self) -> None:
        """Sessions end by the clock, whether or not anyone streams on."""
        wait = self._sessions.seconds / SWEEPS
        self._sweep = asyncio.get_running_loop().call_later(wait, self._forget_sessions)

    def _forget_sessions(self) -> None:
        self._sweep = None
        self._sessions.forget(time.monotonic())
        self.metrics.sessions(len(self._sessions))
        if len(self._sessions):
            self._sweep_later()

    async def recommend(
        self, request: RecommendRequest, seconds: float | None = None
    ) -> RecommendAnswer:
        """Items for one shopper."""
        model, at = await self._checked(request)
        return await self._apart(lambda: answering.recommend(model, request, at), seconds)

    async def explain(self, request: ExplainRequest, seconds: float | None = None) -> ExplainAnswer:
        """Which past events made a forecast."""
        model, at = await self._checked(request)
        return await self._apart(lambda: explain_question(model, request, at), seconds)

    async def understand(self, request: TypedRequest, seconds: float | None = None) -> TypedAnswer:
        """What a typed history means; raises InputError where a clause names nothing."""
        model = await self._model(request.model)
        now = moment(self._clock())
        events = typed_history(request.text, now)
        return await self._apart(lambda: answering.understand(model, events, now), seconds)

    async def trends(self, request: TrendsRequest, seconds: float | None = None) -> TrendsAnswer:
        """Demand over the sites."""
        return await self._apart(lambda: self._trends.trends(request), seconds)

    async def list_models(self) -> ModelsAnswer:
        """All versions."""
        return await self._apart(self.models.listing)

    async def promote(self, version: str) -> ModelsAnswer:
        """Make a version the champion."""
        return await self._apart(lambda: self.models.promote(version))

    async def rollback(self, line: str = "") -> ModelsAnswer:
        """Go back to the champion before."""
        return await self._apart(lambda: self.models.rollback(line))

    async def _model(self, name: str | None) -> ServedModel:
        """The model, from memory at once, or looked up and loaded."""
        ready = self.models.ready(name)
        if ready is not None:
            return ready
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._loading, self.models.model, name)

    async def _checked(self, request: HistoryQuestion) -> tuple[ServedModel, int]:
        model = await self._model(request.model)
        return model, answering.check(model, request, self._clock())

    async def _apart(self, work: Callable[[], A], seconds: float | None = None) -> A:
        """Run ``work`` on the slow thread.

        Raises:
            Refusal: ``overloaded`` or ``deadline``; what ``work`` raises.
        """
        if self._slow_waiting >= MOST_SLOW:
            raise Refusal("overloaded", "too many requests wait; try again in a moment")
        self._slow_waiting += 1
        deadline = _deadline(seconds)

        def in_time() -> A:
            if time.monotonic() > deadline:
                raise Refusal("deadline", "the deadline passed while the request waited")
            return work()

        running = asyncio.get_running_loop().run_in_executor(self._slow, in_time)
        running.add_done_callback(self._one_less)
        try:
            # A thread can't be stopped: what runs on still counts as waiting until it ends.
            left = max(deadline - time.monotonic(), 0)
            return await asyncio.wait_for(asyncio.shield(running), left)
        except TimeoutError as error:
            raise Refusal("deadline", "the deadline passed before the answer was ready") from error

    def _one_less(self, ended: asyncio.Future[A]) -> None:
        self._slow_waiting -= 1
        if not ended.cancelled():
            ended.exception()  # looked at, so that asyncio does not report it as lost


def _deadline(seconds: float | None) -> float:
    limit = REQUEST_SECONDS if seconds is None else min(seconds, REQUEST_SECONDS)
    return time.monotonic() + limit


def _predict_batch(checked: Sequence[_Checked]) -> list[PredictAnswer]:
    """Answers in order; requests of one model are computed together."""
    answers: dict[int, PredictAnswer] = {}
    by_model: dict[str, list[int]] = {}
    for number, each in enumerate(checked):
        by_model.setdefault(each.model.version, []).append(number)
    for numbers in by_model.values():
        found = answering.predict(
            checked[numbers[0]].model,
            [checked[i].request for i in numbers],
            [checked[i].at for i in numbers],
        )
        answers.update(zip(numbers, found, strict=True))
    return [answers[i] for i in range(len(checked))]
