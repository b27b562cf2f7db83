"""The scorer behind the local socket: ``groundswell.local.v1.Local``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc

from groundswell.client.local_times import check_time
from groundswell.client.scorer import Scorer, UserForecast
from groundswell.client.site_cells import MAX_WINDOWS
from groundswell.shared.demand_trends import HORIZONS
from groundswell.shared.durations import format_duration
from groundswell.shared.envelopes import parse
from groundswell.shared.errors import GroundswellError, InputError, Refusal
from groundswell.shared.messages import interest_messages, to_message
from groundswell.shared.promotions import DEFAULT_KIND, Promotion, parse_day
from groundswell.shared.wire import local_pb2 as wire
from groundswell.shared.wire import query_pb2 as query

log = logging.getLogger(__name__)

SERVICE = "groundswell.local.v1.Local"
MAX_TOP = 1_000_000
DEFAULT_LEAD = 2
NO_MODEL = "no-model"
_CODES = {"unknown-user": "NOT_FOUND", NO_MODEL: "FAILED_PRECONDITION"}
_FAILED = "the question could not be answered; the vault's log says why"
A = TypeVar("A")


class LocalCalls:
    """Translates; the scorer does the rest.

    Args:
        scorer: or why there is none; every question is answered with that then.
    """

    def __init__(self, scorer: Scorer | Refusal) -> None:
        self._given = scorer

    @property
    def _scorer(self) -> Scorer:
        if isinstance(self._given, Refusal):
            raise Refusal(self._given.code, self._given.rule)
        return self._given

    def score(self, data: bytes, context: grpc.ServicerContext) -> Iterator[wire.UserForecast]:
        """Score: one message a user."""

        def begin() -> Iterator[UserForecast]:
            request = parse(wire.ScoreRequest, data)
            return self._scorer.score(_time(request.at), request.top or None)

        rows = self._guarded(context, begin)
        while context.is_active():
            row = self._guarded(context, lambda: next(rows, None))
            if row is None:
                return
            yield wire.UserForecast(user=row.user, interests=interest_messages(row.interests))

    def audience(self, data: bytes, context: grpc.ServicerContext) -> wire.AudienceAnswer:
        """Audience."""

        def work() -> wire.AudienceAnswer:
            request = parse(wire.AudienceRequest, data)
            if not 1 <= request.top <= MAX_TOP:
                raise InputError("top", request.top, f"must lie in 1..{MAX_TOP}", "ask for less")
            members = self._scorer.audience(request.label, request.top, _time(request.at))
            return wire.AudienceAnswer(
                model_version=self._scorer.model.version,
                members=[
                    wire.Member(user=each.user, probability=each.probability, lift=each.lift)
                    for each in members
                ],
            )

        return self._guarded(context, work)

    def trends(self, data: bytes, context: grpc.ServicerContext) -> wire.SiteTrendsAnswer:
        """Trends."""

        def work() -> wire.SiteTrendsAnswer:
            request = parse(wire.SiteTrendsRequest, data)
            windows, lead = request.windows, request.lead or DEFAULT_LEAD
            if windows > MAX_WINDOWS or not 1 <= lead <= HORIZONS:
                raise InputError(
                    "windows, lead",
                    (windows, lead),
                    f"must lie in 0..{MAX_WINDOWS} and 1..{HORIZONS}",
                    "ask for less",
                )
            at = _time(request.at) or self._scorer.now
            found = self._scorer.trends(
                tuple(request.labels),
                windows or None,
                lead,
                at,
                request.action or None,
                _plan(request),
            )
            task = self._scorer.model.forecaster.task
            return wire.SiteTrendsAnswer(
                as_of=at,
                window=format_duration(task.window),
                trends=[to_message(each, query.LabelTrend) for each in found],
            )

        return self._guarded(context, work)

    def explain(self, data: bytes, context: grpc.ServicerContext) -> query.ExplainAnswer:
        """Explain."""

        def work() -> query.ExplainAnswer:
            request = parse(wire.ExplainUserRequest, data)
            at = _time(request.at)
            answer = self._scorer.explain(request.user, request.label or None, at)
            return to_message(answer, query.ExplainAnswer)

        return self._guarded(context, work)

    def _guarded(self, context: grpc.ServicerContext, work: Callable[[], A]) -> A:
        """Run ``work``; an error becomes its status, never a stack trace."""
        try:
            return work()
        except InputError as error:
            code, details = "INVALID_ARGUMENT", str(error)
        except Refusal as error:
            code = _CODES.get(error.code, "INVALID_ARGUMENT")
            details = f"{error.code}: {error.rule}"
        except GroundswellError as error:
            log.error("a local question failed: %s", type(error).__name__)
            code, details = "INTERNAL", _FAILED
        except Exception:  # house: the last wall; gRPC would send the exception's text
            log.exception("a local question failed")
            code, details = "INTERNAL", _FAILED
        context.abort(grpc.StatusCode[code], details)
        raise RuntimeError("a call that was aborted went on")


def _time(at: int) -> int | None:
    """A time of the wire: 0 is none."""
    return check_time(at) if at else None


def _plan(request: wire.SiteTrendsRequest) -> tuple[Promotion, ...]:
    """The promotions of a request; the scorer checks them."""
    return tuple(
        Promotion(
            label=each.label,
            first=parse_day(each.first, f"plan, line {number}: from"),
            last=parse_day(each.last, f"plan, line {number}: to"),
            share=each.share,
            kind=each.kind or DEFAULT_KIND,
        )
        for number, each in enumerate(request.plan, start=1)
    )


def local_handlers(scorer: Scorer | Refusal) -> Callable[[grpc.Server], None]:
    """Registers the service; hand it to ``sockets.listen``."""
    calls = LocalCalls(scorer)
    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    methods: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "Score": (stream, calls.score),
        "Audience": (unary, calls.audience),
        "Trends": (unary, calls.trends),
        "Explain": (unary, calls.explain),
    }

    def register(server: grpc.Server) -> None:
        handlers = {
            name: kind(call, None, lambda answer: answer.SerializeToString())
            for name, (kind, call) in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    return register
