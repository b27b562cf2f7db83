"""The service over gRPC: ``groundswell.query.v1.Query``, with health and reflection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeVar

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from groundswell.server.gateway.faults import INTERNAL, STATUSES, fault_of, log_broken
from groundswell.server.gateway.limits import MAX_BODY, SLOW_SECONDS
from groundswell.server.gateway.service import QueryService
from groundswell.server.tokens import Caller, Scope
from groundswell.shared import messages
from groundswell.shared.envelopes import parse
from groundswell.shared.errors import GroundswellError
from groundswell.shared.wire import query_pb2 as wire

_LOG = structlog.get_logger("groundswell.gateway")
SERVICE = "groundswell.query.v1.Query"
_HEALTH = "grpc.health.v1.Health"
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_BODY),
    ("grpc.max_concurrent_streams", 256),
    ("grpc.max_connection_idle_ms", 600_000),
    ("grpc.so_reuseport", 0),
)
IN_FLIGHT = 32  # requests of one stream that are computed at the same time
A = TypeVar("A")
Context = Any  # grpc.aio.ServicerContext, which has no types


@dataclass(frozen=True)
class Security:
    """Certificate chain and private key, PEM."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)


class _Failed(Exception):
    """A request's status and detail, for the call that it belongs to."""

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(status)
        self.status = status
        self.detail = detail


