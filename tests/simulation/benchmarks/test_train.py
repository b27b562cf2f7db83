"""The train benchmark: the peer's gradients are ours where it trains the same, else it is void."""

from __future__ import annotations

import copy
from typing import Protocol

import numpy as np
import pytest
import torch

from groundswell.shared.backbone import load_backbone
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.histories import Histories
from groundswell.shared.model import InterestModel
from groundswell.shared.task import EvaluationTimes, Task
from groundswell.simulation.benchmarks import train
from groundswell.simulation.benchmarks.train import TrainData, run
from groundswell.simulation.benchmarks.train_peer import peer_name, stock_model


class Small(Protocol):
    """The small data set of the tests of simulation."""

    histories: Histories
    catalogue: Catalogue
    task: Task
    times: EvaluationTimes


@pytest.fixture(scope="module")
def data(small: Small) -> TrainData:
    times = small.times
    return TrainData(
        small.histories, (), small.task, small.catalogue, times.train, times.validation[:1]
    )


def _bench(data: TrainData) -> train.Bench:
    work = train.draw_work(data, 8, np.random.default_rng(0), data.train[-1:])
    return train.Bench(data, load_backbone(), {}, work, 0)


def test_both_sides_give_the_same_gradients_and_every_case_has_its_figures(
    data: TrainData,
) -> None:
    found = run(8, 1, 1, data=data)
    assert found["equal"] is True
    assert found["ratio"] == found["ours"] / found["peer"]
    variants = [case["variant"] for case in found["cases"]]
    assert variants == ["top 1", "top 2", "all 6 layers, hooks", "all 6 layers, ghost"]
    differences = [case["gradient_difference"] for case in found["cases"]]
    assert max(differences[:2]) <= 1e-5
    assert differences[2:] == [None, None]
    assert all(0 < case["ndcg@10"] <= 1 for case in found["cases"][:3])
    assert found["cases"][3]["ndcg@10"] is None


def test_the_figure_is_void_where_the_gradients_differ(
    data: TrainData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(ours: InterestModel, *args: object, **options: bool) -> InterestModel:
        model = stock_model(ours, load_backbone(), ours.spec.layers, **options)
        with torch.no_grad():
            model.head.bias.add_(0.1)
        return model

    bench = _bench(data)
    assert bench.difference(1) <= train.TOLERANCE
    monkeypatch.setattr(train, "stock_model", other)
    assert bench.difference(1) > train.TOLERANCE


def test_the_peer_trains_a_and_b_of_every_layer(data: TrainData) -> None:
    bench = _bench(data)
    model, _ = bench._model(1)
    stock = stock_model(copy.deepcopy(model), load_backbone(), 6)
    trained = {name for name, p in stock.named_parameters() if p.requires_grad}
    # Query and value, A and B, of six layers, and the head's two.
    assert len(trained) == 2 * 2 * 6 + 2
    own = dict(model.named_parameters())
    theirs = dict(stock.named_parameters())
    name = "encoder.layers.0.attention.self.value.lora_B.default.weight"
    assert torch.equal(own[name], theirs[peer_name(name, 1, 6)])
