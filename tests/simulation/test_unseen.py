"""Labels held out of training: what each variant knows of them, and what it can't know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from groundswell.shared.config_file import load_config
from groundswell.simulation import audit_data
from groundswell.simulation.evaluate import UNSEEN_LABELS
from groundswell.simulation.models import (
    NO_BERT,
    NO_GROUPS,
    NO_WORDS,
    PRIVATE,
    unseen_variants,
)
from groundswell.simulation.setting import Setting
from groundswell.simulation.unseen import measure_unseen, without_labels


@pytest.fixture(scope="module")
def setting() -> Setting:
    config = load_config(None, {"train.rounds": 1, "train.evaluations": 0}).config
    built = Setting.build(config, audit_data.invent(4, 12, np.random.default_rng(0)), 0)
    # Of so few labels every seventh is two, and Recall@5 of two is no matter of order.
    return replace(built, measured=replace(built.measured, held_out=np.arange(2, 10)))


def regrouped(setting: Setting) -> Setting:
    """The same data, the catalogue's labels in two groups that say nothing of them."""
    catalogue = setting.dataset.catalogue
    groups = tuple("ab"[number % 2] for number in range(len(catalogue)))
    other = replace(catalogue, groups=groups)
    return replace(setting, dataset=replace(setting.dataset, catalogue=other))


def figures(setting: Setting, name: str) -> list[float]:
    variant = next(v for v in unseen_variants(setting.config) if v.name == name)
    found = measure_unseen(setting, variant, 0, lambda run: "0" * 32)
    return [float(x) for x in found.slices[UNSEEN_LABELS].sums["recall@5"]]


def test_held_out_labels_are_gone_from_catalogue_and_events(setting: Setting) -> None:
    held_out = setting.measured.held_out
    whole = setting.dataset.catalogue
    gone = {whole.labels[i] for i in held_out}
    smaller = without_labels(setting.dataset, whole, held_out)
    assert gone
    assert gone.isdisjoint(smaller.catalogue.labels)
    for events in smaller.sites.values():
        assert gone.isdisjoint(events["label"].to_list())


@pytest.mark.parametrize("name", [NO_GROUPS, NO_WORDS])
def test_without_groups_no_label_is_ranked_by_one(setting: Setting, name: str) -> None:
    assert figures(setting, name) == figures(regrouped(setting), name)


def test_without_bert_a_group_still_ranks(setting: Setting) -> None:
    assert figures(setting, NO_BERT) != figures(regrouped(setting), NO_BERT)


def test_the_saved_model_is_the_first_of_those_measured(setting: Setting) -> None:
    assert [v.name for v in unseen_variants(setting.config)] == [
        PRIVATE,
        NO_BERT,
        NO_GROUPS,
        NO_WORDS,
    ]
