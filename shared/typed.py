"""A history as people type it: ``searched smartwatch; viewed fitness band 3 days ago``.

One clause an event, oldest first, in English or Chinese; a clause without a verb is a search. A
clause may say when; those that don't lie an hour apart and end just before now.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import Field

from groundswell.shared.errors import InputError
from groundswell.shared.questions import Answer, Event, Question, Version

MAX_CLAUSES = 50
MAX_TYPED = 5_000  # characters
_CLAUSE = re.compile(r"[;；\n。]+")
_VERBS: tuple[tuple[str, str], ...] = (
    ("purchase", r"(?:re-?)?(?:bought|purchased|ordered)(?:\s+|$)|(?:购买|又买|买|下单)(?:了|过)?"),
    ("cart", r"added(?:\s+to\s+(?:the\s+)?cart)?:?(?:\s+|$)|(?:加入购物车|加购)(?:了|过)?[:：]?"),
    ("view", r"(?:viewed|looked\s+at|browsed|saw)(?:\s+|$)|(?:浏览|查看|看)(?:了|过)?"),
    ("search", r"(?:searched(?:\s+for)?|looked\s+for)(?:\s+|$)|(?:搜索|搜)(?:了|过)?"),
)
_UNITS = {
    "hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 30.0,
    "小时": 1 / 24, "天": 1.0, "周": 7.0, "个星期": 7.0, "个月": 30.0,
}  # fmt: skip
# A number is read where it stands whole: after a space or comma, or, in Chinese, after a word. What
# is left of 1.5 or 10^6 or 十三 is none.
_APART = r"(?:^|\s+|(?<!\d)[,，]\s*"
_NUMBER = r"(\d{1,4}|an?|one|two|three)\s*(hour|day|week|month)s?\s+"
_NUMBER_ZH = r"(\d{1,4}|(?<![一二三四五六七八九十百千万两零几])[一两三])\s*(小时|天|周|个星期|个月)"
_AGO = re.compile(
    rf"(?:{_APART}){_NUMBER}ago|{_APART}|(?<=[^\W\d_])){_NUMBER_ZH}(?:之前|以前|前))\s*$",
    re.IGNORECASE,
)
_AHEAD = re.compile(
    rf"(?:{_APART}){_NUMBER}from\s+now|{_APART})(?:tomorrow|next\s+(?:week|month))"
    rf"|{_APART}|(?<=[^\W\d_]))(?:{_NUMBER_ZH}(?:之后|以后|后)|明天|后天|下周|下个?(?:星期|月)))\s*$"
    rf"|^(?:明天|后天|下周|下个?(?:星期|月)|{_NUMBER_ZH}(?:之后|以后|后))",
    re.IGNORECASE,
)
_WORDS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "一": 1, "两": 2, "三": 3}
_NAMED = (
    (re.compile(r"[,，]?\s*(?:today|今天)\s*$", re.IGNORECASE), 0.0),
    (re.compile(r"[,，]?\s*(?:yesterday|昨天)\s*$", re.IGNORECASE), 1.0),
    (re.compile(r"[,，]?\s*(?:last\s+week|上周|上个?星期)\s*$", re.IGNORECASE), 7.0),
    (re.compile(r"[,，]?\s*(?:last\s+month|上个?月)\s*$", re.IGNORECASE), 30.0),
)
_LEADING = re.compile(
    r"^(?:(今天|昨天|上周|上个?星期|上个?月)|((?:\d{1,4}|[一两三])\s*(?:小时|天|周|个星期|个月)"
    r"(?:之前|以前|前)))[,，]?\s*"
)


class TypedRequest(Question):
    """A history as people type it: ``searched smartwatch; viewed fitness band 3 days ago``."""

    text: str = Field(max_length=MAX_TYPED)
    model: Version | None = None


class TypedEvent(Answer):
    """One event of a typed history, and the label that its words come nearest to.

    Attributes:
        label: null where no label is near.
        similarity: cosine of the nearest label's text with the words.
    """

    time: datetime
    action: str
    text: str
    label: str | None
    similarity: float


class TypedAnswer(Answer):
    """What a typed history was understood as, in the order typed; ``now`` is the gateway's.

    Attributes:
        unread: texts in a script that the model's vocabulary mostly does not know; what they are
            near to is chance, and a multilingual backbone would read them.
    """

    now: datetime
    events: tuple[TypedEvent, ...]
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Clause:
    action: str
    words: str
    days: float | None


def typed_history(text: str, now: datetime) -> tuple[Event, ...]:
    """The events of a typed history, in the order typed.

    Args:
        now: with a time zone.

    Raises:
        InputError: the text is too long, or a clause names nothing or the future.
    """
    if len(text) > MAX_TYPED:
        raise InputError("text", len(text), f"at most {MAX_TYPED} characters", "type less")
    clauses = [part.strip() for part in _CLAUSE.split(text) if part.strip()]
    if len(clauses) > MAX_CLAUSES:
        raise InputError("text", len(clauses), f"at most {MAX_CLAUSES} clauses", "type less")
    read = [_clause(clause) for clause in clauses]
    moment = now - timedelta(hours=len(read))
    events = []
    for clause in read:
        moment += timedelta(hours=1)
        time = moment if clause.days is None else now - timedelta(days=clause.days)
        time = min(time, now - timedelta(minutes=1))
        events.append(Event(time=time, action=clause.action, text=clause.words))
    return tuple(events)


def _clause(text: str) -> _Clause:
    if _AHEAD.search(text):
        raise InputError(
            "text", text[:60], "the clause lies in the future", "type what was done, and when"
        )
    rest, days = _when(text)
    action = "search"
    for name, pattern in _VERBS:
        found = re.match(pattern, rest, re.IGNORECASE)
        if found:
            action, rest = name, rest[found.end() :]
            break
    words = rest.strip(" \t\"'“”‘’,，.、")
    if not words:
        raise InputError(
            "text", text[:60], "the clause names nothing", 'type such as "viewed fitness band"'
        )
    return _Clause(action, words, days)


def _when(text: str) -> tuple[str, float | None]:
    """The clause without what says when, and how many days ago that is."""
    leading = _LEADING.match(text)
    if leading:
        said = leading.group(1) or leading.group(2)
        return text[leading.end() :], _trailing(said)[1]
    return _trailing(text)


def _trailing(text: str) -> tuple[str, float | None]:
    ago = _AGO.search(text)
    if ago:
        count = (ago.group(1) or ago.group(3)).lower()
        unit = (ago.group(2) or ago.group(4)).lower()
        days = (_WORDS[count] if count in _WORDS else int(count)) * _UNITS[unit]
        return text[: ago.start()], min(days, 3650.0)
    for pattern, days in _NAMED:
        named = pattern.search(text)
        if named:
            return text[: named.start()], days
    return text, None
