"""A gateway of a registry that holds models of several catalogues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from groundswell.server.gateway.registry_source import RegistrySource, check_not_empty
from groundswell.server.registry import Registry
from groundswell.server.versions import Provenance
from groundswell.shared.answering import ServedModel
from groundswell.shared.errors import Refusal


@pytest.fixture(scope="module")
def source(
    tmp_path_factory: pytest.TempPathFactory,
    make_model: Callable[[Path, float], Path],
    served: ServedModel,
) -> Callable[[str], RegistrySource]:
    """Makes a source with a line of its own; what it loads tells its version."""
    folder = tmp_path_factory.mktemp("lines")
    registry = Registry.open(str(folder / "registry"))
    for number, line in enumerate(("office", "tools", "tools"), 1):
        model = make_model(folder / str(number), number / 10)
        registry.add(model, Provenance(line=line))
    check_not_empty(registry)

    def load(model: Path, version: str) -> ServedModel:
        return replace(served, version=version)

    return lambda line: RegistrySource(registry, load, line=line)


def test_a_line_that_was_named_answers_by_default(source: Callable[[str], RegistrySource]) -> None:
    office, tools = source("office"), source("tools")
    assert office.model(None).version == "v1"
    assert tools.model(None).version == "v2"
    assert (office.listing().default, tools.listing().default) == ("v1", "v2")
    assert office.model("champion@tools").version == "v2"
    ready = tools.ready(None)
    assert ready is not None
    assert ready.version == "v2"


def test_without_a_line_a_question_has_to_name_the_model(
    source: Callable[[str], RegistrySource],
) -> None:
    anyone = source("")
    assert anyone.listing().default == ""
    with pytest.raises(Refusal, match="champion@office or champion@tools"):
        anyone.model(None)
    assert anyone.model("champion@office").version == "v1"


def test_promotion_and_rollback_are_of_the_line(source: Callable[[str], RegistrySource]) -> None:
    tools = source("tools")
    assert tools.promote("v3").default == "v3"
    assert source("office").listing().default == "v1"
    assert tools.rollback().default == "v2"
