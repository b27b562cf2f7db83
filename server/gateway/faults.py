"""What a failed request answers: a stable word, a status in each protocol, and a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from groundswell.shared.errors import GroundswellError, InputError, Refusal
from groundswell.shared.logs import place_of
from groundswell.shared.questions import Fault

_LOG = structlog.get_logger("groundswell.gateway")
BAD_INPUT = "bad-input"
INTERNAL = "internal"
_LONGEST_VALUE = 80  # characters


@dataclass(frozen=True)
class Status:
    """The HTTP status and the name of the gRPC status code of one kind of fault."""

    http: int
    grpc: str


STATUSES: dict[str, Status] = {
    BAD_INPUT: Status(422, "INVALID_ARGUMENT"),
    "not-json": Status(400, "INVALID_ARGUMENT"),
    "malformed": Status(400, "INVALID_ARGUMENT"),
    "wrong-type": Status(415, "INVALID_ARGUMENT"),
    "no-token": Status(401, "UNAUTHENTICATED"),
    "bad-token": Status(401, "UNAUTHENTICATED"),
    "expired-token": Status(401, "UNAUTHENTICATED"),
    "wrong-scope": Status(403, "PERMISSION_DENIED"),
    "wrong-host": Status(403, "PERMISSION_DENIED"),
    "unknown-model": Status(404, "NOT_FOUND"),
    "unknown-path": Status(404, "NOT_FOUND"),
    "wrong-method": Status(405, "UNIMPLEMENTED"),
    "unknown-region": Status(404, "NOT_FOUND"),
    "unknown-action": Status(404, "NOT_FOUND"),
    "no-trends": Status(404, "NOT_FOUND"),
    "no-registry": Status(409, "FAILED_PRECONDITION"),
    "no-earlier-version": Status(409, "FAILED_PRECONDITION"),
    "quality-gate": Status(409, "FAILED_PRECONDITION"),
    "too-slow": Status(408, "DEADLINE_EXCEEDED"),
    "too-large": Status(413, "RESOURCE_EXHAUSTED"),
    "rate-limited": Status(429, "RESOURCE_EXHAUSTED"),
    "overloaded": Status(503, "UNAVAILABLE"),
    "deadline": Status(504, "DEADLINE_EXCEEDED"),
    INTERNAL: Status(500, "INTERNAL"),
}


def fault_of(error: GroundswellError) -> tuple[Fault, Status]:
    """The fault that tells of an error; what is not meant for callers is told as internal."""
    if isinstance(error, InputError):
        fault = wrong_input(error.key, error.value, error.rule, error.remedy)
        return fault, STATUSES[BAD_INPUT]
    if isinstance(error, Refusal) and error.code in STATUSES:
        return Fault(code=error.code, detail=error.rule), STATUSES[error.code]
    return Fault(code=INTERNAL, detail="the request failed; the gateway's log says why"), STATUSES[
        INTERNAL
    ]


def wrong_input(key: str, value: object, rule: str, remedy: str) -> Fault:
    """The fault of a wrong value; a long value is cut."""
    text = str(value)
    text = text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
    return Fault(
        code=BAD_INPUT,
        detail=f"{key}: {text!r}: {rule}; {remedy}",
        key=key,
        value=text,
        rule=rule,
        remedy=remedy,
    )


def log_broken(error: BaseException) -> None:
    """Log where an unforeseen error arose; its message may hold a caller's data and is left out."""
    _LOG.error("broken", **place_of(error))
