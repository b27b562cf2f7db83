"""The times that a site's own questions may ask about."""

from __future__ import annotations

from datetime import UTC, datetime

from groundswell.shared.errors import InputError
from groundswell.shared.promotions import LAST_YEAR

# 0 stands for "just after the site's last event" on the wire: a time of its year can't be told
# from none.
FIRST_YEAR = 1971
_FIRST = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC).timestamp() * 1e6
_END = datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC).timestamp() * 1e6


def check_time(at: int, key: str = "at", written: object = None) -> int:
    """The same time, microseconds.

    Args:
        key, written: what it is called, and how it was written, in an error.

    Raises:
        InputError: it lies outside the years that are answered for.
    """
    if not _FIRST <= at < _END:
        raise InputError(
            key,
            at if written is None else written,
            f"must lie in the years {FIRST_YEAR}..{LAST_YEAR}",
            "name another time, or none for just after the last event",
        )
    return at
