"""What a search is about: its words alone decide, and only where they come near enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.shared.histories import Histories
from groundswell.shared.searched import NEAR, nearest_labels, with_labels_of_texts

Maker = Callable[..., Histories]


def units(count: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    drawn = np.random.default_rng(seed).normal(size=(count, 48)).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


def test_words_count_for_the_nearest_label_or_for_none() -> None:
    labels = units(7, 1)
    near, far = labels[3] + 0.05 * units(1, 2)[0], -labels.sum(axis=0)
    texts = np.stack([each / np.linalg.norm(each) for each in (near, far)]).astype(np.float32)
    assert nearest_labels(texts, labels).tolist() == [3, -1]
    turned = np.linalg.qr(np.stack([labels[3], texts[1]], axis=1))[0].T
    for cosine, found in ((NEAR + 0.01, 3), (NEAR - 0.01, -1)):
        one = cosine * labels[3] + np.sqrt(1 - cosine**2) * turned[1]
        others = labels[3:4]
        expected = 0 if found == 3 else -1
        assert nearest_labels(one[None].astype(np.float32), others).tolist() == [expected]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**31), st.integers(0, 59))
def test_a_text_has_the_same_label_in_any_company(count: int, seed: int, which: int) -> None:
    """Exact sums: not one bit, so not one label, hangs on what is computed beside it."""
    texts, labels = units(count, seed), units(9, 5)
    alone = which % count
    assert nearest_labels(texts, labels)[alone] == nearest_labels(texts[alone][None], labels)[0]


def test_events_with_a_label_keep_it_and_what_weighs_nothing_goes_on_weighing_nothing(
    make_histories: Maker,
) -> None:
    h = make_histories([[(0.0, 2), (1.0, 4), (2.0, 0), (3.0, 1)]])
    unlabelled = replace(
        h,
        label=np.array([2, -1, -1, -1], np.int32),
        token=np.array([2, 6, 5, -1], np.int32),
        weight=np.array([1, 0, 0, 0], np.float32),
    )
    found = with_labels_of_texts(unlabelled, np.array([3, -1], np.int32), 5)
    assert found.label.tolist() == [2, -1, 3, -1]
    assert found.weight.tolist() == [1, 0, 0, 0]
    assert unlabelled.label.tolist() == [2, -1, -1, -1]