class QueryCalls:
    """Translates; the service does the rest."""

    def __init__(self, service: QueryService) -> None:
        self._service = service

    async def predict(self, data: bytes, context: Context) -> wire.PredictAnswer:
        """PredictInterest."""
        work = self._predicting(data, context)
        return await self._call("PredictInterest", Scope.PREDICT, context, work)

    def _predicting(
        self, data: bytes, context: Context
    ) -> Callable[[Caller], Awaitable[wire.PredictAnswer]]:
        async def work(caller: Caller) -> wire.PredictAnswer:
            question = messages.predict_request(parse(wire.PredictRequest, data))
            answer = await self._service.predict(question, context.time_remaining())
            return messages.predict_answer(answer)

        return work

    async def batch(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[wire.PredictAnswer]:
        """PredictBatch: answers in order; at most ``IN_FLIGHT`` requests are read ahead of them.

        A request that fails ends the call when its turn comes, after the answers before it. Nothing
        but this generator may end it: gRPC leaves a caller waiting for ever whose call is ended
        while an answer is still on its way.
        """
        ahead: asyncio.Queue[asyncio.Task[wire.PredictAnswer] | None] = asyncio.Queue(IN_FLIGHT)

        async def read() -> None:
            async for data in requests:
                work = self._predicting(data, context)
                call = self._answered("PredictBatch", Scope.PREDICT, context, work)
                task = asyncio.create_task(call)
                # Nobody asks for the errors behind the first; asyncio would log them as lost.
                task.add_done_callback(lambda done: done.cancelled() or done.exception())
                await ahead.put(task)
            await ahead.put(None)

        reading = asyncio.create_task(read())
        try:
            while (task := await ahead.get()) is not None:
                yield await self._ended_by(context, task)
        finally:
            reading.cancel()
            while not ahead.empty():
                left = ahead.get_nowait()
                if left is not None:
                    left.cancel()

    async def stream(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[wire.PredictAnswer]:
        """StreamInterest: an answer after each event."""
        async for data in requests:

            async def work(caller: Caller, data: bytes = data) -> wire.PredictAnswer:
                question = messages.stream_request(parse(wire.StreamRequest, data))
                answer = await self._service.stream(question, caller, context.time_remaining())
                return messages.predict_answer(answer)

            yield await self._call("StreamInterest", Scope.PREDICT, context, work)

    async def recommend(self, data: bytes, context: Context) -> wire.RecommendAnswer:
        """Recommend."""

        async def work(caller: Caller) -> wire.RecommendAnswer:
            question = messages.recommend_request(parse(wire.RecommendRequest, data))
            answer = await self._service.recommend(question, context.time_remaining())
            return messages.to_message(answer, wire.RecommendAnswer)

        return await self._call("Recommend", Scope.RECOMMEND, context, work)

    async def explain(self, data: bytes, context: Context) -> wire.ExplainAnswer:
        """Explain."""

        async def work(caller: Caller) -> wire.ExplainAnswer:
            question = messages.explain_request(parse(wire.ExplainRequest, data))
            answer = await self._service.explain(question, context.time_remaining())
            return messages.to_message(answer, wire.ExplainAnswer)

        return await self._call("Explain", Scope.EXPLAIN, context, work)

    async def trends(self, data: bytes, context: Context) -> wire.TrendsAnswer:
        """Trends."""

        async def work(caller: Caller) -> wire.TrendsAnswer:
            question = messages.trends_request(parse(wire.TrendsRequest, data))
            answer = await self._service.trends(question, context.time_remaining())
            return messages.to_message(answer, wire.TrendsAnswer)

        return await self._call("Trends", Scope.TRENDS, context, work)

    async def models(self, data: bytes, context: Context) -> wire.ModelsAnswer:
        """Models."""

        async def work(caller: Caller) -> wire.ModelsAnswer:
            parse(wire.ModelsRequest, data)
            return messages.to_message(await self._service.list_models(), wire.ModelsAnswer)

        return await self._call("Models", Scope.MODELS, context, work)

    async def _call(
        self, method: str, scope: Scope, context: Context, work: Callable[[Caller], Awaitable[A]]
    ) -> A:
        """Answer a request; an error ends the call with its status."""
        return await self._ended_by(context, self._answered(method, scope, context, work))

    async def _ended_by(self, context: Context, answering: Awaitable[A]) -> A:
        try:
            return await answering
        except _Failed as failed:
            await context.abort(grpc.StatusCode[failed.status], failed.detail)
            raise

    async def _answered(
        self, method: str, scope: Scope, context: Context, work: Callable[[Caller], Awaitable[A]]
    ) -> A:
        """Admit the caller and run ``work``; raises ``_Failed`` with the status of an error."""
        began = time.monotonic()
        sent = dict(context.invocation_metadata() or ())

        async def admitted() -> A:
            return await work(self._service.admit(sent.get("authorization"), scope))

        task = asyncio.ensure_future(admitted())
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()  # where the caller is gone; nothing happens to a task that has ended
        error = task.exception()
        status, detail = _status_of(error)
        name = "OK" if error is None else status
        seconds = time.monotonic() - began
        self._service.metrics.request("grpc", method, name, seconds)
        tell = _LOG.info if error is not None or seconds > SLOW_SECONDS else _LOG.debug
        tell("request", protocol="grpc", method=method, status=name, ms=round(seconds * 1000, 1))
        if error is not None:
            raise _Failed(status, detail)
        return task.result()

    def handler(self) -> Any:
        """All methods by name."""
        unary, both = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        methods: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
            "PredictInterest": (unary, self.predict),
            "PredictBatch": (both, self.batch),
            "StreamInterest": (both, self.stream),
            "Recommend": (unary, self.recommend),
            "Explain": (unary, self.explain),
            "Trends": (unary, self.trends),
            "Models": (unary, self.models),
        }
        # Requests come as bytes and are parsed with the rest, so that what is no message gets a
        # status of ours instead of a stack trace in gRPC's log.
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: kind(call, None, lambda answer: answer.SerializeToString())
                for name, (kind, call) in methods.items()
            },
        )


def _status_of(error: BaseException | None) -> tuple[str, str]:
    """gRPC status name and detail."""
    if isinstance(error, GroundswellError):
        fault, status = fault_of(error)
        return status.grpc, f"{fault.code}: {fault.detail}"
    if error is not None:
        log_broken(error)
    return STATUSES[INTERNAL].grpc, "the request failed; the gateway's log says why"


async def start(
    service: QueryService, address: str, security: Security | None = None
) -> tuple[Any, int]:
    """Start a ``grpc.aio.Server`` and return it with its port; port 0 lets the system choose.

    Raises:
        RuntimeError: the address can't be bound.
    """
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((QueryCalls(service).handler(),))
    checks = import_module("grpc_health.v1.health").aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for name in ("", SERVICE):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((SERVICE, _HEALTH, reflection.SERVICE_NAME), server)
    if security is None:
        port = server.add_insecure_port(address)
    else:
        credentials = grpc.ssl_server_credentials([(security.key, security.certificate)])
        port = server.add_secure_port(address, credentials)
    await server.start()
    return server, port
