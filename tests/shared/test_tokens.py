"""Looked-up projections give what the layer computes, and texts don't depend on each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from groundswell.client.gradients import made_up
from groundswell.shared.backbone import Backbone, load_backbone
from groundswell.shared.batches import Inputs
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.model import InterestModel, initialise, trainable
from groundswell.shared.spec import ModelSpec
from groundswell.shared.task import Task

WORDS = ("milk", "bread", "beer", "soap", "apples", "batteries")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone()


@pytest.fixture(scope="module")
def inputs(backbone: Backbone) -> Inputs:
    table = pl.DataFrame({"label": WORDS, "text": [f"{word} from the shop" for word in WORDS]})
    catalogue = Catalogue.from_table(table, name="words", label="label", text=("text",))
    return Inputs(ModelSpec(), Task(), catalogue, backbone)


def test_looked_up_projections_give_the_layer_s_own_logits_and_gradients(
    backbone: Backbone, inputs: Inputs
) -> None:
    model = InterestModel(ModelSpec(), backbone, inputs.space)
    initialise(model, bytes(32))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.05, generator=generator)
    model.double()
    h, row, at = made_up(len(WORDS), Task().window_us)
    looked_up = inputs.batch(h.take(row), at).to(torch.float64)
    dense = looked_up.dense()
    found = []
    for batch in (looked_up, dense):
        model.zero_grad()
        logits = model(batch)
        logits.square().sum().backward()
        gradients = [p.grad.clone() for p in trainable(model).values() if p.grad is not None]
        found.append((logits.detach(), gradients))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-9, atol=1e-9)
    assert len(found[0][1]) == len(trainable(model))
    for ours, plain in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-7, atol=1e-9)


def test_projections_follow_a_change_of_the_frozen_a(backbone: Backbone, inputs: Inputs) -> None:
    model = InterestModel(ModelSpec(), backbone, inputs.space)
    h, row, at = made_up(len(WORDS), Task().window_us)
    batch = inputs.batch(h.take(row), at)
    for key in (bytes(32), bytes([1]) * 32):
        initialise(model, key)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.fill_(0.02)
        with torch.no_grad():
            torch.testing.assert_close(model(batch), model(batch.dense()), rtol=1e-4, atol=1e-4)


def test_a_row_without_events_gives_the_same_either_way(backbone: Backbone, inputs: Inputs) -> None:
    model = InterestModel(ModelSpec(), backbone, inputs.space)
    initialise(model, bytes(32))
    h, row, _ = made_up(len(WORDS), Task().window_us)
    batch = inputs.batch(h.take(row), np.zeros(len(row), dtype=np.int64))
    assert not batch.mask.any()
    with torch.no_grad():
        torch.testing.assert_close(model(batch), model(batch.dense()), rtol=1e-5, atol=1e-5)


def test_the_encoding_of_a_text_does_not_depend_on_the_texts_beside_it(backbone: Backbone) -> None:
    texts = [f"{word} {'very ' * n}fresh" for n, word in enumerate(WORDS * 12)]
    whole = backbone.encode(texts, 1)
    for i in (0, 7, len(texts) - 1):
        alone = backbone.encode([texts[i]], 1)
        assert np.array_equal(alone.prefix[0], whole.prefix[i])
        assert np.array_equal(alone.unit[0], whole.unit[i])
    fewer = backbone.encode(texts[1:], 1)
    assert np.array_equal(fewer.prefix, whole.prefix[1:])


def test_a_model_of_two_layers_computes_its_tokens(backbone: Backbone, inputs: Inputs) -> None:
    spec = replace(ModelSpec(), layers=2)
    model = InterestModel(spec, backbone, inputs.space)
    initialise(model, bytes(32))
    two = Inputs(spec, Task(), inputs.catalogue, backbone)
    h, row, at = made_up(len(WORDS), Task().window_us)
    batch = two.batch(h.take(row), at)
    with torch.no_grad():
        torch.testing.assert_close(model(batch), model(batch.dense()), rtol=1e-5, atol=1e-5)
