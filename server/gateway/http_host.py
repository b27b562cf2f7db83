"""The service over HTTP: JSON, OpenAPI under ``/openapi.json``, the dashboard at ``/``.

Bodies are parsed by pydantic straight from their bytes, once: that is both the fastest way and the
strictest. The OpenAPI page is made from the same models.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from groundswell import __version__
from groundswell.server.gateway import dashboard
from groundswell.server.gateway.faults import (
    BAD_INPUT,
    INTERNAL,
    STATUSES,
    fault_of,
    log_broken,
    wrong_input,
)
from groundswell.server.gateway.federation import FederationView, NoFederation
from groundswell.server.gateway.health import FederationAnswer, Health
from groundswell.server.gateway.service import QueryService
from groundswell.server.tokens import Scope
from groundswell.shared.errors import GroundswellError, InputError, Refusal
from groundswell.shared.questions import (
    BatchAnswer,
    BatchRequest,
    ExplainAnswer,
    ExplainRequest,
    Fault,
    Line,
    ModelsAnswer,
    PredictAnswer,
    PredictRequest,
    RecommendAnswer,
    RecommendRequest,
    StreamRequest,
    TrendsAnswer,
    TrendsRequest,
    Version,
)
from groundswell.shared.typed import TypedAnswer, TypedRequest

Q = TypeVar("Q", bound=BaseModel)
_REQUESTS: tuple[type[BaseModel], ...] = (
    PredictRequest,
    BatchRequest,
    StreamRequest,
    RecommendRequest,
    ExplainRequest,
)
_HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    408: {"Connection": "close"},  # the rest of the body is not waited for
    413: {"Connection": "close"},
}
_HTTP_CODES = {404: "unknown-path", 405: "wrong-method"}
_DESCRIPTION = """Questions to the model that the federation has learned.

A history that is sent here is a raw event given to the coordinator: for a shop's own users, ask the
site's own service over its local socket. Nothing of a prediction is kept."""


class Json(Response):
    """A JSON body that is already text."""

    media_type = "application/json"


