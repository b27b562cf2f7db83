"""What the model reads of a history: nothing older than the task's ``history``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
import torch

from groundswell.shared.backbone import Backbone, load_backbone
from groundswell.shared.batches import Batch, Inputs
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.histories import MICROSECONDS_PER_DAY as DAY
from groundswell.shared.histories import Histories
from groundswell.shared.spec import ModelSpec
from groundswell.shared.statistics import STATISTICS
from groundswell.shared.task import Task

Maker = Callable[..., Histories]
OLD, NEW = [(5.0, 1), (12.0, 1)], [(70.0, 2), (95.0, 1)]
AT = np.array([100 * DAY])


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone()


def batch(h: Histories, shop: Catalogue, backbone: Backbone, days: int) -> Batch:
    task = Task(history=timedelta(days=days))
    return Inputs(ModelSpec(), task, shop, backbone).batch(h, AT, both_views=True)


def same(one: Batch, other: Batch) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in (
            (one.scores, other.scores),
            (one.facts, other.facts),
            (one.unrecent, other.unrecent),
            (one.dense().tokens, other.dense().tokens),
        )
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)
    )


def test_events_older_than_the_history_are_not_seen(
    make_histories: Maker, shop: Catalogue, backbone: Backbone
) -> None:
    whole, recent = make_histories([OLD + NEW]), make_histories([NEW])
    assert same(batch(whole, shop, backbone, 60), batch(recent, shop, backbone, 60))


def test_a_longer_history_sees_them(
    make_histories: Maker, shop: Catalogue, backbone: Backbone
) -> None:
    whole, recent = make_histories([OLD + NEW]), make_histories([NEW])
    assert not same(batch(whole, shop, backbone, 180), batch(recent, shop, backbone, 180))


def test_repeat_rates_see_no_older_basket_either(make_histories: Maker, shop: Catalogue) -> None:
    """Label 1 was bought before the window; a short history has forgotten it by then."""
    h = make_histories([[(5.0, 1), (70.0, 2), (71.0, 1)]])
    windows = np.array([70 * DAY + DAY // 2])
    found = {}
    for days in (30, 180):
        task = Task(history=timedelta(days=days))
        vector = STATISTICS["h5"].user_vectors(h, windows, task, shop, {})[0]
        found[days] = vector.reshape(-1, len(shop.labels))[:, 1]
    assert found[30][0] > 0
    assert found[180][0] == 0
    assert found[180][1] > 0
