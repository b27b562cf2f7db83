"""The query service's client for Python: over HTTP, or on a model folder without any service.

    with groundswell.Client("https://gateway.example", token="gsw_...") as client:
        answer = client.predict([{"time": "2026-11-20T10:00:00Z", "label": "COFFEE"}])

``AsyncClient`` has the same methods as coroutines. Neither imports torch; ``Client.local`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

import httpx
from pydantic import ValidationError

from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.questions import (
    Answer,
    BatchAnswer,
    BatchRequest,
    Event,
    ExplainAnswer,
    ExplainRequest,
    Fault,
    ModelsAnswer,
    ModelsRequest,
    PredictAnswer,
    PredictRequest,
    Question,
    RecommendAnswer,
    RecommendRequest,
    StreamRequest,
    TrendsAnswer,
    TrendsRequest,
)
from groundswell.shared.typed import TypedAnswer, TypedRequest

__all__ = ["AsyncClient", "Client"]

A = TypeVar("A", bound=Answer)
Events = Iterable[Event | Mapping[str, Any]]
Time = datetime | str | None
_PATHS: dict[type[Question], str] = {
    PredictRequest: "/v1/predict",
    BatchRequest: "/v1/predict/batch",
    StreamRequest: "/v1/stream",
    RecommendRequest: "/v1/recommend",
    ExplainRequest: "/v1/explain",
    TypedRequest: "/v1/typed",
}
_SHOWN_SCHEMES = ("http://", "https://")


class Transport(Protocol):
    """The one seam: a question goes, its answer comes."""

    def ask(self, question: Question, answer: type[A]) -> A:
        """Raises InputError or Refusal where the question is not answered."""

    def close(self) -> None:
        """Let go of connections."""


class Client:
    """Asks a gateway.

    Args:
        url: of the gateway, such as ``http://127.0.0.1:8080``.
        token: from ``groundswell token create``; none for a development gateway.
        timeout: seconds for one answer.
        verify: a CA file for the gateway's certificate, or True for the system's.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout: float = 30.0,
        *,
        verify: str | bool = True,
    ) -> None:
        self._transport: Transport = _Http(url, token, timeout, verify)

    @classmethod
    def local(cls, folder: str | Path) -> Client:
        """A client of a model folder in this process; nothing leaves it.

        Raises:
            ModelError, InputError: the model or its backbone can't be read.
        """
        from groundswell.shared.local_answers import LocalAnswers

        client = cls.__new__(cls)
        client._transport = LocalAnswers(Path(folder))
        return client

    def predict(
        self,
        events: Events = (),
        *,
        at: Time = None,
        window: str | None = None,
        top: int = 10,
        model: str | None = None,
    ) -> PredictAnswer:
        """What a shopper with these events will turn to in the coming window."""
        question = _checked(
            PredictRequest, events=events, at=at, window=window, top=top, model=model
        )
        return self._transport.ask(question, PredictAnswer)

    def predict_many(
        self, histories: Sequence[Events], *, at: Time = None, top: int = 10
    ) -> tuple[PredictAnswer, ...]:
        """The same for several shoppers, in their order."""
        requests = [_checked(PredictRequest, events=each, at=at, top=top) for each in histories]
        return self._transport.ask(_checked(BatchRequest, requests=requests), BatchAnswer).answers

    def stream(
        self, session: str, event: Event | Mapping[str, Any], *, top: int = 10
    ) -> PredictAnswer:
        """Add one event to a session and forecast from it."""
        question = _checked(StreamRequest, session=session, event=_plain(event), top=top)
        return self._transport.ask(question, PredictAnswer)

    def recommend(
        self, events: Events = (), *, at: Time = None, top: int = 10, **filters: Any
    ) -> RecommendAnswer:
        """Items of the catalogue; ``filters`` are those of ``questions.Filters``."""
        question = _checked(RecommendRequest, events=events, at=at, top=top, filters=filters)
        return self._transport.ask(question, RecommendAnswer)

    def explain(
        self,
        events: Events = (),
        *,
        label: str | None = None,
        at: Time = None,
        method: Literal["shapley", "lime"] = "shapley",
    ) -> ExplainAnswer:
        """Which past events made the forecast of a label, by default the most probable."""
        question = _checked(ExplainRequest, events=events, label=label, at=at, method=method)
        return self._transport.ask(question, ExplainAnswer)

    def trends(
        self,
        labels: Iterable[str] = (),
        *,
        region: str | None = None,
        action: str | None = None,
        top: int = 20,
        lead: int = 2,
        model: str | None = None,
    ) -> TrendsAnswer:
        """Demand over the sites, by all actions or one; ``lead``: windows until a restock comes."""
        question = _checked(
            TrendsRequest,
            labels=tuple(labels),
            region=region,
            action=action,
            top=top,
            lead=lead,
            model=model,
        )
        return self._transport.ask(question, TrendsAnswer)

    def understand(self, text: str) -> TypedAnswer:
        """The events that a history typed in words means, with the labels that it comes near to."""
        return self._transport.ask(_checked(TypedRequest, text=text), TypedAnswer)

    def models(self) -> ModelsAnswer:
        """All versions that can be asked."""
        return self._transport.ask(ModelsRequest(), ModelsAnswer)

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient:
    """Asks a gateway, by coroutines; see ``Client`` for arguments and answers."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout: float = 30.0,
        *,
        verify: str | bool = True,
    ) -> None:
        self._client = httpx.AsyncClient(
            base_url=_url(url), headers=_headers(token), timeout=timeout, verify=verify
        )

    async def predict(
        self,
        events: Events = (),
        *,
        at: Time = None,
        window: str | None = None,
        top: int = 10,
        model: str | None = None,
    ) -> PredictAnswer:
        """See ``Client.predict``."""
        question = _checked(
            PredictRequest, events=events, at=at, window=window, top=top, model=model
        )
        return await self._ask(question, PredictAnswer)

    async def predict_many(
        self, histories: Sequence[Events], *, at: Time = None, top: int = 10
    ) -> tuple[PredictAnswer, ...]:
        """See ``Client.predict_many``."""
        requests = [_checked(PredictRequest, events=each, at=at, top=top) for each in histories]
        answer = await self._ask(_checked(BatchRequest, requests=requests), BatchAnswer)
        return answer.answers

    async def stream(
        self, session: str, event: Event | Mapping[str, Any], *, top: int = 10
    ) -> PredictAnswer:
        """See ``Client.stream``."""
        question = _checked(StreamRequest, session=session, event=_plain(event), top=top)
        return await self._ask(question, PredictAnswer)

    async def recommend(
        self, events: Events = (), *, at: Time = None, top: int = 10, **filters: Any
    ) -> RecommendAnswer:
        """See ``Client.recommend``."""
        question = _checked(RecommendRequest, events=events, at=at, top=top, filters=filters)
        return await self._ask(question, RecommendAnswer)

    async def explain(
        self,
        events: Events = (),
        *,
        label: str | None = None,
        at: Time = None,
        method: Literal["shapley", "lime"] = "shapley",
    ) -> ExplainAnswer:
        """See ``Client.explain``."""
        question = _checked(ExplainRequest, events=events, label=label, at=at, method=method)
        return await self._ask(question, ExplainAnswer)

    async def trends(
        self,
        labels: Iterable[str] = (),
        *,
        region: str | None = None,
        action: str | None = None,
        top: int = 20,
        lead: int = 2,
        model: str | None = None,
    ) -> TrendsAnswer:
        """See ``Client.trends``."""
        question = _checked(
            TrendsRequest,
            labels=tuple(labels),
            region=region,
            action=action,
            top=top,
            lead=lead,
            model=model,
        )
        return await self._ask(question, TrendsAnswer)

    async def understand(self, text: str) -> TypedAnswer:
        """See ``Client.understand``."""
        return await self._ask(_checked(TypedRequest, text=text), TypedAnswer)

    async def models(self) -> ModelsAnswer:
        """See ``Client.models``."""
        return await self._ask(ModelsRequest(), ModelsAnswer)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(self, question: Question, answer: type[A]) -> A:
        try:
            response = await self._client.send(_request(self._client, question))
        except httpx.HTTPError as error:
            raise _unreachable(self._client.base_url, error) from error
        return _read(response, answer)


class _Http:
    """Questions over HTTP."""

    def __init__(self, url: str, token: str | None, timeout: float, verify: str | bool) -> None:
        self._client = httpx.Client(
            base_url=_url(url), headers=_headers(token), timeout=timeout, verify=verify
        )

    def ask(self, question: Question, answer: type[A]) -> A:
        try:
            response = self._client.send(_request(self._client, question))
        except httpx.HTTPError as error:
            raise _unreachable(self._client.base_url, error) from error
        return _read(response, answer)

    def close(self) -> None:
        self._client.close()


def _request(client: httpx.Client | httpx.AsyncClient, question: Question) -> httpx.Request:
    if isinstance(question, ModelsRequest):
        return client.build_request("GET", "/v1/models")
    if isinstance(question, TrendsRequest):
        query = question.model_dump(exclude_none=True)
        return client.build_request("GET", "/v1/trends", params=query)
    body = question.model_dump_json(exclude_none=True)
    headers = {"Content-Type": "application/json"}
    return client.build_request("POST", _PATHS[type(question)], content=body, headers=headers)


def _read(response: httpx.Response, answer: type[A]) -> A:
    try:
        if response.is_success:
            return answer.model_validate_json(response.content)
        fault = Fault.model_validate_json(response.content)
    except ValidationError as error:
        raise Refusal(
            "not-a-gateway", f"{response.url.host} answered {response.status_code} without a reason"
        ) from error
    if fault.key is not None:
        remedy = fault.remedy or "see the gateway's page"
        raise InputError(fault.key, fault.value, fault.rule or fault.detail, remedy)
    raise Refusal(fault.code, fault.detail)


def _unreachable(url: httpx.URL, error: httpx.HTTPError) -> Refusal:
    reason = str(error) or type(error).__name__
    return Refusal("unreachable", f"{url.scheme}://{url.netloc.decode()}: {reason}")


def _url(url: str) -> str:
    if not url.startswith(_SHOWN_SCHEMES):
        raise InputError("url", url, "is no web address", "give one such as http://127.0.0.1:8080")
    return url.rstrip("/")


def _headers(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _plain(event: Event | Mapping[str, Any]) -> dict[str, Any]:
    return event.model_dump() if isinstance(event, Event) else dict(event)


def _checked(kind: type[Any], **values: Any) -> Any:
    """A question from arguments; raises InputError for a wrong one."""
    if "events" in values:
        values["events"] = tuple(_plain(event) for event in values["events"])
    try:
        return kind.model_validate({k: v for k, v in values.items() if v is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(
            ".".join(str(part) for part in first["loc"]),
            first["input"],
            first["msg"].removeprefix("Value error, "),
            "see help(groundswell.Client)",
        ) from error