class _Documented(FastAPI):
    """A FastAPI whose page also holds the models that routes parse on their own."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            page = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
            )
            _, models = models_json_schema(
                [(model, "validation") for model in _REQUESTS],
                ref_template="#/components/schemas/{model}",
            )
            schemas = page.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(models.get("$defs", {}))
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            bearer = {"type": "http", "scheme": "bearer"}
            page["components"]["securitySchemes"] = {"token": bearer}
            page["security"] = [{}, {"token": []}]
            self.openapi_schema = page
        return self.openapi_schema


def http_app(service: QueryService, federation: FederationView | None = None) -> FastAPI:
    """The application over one service."""
    app = _Documented(
        title="Groundswell",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
    )
    _add_handlers(app)
    _add_questions(app, service)
    _add_operations(app, service, federation or NoFederation())
    dashboard.mount(app)
    return app


def _add_questions(app: FastAPI, service: QueryService) -> None:
    @app.post("/v1/predict", **_documented(PredictRequest, PredictAnswer))
    async def predict(request: Request) -> Response:
        """What will this shopper turn to in the coming window?"""
        service.admit(_authorization(request), Scope.PREDICT)
        return _json(await service.predict(await _body(PredictRequest, request)))

    @app.post("/v1/predict/batch", **_documented(BatchRequest, BatchAnswer))
    async def predict_batch(request: Request) -> Response:
        """Several shoppers at once; counts as one request each."""
        question = await _body(BatchRequest, request)
        service.admit(_authorization(request), Scope.PREDICT, len(question.requests))
        return _json(await service.predict_batch(question))

    @app.post("/v1/stream", **_documented(StreamRequest, PredictAnswer))
    async def stream(request: Request) -> Response:
        """One event of a visit; the session is held in memory for half an hour."""
        caller = service.admit(_authorization(request), Scope.PREDICT)
        return _json(await service.stream(await _body(StreamRequest, request), caller))

    @app.post("/v1/recommend", **_documented(RecommendRequest, RecommendAnswer))
    async def recommend(request: Request) -> Response:
        """Which items of the catalogue fit the interest of the coming window?"""
        service.admit(_authorization(request), Scope.RECOMMEND)
        return _json(await service.recommend(await _body(RecommendRequest, request)))

    @app.post("/v1/explain", **_documented(ExplainRequest, ExplainAnswer))
    async def explain(request: Request) -> Response:
        """Which past events made this forecast?"""
        service.admit(_authorization(request), Scope.EXPLAIN)
        return _json(await service.explain(await _body(ExplainRequest, request)))

    @app.post("/v1/typed", **_documented(TypedRequest, TypedAnswer))
    async def typed(request: Request) -> Response:
        """What does a history mean that was typed as text, in English or Chinese?"""
        service.admit(_authorization(request), Scope.PREDICT)
        return _json(await service.understand(await _body(TypedRequest, request)))

    @app.get("/v1/trends", **_documented(None, TrendsAnswer))
    async def trends(request: Request, question: Annotated[TrendsRequest, Query()]) -> Response:
        """How does demand move over the sites?"""
        service.admit(_authorization(request), Scope.TRENDS)
        return _json(await service.trends(question))


def _add_operations(app: FastAPI, service: QueryService, federation: FederationView) -> None:
    @app.get("/healthz", **_documented(None, Health))
    async def healthz() -> Response:
        """Is the gateway up? Needs no token."""
        listed = await service.list_models()
        return _json(Health(model_version=listed.default))

    @app.get("/v1/models", **_documented(None, ModelsAnswer))
    async def models(request: Request) -> Response:
        """All versions that can be asked."""
        service.admit(_authorization(request), Scope.MODELS)
        return _json(await service.list_models())

    @app.post("/v1/models/{version}/promote", **_documented(None, ModelsAnswer))
    async def promote(request: Request, version: Version) -> Response:
        """Make a version the champion, which answers by default."""
        service.admit(_authorization(request), Scope.OPERATE)
        return _json(await service.promote(version))

    @app.post("/v1/rollback", **_documented(None, ModelsAnswer))
    async def rollback(request: Request, line: Line = "") -> Response:
        """Make the champion before this one the champion again."""
        service.admit(_authorization(request), Scope.OPERATE)
        return _json(await service.rollback(line))

    @app.get("/v1/federation", **_documented(None, FederationAnswer))
    async def health(request: Request) -> Response:
        """Sites, budgets and learning curves of the federation behind the model."""
        service.admit(_authorization(request), Scope.FEDERATION)
        return _json(federation.health())

    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        """Prometheus's exposition format."""
        service.admit(_authorization(request), Scope.METRICS)
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_handlers(app: FastAPI) -> None:
    @app.exception_handler(GroundswellError)
    async def refused(request: Request, error: GroundswellError) -> Response:
        fault, status = fault_of(error)
        if fault.code == INTERNAL:
            log_broken(error)
        return _json(fault, status.http, _HEADERS.get(status.http))

    @app.exception_handler(RequestValidationError)
    async def wrong_query(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        key, rule = _key(first["loc"][1:]), _rule(first["msg"])
        fault = wrong_input(key, first.get("input"), rule, "see /openapi.json")
        return _json(fault, STATUSES[BAD_INPUT].http)

    @app.exception_handler(HTTPException)
    async def wrong_path(request: Request, error: HTTPException) -> Response:
        code = _HTTP_CODES.get(error.status_code, BAD_INPUT)
        fault = Fault(code=code, detail=str(error.detail))
        return _json(fault, error.status_code, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        log_broken(error)
        fault = Fault(code=INTERNAL, detail="the request failed; the gateway's log says why")
        return _json(fault, STATUSES[INTERNAL].http)


async def _body(model: type[Q], request: Request) -> Q:
    """The body as a question.

    Raises:
        Refusal: ``wrong-type`` or ``not-json``.
        InputError: it is not what the model asks for.
    """
    kind = request.headers.get("content-type", "").partition(";")
    if kind[0].strip().lower() != "application/json":
        raise Refusal("wrong-type", "send the body as Content-Type: application/json")
    charset = kind[2].lower().replace(" ", "").replace('"', "")
    if charset.startswith("charset=") and charset not in ("charset=utf-8", "charset=utf8"):
        raise Refusal("wrong-type", "send the body in UTF-8")
    data = await request.body()
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise Refusal("not-json", f"the body is no JSON in UTF-8: {first['msg']}") from error
        raise InputError(
            _key(first["loc"]), first["input"], _rule(first["msg"]), "see /openapi.json"
        ) from error


def _key(where: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in where) or "body"


def _rule(message: str) -> str:
    return message.removeprefix("Value error, ")


def _authorization(request: Request) -> str | None:
    return request.headers.get("authorization")


def _json(answer: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Json:
    body = answer.model_dump_json(by_alias=True, exclude_none=isinstance(answer, Fault))
    return Json(body, status, headers)


def _documented(question: type[BaseModel] | None, answer: type[BaseModel]) -> dict[str, Any]:
    """What the OpenAPI page says of a route whose body FastAPI does not parse itself."""
    wrong = {"model": Fault, "description": "The request was not answered."}
    documented: dict[str, Any] = {
        "response_model": None,
        "responses": {
            200: {"model": answer, "description": "The answer."},
            **dict.fromkeys(sorted({status.http for status in STATUSES.values()}), wrong),
        },
    }
    if question is not None:
        schema = {"$ref": f"#/components/schemas/{question.__name__}"}
        body = {"required": True, "content": {"application/json": {"schema": schema}}}
        documented["openapi_extra"] = {"requestBody": body}
    return documented
