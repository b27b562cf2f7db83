"""A service's log tells codes and places, and no word of what it worked on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from groundswell.shared.logs import configure_logging

SECRET = "searched for a birthday present"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """The log of a service that runs in this process for one test."""
    root = logging.getLogger()
    before, structured = (root.handlers, root.level), structlog.get_config()
    configure_logging("vault", file=tmp_path / "vault.log")
    yield tmp_path / "vault.log"
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = before
    structlog.configure(**structured)


def fail() -> None:
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise ValueError(f"can't read {SECRET}") from error


@pytest.mark.parametrize("given", ["exception", "exc_info"])
def test_an_exception_is_told_by_kind_and_place_alone(file: Path, given: str) -> None:
    try:
        fail()
    except ValueError as error:
        if given == "exception":
            logging.getLogger("a.library").exception("a request failed")
        else:
            logging.getLogger("a.library").error("a request failed", exc_info=error)
    text = file.read_text("utf-8")
    assert SECRET not in text
    record = json.loads(text)
    assert record["event"] == "a request failed"
    assert record["error"] == "ValueError"
    assert record["caused_by"] == ["KeyError"]
    assert record["where"][-1].startswith("test_logs.py:")


def test_a_record_without_an_exception_has_no_place(file: Path) -> None:
    logging.getLogger("a.library").info("round %d", 3)
    record = json.loads(file.read_text("utf-8"))
    assert record["event"] == "round 3"
    assert "error" not in record
