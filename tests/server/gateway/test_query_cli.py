"""``groundswell query`` as a person reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from groundswell.cli import main
from groundswell.server.gateway.federation import NoFederation
from groundswell.server.gateway.hosting import Binding, Gateway, in_background
from groundswell.server.gateway.service import QueryService
from groundswell.server.gateway.sources import FolderSource
from groundswell.shared.answering import ServedModel
from groundswell.shared.questions import Privacy


@pytest.mark.parametrize(
    ("private", "said"),
    [(True, "privacy: central epsilon "), (False, "privacy: none; the model was trained without")],
)
def test_a_model_without_privacy_is_told_as_such(
    served: ServedModel, private: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = served if private else replace(served, privacy=Privacy())
    source = FolderSource(Path(), load=lambda folder: model)
    gateway = Gateway(QueryService(source), NoFederation(), Binding("127.0.0.1", 0))
    with in_background(gateway):
        url = f"http://127.0.0.1:{gateway.http_port}"
        with pytest.raises(SystemExit) as left:
            main(["query", "predict", "--url", url, "--typed", "bought tea"])
    told = " ".join(capsys.readouterr().out.split())
    assert not left.value.code
    assert said in told
    assert "None" not in told
