"""Schemathesis against the OpenAPI page: no request that it invents finds a fault."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS

# A valid document may still be refused: a time in the future, a label that no catalogue holds.
LEFT_OUT = {"positive_data_acceptance"}
OPERATIONS = (
    ("GET", "/healthz"),
    ("GET", "/v1/federation"),
    ("GET", "/v1/models"),
    ("GET", "/v1/trends"),
    ("POST", "/v1/explain"),
    ("POST", "/v1/models/{version}/promote"),
    ("POST", "/v1/predict"),
    ("POST", "/v1/predict/batch"),
    ("POST", "/v1/recommend"),
    ("POST", "/v1/rollback"),
    ("POST", "/v1/stream"),
    ("POST", "/v1/typed"),
)


@pytest.fixture(scope="module")
def page(gateway: Any) -> Any:
    return schemathesis.openapi.from_url(gateway.url + "/openapi.json")


def test_the_page_is_tested_whole(page: Any) -> None:
    found = {(each.ok().method.upper(), each.ok().path) for each in page.get_all_operations()}
    assert found == set(OPERATIONS)


@pytest.mark.fuzz
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_operation_keeps_its_word(page: Any, method: str, path: str) -> None:
    checks = [CHECKS.get_one(name) for name in CHECKS.get_all_names() if name not in LEFT_OUT]

    @given(page[path][method].as_strategy())
    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    def run(case: Any) -> None:
        case.call_and_validate(checks=checks, timeout=30)

    run()
    assert checks


def test_the_page_that_a_release_carries_is_the_gateways(gateway: Any) -> None:
    carried = json.loads((resources.files("groundswell.shared.wire") / "openapi.json").read_text())
    assert carried == httpx.get(gateway.url + "/openapi.json").json(), "run `make docs`"


def test_the_page_names_every_question(gateway: Any) -> None:
    document = httpx.get(gateway.url + "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path in ("/v1/predict", "/v1/recommend", "/v1/explain", "/v1/trends", "/v1/models"):
        assert path in document["paths"]
    event = document["components"]["schemas"]["Event"]
    assert "time" in event["required"]
