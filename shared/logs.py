"""Structured logs of a service: one JSON object a line on standard error.

Records of the standard library and of structlog take the same way out. What is logged is coarse:
codes, names of sites, rounds and durations; never an event, an identifier, a norm or a key. So an
exception is told by its kind and its place: its message may quote what it choked on.
"""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path

import structlog
from structlog.typing import EventDict, Processor

_FRAMES = 8  # innermost places of an exception that are told


def place_of(error: BaseException) -> dict[str, object]:
    """What may be logged of an exception: kinds, its causes' too, and where it arose."""
    kinds, cause = [], error.__cause__
    while cause is not None:
        kinds.append(type(cause).__name__)
        cause = cause.__cause__
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    told: dict[str, object] = {
        "error": type(error).__name__,
        "where": [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames],
    }
    return told | ({"caused_by": kinds} if kinds else {})


def configure_logging(component: str, level: int = logging.INFO, file: Path | None = None) -> None:
    """Send every record of this process out as JSON that names ``component``.

    Args:
        file: instead of standard error, where another program owns that.
    """

    def named(logger: object, method: str, event: EventDict) -> EventDict:
        return {"component": component, **event}

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        named,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.FileHandler(file) if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_messages,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


def _without_messages(logger: object, method: str, event: EventDict) -> EventDict:
    """An exception in the record becomes its kind and place."""
    found = event.pop("exc_info", None)
    if isinstance(found, tuple):
        found = found[1]
    elif found and not isinstance(found, BaseException):
        found = sys.exc_info()[1]
    return {**event, **place_of(found)} if isinstance(found, BaseException) else event
