"""A history as one text: what it names, and that a row's numbers are its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from groundswell.shared.config import Model
from groundswell.shared.histories import MICROSECONDS_PER_DAY as DAY
from groundswell.shared.histories import Histories
from groundswell.shared.predict import Forecaster, load_model
from groundswell.shared.prompts import prompts
from groundswell.shared.spec import ModelSpec

Maker = Callable[..., Histories]
NAMES = ("purchase", "search")
WORDS = ("coffee", "tea", "手机壳")


def test_a_prompt_names_its_events_newest_first() -> None:
    events = [(0, 0, 0), (0, 1, 2), (2, 7, 1)]
    found = prompts("Lately: {events}.", 3, events, NAMES, WORDS)
    assert found == ["Lately: search 手机壳, purchase coffee.", "", "Lately: other tea."]


def test_the_language_chooses_the_template() -> None:
    section = Model(input="prompt", language="zh", prompts={"zh": "最近{events}"})
    assert ModelSpec.of(section).prompt == "最近{events}"
    assert ModelSpec.of(Model()).prompt == ""


@pytest.mark.parametrize(
    ("section", "rule"),
    [
        ({"prompts": {"en": "no place"}}, "{events} once"),
        ({"language": "fr"}, "no 'fr'"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused(section: dict[str, object], rule: str) -> None:
    with pytest.raises(ValueError, match=rule.replace("{", r"\{").replace("}", r"\}")):
        Model.model_validate(section)


@pytest.fixture(scope="module")
def forecaster(model_folder: Path) -> Forecaster:
    """The tiny model, told to read prompts."""
    known = load_model(model_folder)
    spec = replace(known.checkpoint.spec, prompt="Lately: {events}")
    return Forecaster(replace(known.checkpoint, spec=spec), known.backbone)


def test_a_rows_prompt_gives_the_same_bits_alone_and_among_others(
    forecaster: Forecaster, make_histories: Maker
) -> None:
    many = [[(0.0, i % 5), (1.0, (i + j) % 5)] for i in range(20) for j in (1, 2)]
    h = make_histories(many)
    at = np.full(len(h), 3 * DAY, dtype=np.int64)
    together = forecaster.inputs.batch(h, at)
    alone = forecaster.inputs.batch(h.take(np.array([7])), at[:1])
    assert isinstance(together.tokens, torch.Tensor)
    assert isinstance(alone.tokens, torch.Tensor)
    assert torch.equal(together.tokens[7], alone.tokens[0])
    assert torch.equal(together.mask[7], alone.mask[0])


def test_what_was_done_moves_the_forecast_and_nothing_done_is_the_prior(
    forecaster: Forecaster, make_histories: Maker
) -> None:
    h = make_histories([[(0.0, 1)], [(0.0, 2)], []])
    at = np.full(len(h), DAY, dtype=np.int64)
    batch = forecaster.inputs.batch(h, at)
    assert not batch.mask[2].any()
    found = forecaster.model.text_scores(batch)
    assert not torch.allclose(found[0], found[1])
