"""Public texts: what an occasion and a season are about rises with them, and only then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import pytest
from numpy.typing import NDArray

from groundswell.shared.backbone import load_backbone
from groundswell.shared.demand_themes import phrases, themes
from groundswell.shared.demand_windows import Windows
from groundswell.shared.task import Occasion

LABELS = ("TURKEY", "MOTOR OIL", "ICE CREAM", "COLD AND FLU", "SHAMPOO", "BATTERIES")
FIRST = date(2017, 1, 2)
THANKSGIVING = Occasion(date=date(2017, 11, 23), name="Thanksgiving: turkey", category="feast")
WEEK = (THANKSGIVING.date - FIRST).days // 7


@pytest.fixture(scope="module")
def found() -> NDArray[np.float64]:
    backbone = load_backbone()
    of_labels = backbone.encode(LABELS, 1).unit

    def likeness(texts: Sequence[str]) -> NDArray[np.float32]:
        cosines: NDArray[np.float32] = backbone.encode(texts, 1).unit @ of_labels.T
        return cosines

    other_category = THANKSGIVING.model_copy(update={"category": "sweets"})
    return themes((THANKSGIVING, other_category), Windows.weeks(FIRST, 52), likeness)


def test_an_occasion_moves_what_it_is_about_in_its_week_alone(found: NDArray[np.float64]) -> None:
    occasions = found[0]
    assert occasions[:, WEEK].argmax() == LABELS.index("TURKEY")
    assert occasions[:, WEEK].argmin() != LABELS.index("TURKEY")
    away = np.delete(occasions, [WEEK - 1, WEEK], axis=1)
    np.testing.assert_array_equal(away, 0)


def test_an_occasion_of_two_categories_counts_once(found: NDArray[np.float64]) -> None:
    # A run-up of seven days sums to 1, and likeness has mean 0 and spread 1 over labels.
    whole = found[0].sum(axis=1)
    assert whole.mean() == pytest.approx(0, abs=1e-6)
    assert whole.std() == pytest.approx(1, abs=1e-6)


def test_seasons_turn(found: NDArray[np.float64]) -> None:
    seasons = found[1]
    ice, flu = (seasons[LABELS.index(label)] for label in ("ICE CREAM", "COLD AND FLU"))
    july, january = 28, 2
    assert ice[july] > ice[january]
    assert flu[january] > flu[july]


def test_without_occasions_only_seasons_are_told() -> None:
    even = themes((), Windows.weeks(FIRST, 10), lambda texts: np.ones((len(texts), 3)))
    np.testing.assert_array_equal(even, np.zeros((2, 3, 10)))


def test_a_name_is_compared_by_its_parts() -> None:
    assert phrases("Easter: eggs, ham; lamb") == ("Easter", "eggs", "ham", "lamb")
    assert phrases("Halloween") == ("Halloween",)
    assert phrases(":") == (":",)
