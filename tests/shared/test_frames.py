"""A caller's table becomes canonical events: rows of nobody never become somebody's."""

from __future__ import annotations

import pytest

from groundswell.shared.errors import InputError
from groundswell.shared.frames import events_frame


def rows(*users: str | None) -> list[dict[str, object]]:
    return [{"user": user, "time": "2025-06-01", "label": "tea"} for user in users]


def test_rows_without_a_user_are_left_out_and_counted() -> None:
    with pytest.warns(UserWarning, match="2 of 3 rows have no user"):
        frame = events_frame(rows("ann", None, " "), {})
    assert frame["user"].to_list() == ["ann"]


def test_a_table_of_nobody_is_refused() -> None:
    with pytest.raises(InputError, match="no row has a user"):
        events_frame(rows(None, ""), {})
