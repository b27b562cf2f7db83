"""Names, order and hash of the weights, and the loss that trains them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from groundswell.shared.errors import InputError, ModelError
from groundswell.shared.histories import MICROSECONDS_PER_DAY as DAY
from groundswell.shared.histories import Histories
from groundswell.shared.interest import frozen_a
from groundswell.shared.model import flat_trainable, forecast_loss, load_flat, trainable
from groundswell.shared.predict import Forecaster, load_model
from groundswell.shared.spec import HEADS, Head, ModelSpec
from groundswell.shared.tensors import flatten, model_hash, unflatten

Maker = Callable[..., Histories]


@pytest.fixture(scope="module")
def forecaster(model_folder: Path) -> Forecaster:
    return load_model(model_folder)


def test_the_hash_is_over_name_shape_and_little_endian_float32() -> None:
    expected = hashlib.sha256()
    for name, shape, values in (("a", [2], [1.0, 2.0]), ("b", [1, 1], [3.0])):
        expected.update(name.encode() + b"\0")
        expected.update(np.array([len(shape), *shape], dtype="<i8").tobytes())
        expected.update(np.array(values, dtype="<f4").tobytes())
    tensors = {"b": np.array([[3.0]]), "a": np.array([1, 2], dtype=">f8")}
    assert model_hash(tensors) == expected.digest()
    assert model_hash({"a": np.ones(4)}) != model_hash({"a": np.ones((2, 2))})


def test_flat_order_is_that_of_the_names_and_comes_back() -> None:
    tensors = {"b": np.array([[3.0, 4.0]], np.float32), "a": np.array([1.0], np.float32)}
    flat = flatten(tensors)
    assert flat.tolist() == [1, 3, 4]
    back = unflatten(flat, {name: value.shape for name, value in tensors.items()})
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)
    with pytest.raises(ModelError, match="3 weights"):
        unflatten(flat[:-1], {"b": (1, 2), "a": (1,)})


def test_the_flat_vector_is_small_and_loads_back(forecaster: Forecaster) -> None:
    flat = flat_trainable(forecaster.model)
    assert len(flat) <= 20_000
    moved = flat + np.arange(len(flat), dtype=np.float32) / len(flat)
    load_flat(forecaster.model, moved)
    np.testing.assert_array_equal(flat_trainable(forecaster.model), moved)
    load_flat(forecaster.model, flat)
    assert list(trainable(forecaster.model)) != []


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_every_weight_of_a_head_has_an_initial_value(head: Head) -> None:
    assert set(head.initial) == set(head.names)


def test_a_is_drawn_from_its_key_within_its_bound() -> None:
    shapes = {"x": (8, 384), "y": (8, 16)}
    drawn = frozen_a(shapes, bytes(32))
    assert np.abs(drawn["x"]).max() <= 1 / np.sqrt(384)
    assert abs(float(drawn["x"].std()) * np.sqrt(3 * 384) - 1) < 0.05
    assert np.array_equal(frozen_a(shapes, bytes(32))["y"], drawn["y"])
    assert not np.array_equal(frozen_a(shapes, bytes([1]) * 32)["y"], drawn["y"])


def test_the_loss_is_cross_entropy_plus_half_of_it_within_the_slice() -> None:
    logits = torch.tensor([[[2.0, 1.0, 0.0]]])
    targets = torch.tensor([[0.5, 0.5, 0.0]])
    unrecent = torch.tensor([[[False, True, True]]])
    whole = -0.5 * (logits[0, 0].log_softmax(0)[:2].sum())
    within = -logits[0, 0, 1:].log_softmax(0)[0]
    found = forecast_loss(logits, targets, unrecent)
    torch.testing.assert_close(found, (whole + 0.5 * within)[None])


def test_a_row_without_target_or_slice_loses_nothing_and_stays_finite() -> None:
    logits = torch.randn(1, 1, 3, requires_grad=True)
    nothing = torch.zeros(1, 3)
    loss = forecast_loss(logits, nothing, torch.zeros(1, 1, 3, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(loss.sum(), [logits])
    assert loss.item() == 0
    assert not gradient.any()


def test_switched_off_text_needs_no_adapter_weights(
    forecaster: Forecaster, make_histories: Maker
) -> None:
    spec = ModelSpec(bert=False)
    model = type(forecaster.model)(spec, forecaster.backbone, forecaster.inputs.space)
    assert set(trainable(model)) == {"head.weight", "head.bias"}
    batch = forecaster.inputs.batch(make_histories([[(1, 0)]]), np.array([2 * DAY]))
    with torch.no_grad():
        assert torch.isfinite(model(batch)).all()


def test_a_specification_comes_back_and_refuses_unknown_keys() -> None:
    spec = ModelSpec(rank=4, bert=False)
    assert ModelSpec.from_dict(spec.to_dict()) == spec
    with pytest.raises(InputError, match="ranks"):
        ModelSpec.from_dict({"ranks": 4})
