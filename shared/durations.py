"""Lengths of time as people write them: ``7d``, ``12h``, ``30m``, ``45s``, ``0``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_PART = re.compile(r"(\d+)\s*([wdhms])")
_WHOLE = re.compile(r"(\d+\s*[wdhms]\s*)+")


def parse_duration(value: object) -> timedelta:
    """``"1d12h"`` as a timedelta; 0 is allowed without a unit. Raises ValueError for others."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    if text == "0":
        return timedelta(0)
    if isinstance(value, bool) or not _WHOLE.fullmatch(text):
        raise ValueError("a length of time is a number with w, d, h, m or s, such as 7d or 12h")
    parts = _PART.findall(text)
    try:
        return sum((timedelta(**{_UNITS[unit]: int(count)}) for count, unit in parts), timedelta(0))
    except OverflowError as error:
        raise ValueError("the length of time is too long") from error


def format_duration(value: timedelta) -> str:
    """The inverse of ``parse_duration``; whole seconds, largest units first, days before weeks."""
    seconds = value.days * 86_400 + value.seconds
    if value.microseconds or seconds < 0:
        raise ValueError(f"{value!r} is not a whole, positive number of seconds")
    text = ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        text += f"{count}{unit}" if count else ""
    return text or "0"


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
