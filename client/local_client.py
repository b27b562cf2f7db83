"""Asks a site's local socket: the shop's own callers use it, and ``site score`` and its kin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from groundswell.client.local_times import check_time
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.messages import from_message
from groundswell.shared.promotions import Promotion
from groundswell.shared.questions import ExplainAnswer, LabelTrend
from groundswell.shared.wire import local_pb2 as wire
from groundswell.shared.wire import query_pb2 as query

SERVICE = "groundswell.local.v1.Local"
M = TypeVar("M", bound=Message)
_LARGEST = 512 * 1024 * 1024


class WrongInput(InputError):
    """Wrong input that the vault found, in the vault's own line."""

    def __init__(self, line: str) -> None:
        key, _, rest = line.partition(": ")
        super().__init__(key, None, rest, "")
        self.args = (line,)


class LocalClient:
    """One connection to a site's local socket.

    Args:
        socket: path of ``local.sock``.
        seconds: for one answer.
    """

    def __init__(self, socket: Path, seconds: float = 600.0) -> None:
        self._socket = socket
        self._seconds = seconds
        options = [("grpc.max_receive_message_length", _LARGEST)]
        self._channel = grpc.insecure_channel(f"unix:{socket}", options)

    def score(self, at: int | None = None, top: int | None = None) -> Iterator[wire.UserForecast]:
        """Every own user's interests, by pseudonym; ``at`` in microseconds.

        Raises:
            InputError: the vault finds a question wrong; so do the others.
            Refusal: the socket can't be opened or the vault declines; so do the others.
        """
        call = self._channel.unary_stream(
            f"/{SERVICE}/Score", wire.ScoreRequest.SerializeToString, wire.UserForecast.FromString
        )
        request = wire.ScoreRequest(at=_time(at), top=top or 0)
        answers = iter(call(request, timeout=self._seconds))
        while True:
            answer = self._told(lambda: next(answers, None))
            if answer is None:
                return
            yield answer

    def audience(self, label: str, top: int, at: int | None = None) -> wire.AudienceAnswer:
        """The users for whom a label is most probable."""
        request = wire.AudienceRequest(label=label, top=top, at=_time(at))
        return self._ask("Audience", request, wire.AudienceAnswer)

    def trends(
        self,
        labels: Sequence[str] = (),
        windows: int | None = None,
        lead: int | None = None,
        at: int | None = None,
        action: str | None = None,
        plan: Sequence[Promotion] = (),
    ) -> list[LabelTrend]:
        """What rises, what to restock, what fades at this site, from its exact counts.

        Args:
            windows: past ones that are learned from; None: all whole ones.
            action: by this one alone; None: by all that the task weighs.
            plan: public promotions, past ones and those to come.
        """
        request = wire.SiteTrendsRequest(
            labels=labels,
            windows=windows or 0,
            lead=lead or 0,
            at=_time(at),
            action=action or "",
            plan=[_line(each) for each in plan],
        )
        answer = self._ask("Trends", request, wire.SiteTrendsAnswer)
        return [from_message(each, LabelTrend) for each in answer.trends]

    def explain(self, user: str, label: str | None = None, at: int | None = None) -> ExplainAnswer:
        """Which of a user's past events made a forecast."""
        request = wire.ExplainUserRequest(user=user, label=label or "", at=_time(at))
        return from_message(self._ask("Explain", request, query.ExplainAnswer), ExplainAnswer)

    def close(self) -> None:
        """Let go of the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, method: str, request: Message, kind: type[M]) -> M:
        call = self._channel.unary_unary(
            f"/{SERVICE}/{method}", lambda message: message.SerializeToString(), kind.FromString
        )
        answer: M = self._told(lambda: call(request, timeout=self._seconds))
        return answer

    def _told(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code is grpc.StatusCode.UNAVAILABLE:
                rule = (
                    f"{self._socket} can't be opened: a vault that is starting, as after "
                    "`groundswell site model`, takes some seconds; else see `groundswell site "
                    "status`, and whether you may open it"
                )
                raise Refusal("unreachable", rule) from error
            if code is grpc.StatusCode.INVALID_ARGUMENT:
                raise WrongInput(details or code.name) from error
            if code is grpc.StatusCode.FAILED_PRECONDITION and details:
                raise Refusal(*details.split(": ", 1)) from error
            raise Refusal(code.name.lower().replace("_", "-"), details or code.name) from error


def _time(at: int | None) -> int:
    """A time on the wire, where 0 is none."""
    return 0 if at is None else check_time(at)


def _line(promotion: Promotion) -> wire.Promotion:
    return wire.Promotion(
        label=promotion.label,
        first=promotion.first.isoformat(),
        last=promotion.last.isoformat(),
        share=promotion.share,
        kind=promotion.kind,
    )
