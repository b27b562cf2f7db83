"""A promotion plan: days become shares of weeks, and what makes no sense is refused by its line."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from groundswell.shared.demand_windows import Windows
from groundswell.shared.errors import InputError
from groundswell.shared.promotions import MAX_KINDS, Promotion, parse_day, planned

FIRST = date(2026, 1, 5)
PLACES = {"COFFEE": 0, "TEA": 1}


def line(
    label: str = "TEA", begin: int = 0, days: int = 7, share: float = 0.5, kind: str = "mailer"
) -> Promotion:
    first = FIRST + timedelta(days=begin)
    return Promotion(label, first, first + timedelta(days=days - 1), share, kind)


def test_a_week_has_its_days_shares() -> None:
    found = planned(
        [line(begin=7), line("COFFEE", begin=12, days=4, share=1.0)],
        PLACES,
        Windows.weeks(FIRST, 4),
    )
    assert found is not None
    expected = [[[0, 2 / 7, 2 / 7, 0], [0, 0.5, 0, 0]]]
    np.testing.assert_allclose(found, expected)


def test_what_lies_outside_the_weeks_is_left_out() -> None:
    found = planned(
        [line(begin=-10, days=13), line(begin=25, days=90)], PLACES, Windows.weeks(FIRST, 4)
    )
    assert found is not None
    np.testing.assert_allclose(found[0, 1], [0.5 * 3 / 7, 0, 0, 0.5 * 3 / 7])
    away = planned([line(begin=-20, days=3), line(begin=100)], PLACES, Windows.weeks(FIRST, 4))
    assert away is not None
    assert not away.any()


def test_overlapping_promotions_add_up_to_at_most_one_and_kinds_stay_apart() -> None:
    plan = [line(share=0.7), line(share=0.7), line(share=0.2, kind="front")]
    found = planned(plan, PLACES, Windows.weeks(FIRST, 1))
    assert found is not None
    np.testing.assert_allclose(found[:, 1, 0], [0.2, 1.0])


def test_no_plan_is_none() -> None:
    assert planned([], PLACES, Windows.weeks(FIRST, 4)) is None


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (line("SOAP"), "line 2: label: .*no such label"),
        (line(days=0), "line 2: to: .*lies before its beginning"),
        (line(share=1.2), r"line 2: share: .*0\.\.1"),
        (line(share=-0.1), r"line 2: share: .*0\.\.1"),
        (line(share=float("nan")), r"line 2: share: .*0\.\.1"),
    ],
)
def test_a_wrong_line_is_named(wrong: Promotion, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        planned([line(), wrong], PLACES, Windows.weeks(FIRST, 4))


def test_too_many_kinds_are_refused() -> None:
    plan = [line(kind=str(number)) for number in range(MAX_KINDS + 1)]
    with pytest.raises(InputError, match="plan: kinds"):
        planned(plan, PLACES, Windows.weeks(FIRST, 4))


def test_a_day_is_written_in_one_way() -> None:
    assert parse_day("2026-01-31", "from") == date(2026, 1, 31)
    with pytest.raises(InputError, match=r"from: .*is no day"):
        parse_day("31.1.2026", "from")
