"""Per-user gradients on the real model: right, independent of company, and of nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from groundswell.client.gradients import (
    ClipRule,
    PerUserGradients,
    check_independence,
    made_up,
    self_check,
)
from groundswell.client.mechanism import clip_and_round, rounding_keys
from groundswell.shared import interest
from groundswell.shared.backbone import Backbone, load_backbone
from groundswell.shared.batches import Inputs
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import ModelError
from groundswell.shared.histories import Histories
from groundswell.shared.model import InterestModel, forecast_loss, initialise
from groundswell.shared.scaling import scale
from groundswell.shared.spec import ModelSpec
from groundswell.shared.task import Task

DEFAULT_SPEC = ModelSpec()
WORDS = ("milk", "bread", "beer", "soap", "apples", "batteries", "coffee", "nappies", "tea", "rice")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone()


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    table = pl.DataFrame({"label": WORDS, "text": [f"{word} from the shop" for word in WORDS]})
    return Catalogue.from_table(table, name="words", label="label", text=("text",))


def build(
    backbone: Backbone,
    catalogue: Catalogue,
    users_at_once: int = 64,
    spec: ModelSpec = DEFAULT_SPEC,
) -> PerUserGradients:
    """A model, its adapter moved off zero so that every part has a gradient."""
    inputs = Inputs(spec, Task(), catalogue, backbone)
    model = InterestModel(spec, backbone, inputs.space)
    initialise(model, bytes(32))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.05, generator=generator)
    return PerUserGradients(model, inputs, users_at_once)


def some_users(catalogue: Catalogue) -> tuple[Histories, NDArray[np.int64], NDArray[np.int64]]:
    return made_up(len(catalogue), Task().window_us)


def test_folded_gradients_equal_a_loop_over_users_in_single_precision(
    backbone: Backbone, catalogue: Catalogue
) -> None:
    for users_at_once in (64, 2):
        gradients = build(backbone, catalogue, users_at_once)
        assert self_check(gradients, *some_users(catalogue)) < 1e-5


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(layers=2),
        ModelSpec(frozen_a=False),
        ModelSpec(layers=2, frozen_a=False),
        ModelSpec(prompt="lately: {events}"),
    ],
    ids=["top-2", "trained-a", "top-2-trained-a", "prompt"],
)
def test_folded_gradients_equal_a_loop_over_users_for_every_kind_of_adapter(
    backbone: Backbone, catalogue: Catalogue, spec: ModelSpec
) -> None:
    gradients = build(backbone, catalogue, 64, spec)
    assert self_check(gradients, *some_users(catalogue)) < 1e-5
    gradients.close()


def test_folded_gradients_equal_a_loop_over_users_in_double_precision(
    backbone: Backbone, catalogue: Catalogue
) -> None:
    for users_at_once in (64, 2):
        gradients = build(backbone, catalogue, users_at_once)
        gradients.model.double()
        assert self_check(gradients, *some_users(catalogue)) < 1e-10


def test_a_user_with_two_examples_counts_with_their_mean(
    backbone: Backbone, catalogue: Catalogue
) -> None:
    gradients = build(backbone, catalogue)
    gradients.model.double()
    h, row, at = some_users(catalogue)
    both = dict(zip(*_joined(gradients, h, row, at), strict=True))
    last = np.flatnonzero(row == 4)
    each = [_joined(gradients, h, row[[i]], at[[i]])[1][0] for i in last]
    np.testing.assert_allclose(both[4], np.mean(each, axis=0), rtol=1e-9, atol=1e-12)


def test_chunk_size_changes_no_bit_of_the_integer_sum(
    backbone: Backbone, catalogue: Catalogue
) -> None:
    h, row, at = some_users(catalogue)
    sums = [_integer_sum(build(backbone, catalogue, size), h, row, at) for size in (64, 3, 1)]
    assert np.abs(sums[0]).sum() > 0
    assert np.array_equal(sums[0], sums[1])
    assert np.array_equal(sums[0], sums[2])


def test_removing_a_user_takes_away_exactly_that_users_vector(
    backbone: Backbone, catalogue: Catalogue
) -> None:
    h, row, at = some_users(catalogue)
    gradients = build(backbone, catalogue)
    whole = _integer_sum(gradients, h, row, at)
    for user in range(len(h)):
        others = np.flatnonzero(row != user)
        without = _integer_sum(gradients, h, row[others], at[others])
        own = np.flatnonzero(row == user)
        alone = _integer_sum(gradients, h, row[own], at[own])
        assert np.array_equal(whole - without, alone)
        assert int(np.dot(alone, alone)) <= _rule(gradients).scale ** 2


@pytest.mark.parametrize("largest", [65_536, len(WORDS) + 2], ids=["kept", "in each pass"])
def test_what_other_users_typed_changes_no_bit_of_a_gradient(
    backbone: Backbone, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    """A handful of texts takes other kernels than many; a user must not tell how many there are."""
    monkeypatch.setattr(interest, "LARGEST_TABLE", largest)
    h, row, at = some_users(catalogue)
    typed = np.arange(len(h.token)) % 6 == 1
    h = replace(h, token=np.where(typed, len(catalogue), h.token).astype(np.int32))
    known = None
    for others in (0, 1, 4, 13, 40):
        gradients = build(backbone, catalogue)
        texts = ["a gift for grandma", *(f"what user {n} typed" for n in range(others))]
        gradients.inputs = gradients.inputs.with_texts(texts)
        (found,) = [vectors for _, vectors in gradients.vectors(h, row, at)]
        known = found if known is None else known
        assert np.array_equal(found, known), f"{others} other texts"
    without, _, _ = some_users(catalogue)
    (plain,) = [vectors for _, vectors in build(backbone, catalogue).vectors(without, row, at)]
    assert known is not None
    assert not np.array_equal(plain, known)


def test_the_bound_on_one_user_catches_mutants_of_the_real_path(
    backbone: Backbone, catalogue: Catalogue
) -> None:
    """Four times the clip norm at the old scale, and every example clipped on its own."""
    h, row, at = some_users(catalogue)
    gradients = build(backbone, catalogue)
    rule = _rule(gradients)
    own = np.flatnonzero(row == len(h) - 1)
    assert len(own) == 2
    keys = rounding_keys(bytes(32), h.users)
    wider = ClipRule(rule.clip_norm, 4 * rule.scale, rule.max_nonzero)
    four_times = gradients.integer_sum(h, row[own], at[own], keys, wider)
    apart = h.take(row[own])
    each = gradients.integer_sum(apart, np.arange(2), at[own], keys[:2], rule)
    right = gradients.integer_sum(h, row[own], at[own], keys, rule)
    for found, bounded in ((right, True), (four_times, False), (each, False)):
        assert (int(np.dot(found, found)) <= rule.scale**2) is bounded


def test_a_pass_that_breaks_off_leaves_nothing_to_the_next(
    monkeypatch: pytest.MonkeyPatch, backbone: Backbone, catalogue: Catalogue
) -> None:
    """Opacus counts forward passes: one without its backward pass would spoil all that follow."""
    gradients = build(backbone, catalogue)
    h, row, at = some_users(catalogue)
    expected = [vectors.copy() for _, vectors in gradients.vectors(h, row, at)]

    def fail(*_: object) -> torch.Tensor:
        raise MemoryError

    for place in ("forecast_loss", "_grad_sample"):
        with monkeypatch.context() as patch:
            patch.setattr(f"groundswell.client.gradients.{place}", fail)
            with pytest.raises(MemoryError):
                list(gradients.vectors(h, row, at))
        found = [vectors for _, vectors in gradients.vectors(h, row, at)]
        assert all(map(np.array_equal, expected, found))


def test_filling_the_slots_changes_no_bit_of_the_integer_sum(
    backbone: Backbone, catalogue: Catalogue
) -> None:
    h, row, at = some_users(catalogue)
    gradients = build(backbone, catalogue, 4)
    keys = rounding_keys(bytes(32), h.users)
    rule = _rule(gradients)
    plain = gradients.integer_sum(h, row, at, keys, rule)
    filled = gradients.integer_sum(h, row, at, keys, rule, slots=11)
    assert np.array_equal(plain, filled)


def test_the_slots_fix_the_number_of_users_that_are_worked_on(
    backbone: Backbone, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    h, row, at = some_users(catalogue)
    gradients = build(backbone, catalogue, 4)
    worked: list[int] = []
    real = gradients._backward

    def counted(
        h: Histories,
        row: NDArray[np.int64],
        at: NDArray[np.int64],
        share: NDArray[np.float64],
    ) -> None:
        worked.append(round(float(share.sum())))
        real(h, row, at, share)

    monkeypatch.setattr(gradients, "_backward", counted)
    keys = rounding_keys(bytes(32), h.users)
    totals: list[int] = []
    for kept in (row >= 0, row < 2, row < 0):
        worked.clear()
        gradients.integer_sum(h, row[kept], at[kept], keys, _rule(gradients), slots=9)
        totals.append(sum(worked))
    assert totals == [9, 9, 9]


def test_a_gradient_that_depends_on_company_is_found(
    backbone: Backbone, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients = build(backbone, catalogue)

    def mixed(logits: torch.Tensor, targets: torch.Tensor, unrecent: torch.Tensor) -> torch.Tensor:
        centred = logits - logits.mean(dim=0, keepdim=True)
        return forecast_loss(centred, targets, unrecent)

    monkeypatch.setattr("groundswell.client.gradients.forecast_loss", mixed)
    with pytest.raises(ModelError, match="depends on who else"):
        check_independence(gradients, *some_users(catalogue))


def test_a_hook_that_loses_part_of_a_gradient_is_found_before_the_first_round(
    backbone: Backbone, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with loss_reduction "mean", where everything is multiplied by the length of the pass."""
    gradients = build(backbone, catalogue)
    real = gradients._fold

    def scaled(owner: torch.Tensor, users: int) -> None:
        real(owner, users)
        for parameter in gradients.parameters.values():
            sample = vars(parameter)["grad_sample"]
            vars(parameter)["grad_sample"] = sample * 16

    monkeypatch.setattr(gradients, "_fold", scaled)
    with pytest.raises(ModelError, match="refusing to go on"):
        self_check(gradients, *some_users(catalogue))


