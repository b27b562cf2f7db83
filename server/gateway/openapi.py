"""Writes the OpenAPI page for releases: ``python -m groundswell.server.gateway.openapi FILE``.

Clients are generated from it without a gateway at hand, as they are from ``query.proto``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from groundswell.server.gateway.http_host import http_app
from groundswell.server.gateway.service import QueryService
from groundswell.shared.answering import ServedModel
from groundswell.shared.errors import Refusal
from groundswell.shared.questions import ModelsAnswer

_REASON = "this gateway only describes itself"


class _NoModels:
    """A ``ModelSource`` that holds nothing: the page describes questions, it asks none."""

    def ready(self, name: str | None) -> ServedModel | None:
        return None

    def model(self, name: str | None) -> ServedModel:
        raise Refusal("unknown-model", _REASON)

    def listing(self) -> ModelsAnswer:
        return ModelsAnswer(default="", models=())

    def promote(self, version: str) -> ModelsAnswer:
        raise Refusal("no-registry", _REASON)

    def rollback(self, line: str = "") -> ModelsAnswer:
        raise Refusal("no-registry", _REASON)


def page() -> str:
    """The document that every gateway answers under ``/openapi.json``, indented."""
    service = QueryService(_NoModels())
    document = http_app(service).openapi()
    service.close()
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
