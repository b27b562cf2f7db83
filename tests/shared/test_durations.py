"""Lengths of time read and write back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundswell.shared.durations import format_duration, parse_duration


@given(st.integers(0, 10**8))
def test_whole_seconds_read_back(seconds: int) -> None:
    value = timedelta(seconds=seconds)
    assert parse_duration(format_duration(value)) == value


def test_units_add_up() -> None:
    assert parse_duration("1w 2d12h") == timedelta(days=9, hours=12)


@pytest.mark.parametrize("text", ["", "7", "d", "7x", "-7d", "7d!", True, None])
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a length of time"):
        parse_duration(text)