def test_only_adapter_and_head_have_gradients(backbone: Backbone, catalogue: Catalogue) -> None:
    gradients = build(backbone, catalogue)
    names = set(gradients.parameters)
    assert all(".lora_B." in name or name.startswith("head.") for name in names)
    assert any(".lora_B." in name for name in names)
    assert sum(p.numel() for p in gradients.parameters.values()) <= 20_000


def _rule(gradients: PerUserGradients) -> ClipRule:
    dimension = sum(p.numel() for p in gradients.parameters.values())
    return ClipRule(0.1, scale(2.0, dimension), dimension)


def _integer_sum(
    gradients: PerUserGradients,
    h: Histories,
    row: NDArray[np.int64],
    at: NDArray[np.int64],
) -> NDArray[np.int64]:
    keys = rounding_keys(bytes(32), h.users)
    return gradients.integer_sum(h, row, at, keys, _rule(gradients))


def _joined(
    gradients: PerUserGradients,
    h: Histories,
    row: NDArray[np.int64],
    at: NDArray[np.int64],
) -> tuple[list[int], list[NDArray[np.floating]]]:
    users: list[int] = []
    vectors: list[NDArray[np.floating]] = []
    for found, values in gradients.vectors(h, row, at):
        users += found.tolist()
        vectors += list(values)
    return users, vectors


def test_the_optimiser_adds_what_clip_and_round_gives(
    backbone: Backbone, catalogue: Catalogue
) -> None:
    h, row, at = some_users(catalogue)
    gradients = build(backbone, catalogue)
    rule = _rule(gradients)
    users, vectors = _joined(gradients, h, row, at)
    keys = rounding_keys(bytes(32), [h.users[user] for user in users])
    expected = clip_and_round(
        np.stack(vectors).astype(np.float64), rule.clip_norm, rule.scale, rule.max_nonzero, keys
    )
    assert np.array_equal(_integer_sum(gradients, h, row, at), expected.sum(axis=0))
