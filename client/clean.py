"""Clean: what can't be an event, or should not count as one, is set aside with a reason.

Row rules look at one row, history rules at one user's own rows up to the row at hand. All bounds
are constants of the configuration, so no rule mixes users and none looks ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from groundswell.client.runs import run_starts, running_count
from groundswell.client.sources.mapping import RAW_TIME, RAW_VALUE
from groundswell.shared.config_data import Data
from groundswell.shared.errors import InputError
from groundswell.shared.events import COLUMNS

REASON = "reason"
SCRUBBED = "scrubbed"
USER_CODE = "user_code"

# Each reason in the operator's words.
REASONS: Mapping[str, str] = {
    "missing_user": "no user",
    "missing_action": "no action",
    "missing_time": "no time",
    "unreadable_time": "a time that can't be read, or that the clock skips",
    "impossible_time": "a time before [data].earliest or after [data].latest",
    "unreadable_value": "a value that is no number",
    "refund": "a negative value: a refund or a correction",
    "nothing_named": "no item, no label and no text left to learn from",
    "duplicate": "the same event again",
    "bot": "more events than a person makes, from that event on",
}
# Actions whose negative value says what the action already says.
TAKEN_BACK = ("return", "refund", "cancel")

_EMAIL = r"[\p{L}\p{N}._%+'-]+\s?(?:@|\(at\)|\[at\])\s?[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+"
# Eight digits or more, single marks between them; or a local number such as 555-1234.
_PHONE = r"\+?\(?\d(?:[ ().\-/]{0,2}\d){7,}|\b\d{3}[-.]\d{4}\b"


@dataclass(frozen=True)
class CleanRules:
    """The constants that ``clean`` works with.

    Attributes:
        earliest: an event before this moment has a wrong time.
        latest: likewise an event after it.
        bot_events_per_day: most events of a user on one UTC day.
        bot_instants_per_minute: most different times of a user within one minute.
    """

    earliest: datetime
    latest: datetime
    bot_events_per_day: int
    bot_instants_per_minute: int

    @classmethod
    def of(cls, data: Data, now: datetime) -> CleanRules:
        """The rules of ``[data]``; without ``latest``, nothing may lie after ``now``."""
        latest = now
        if data.latest is not None:
            latest = _day(data.latest, "[data].latest") + timedelta(days=1)
        return cls(
            _day(data.earliest, "[data].earliest"),
            latest,
            data.bot_events_per_day,
            data.bot_instants_per_minute,
        )


def _day(text: str, key: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InputError(key, text, "not a day", "write it as 2026-01-31") from error
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def clean_rows(mapped: pl.LazyFrame, rules: CleanRules) -> pl.LazyFrame:
    """Scrub texts and give each row that must go a ``reason``; the others have null there.

    ``scrubbed`` tells whether an e-mail address or a phone number was taken out of the text.
    """
    return scrub(mapped).with_columns(
        pl.when(pl.col("user").is_null())
        .then(pl.lit("missing_user"))
        .when(pl.col("action").is_null())
        .then(pl.lit("missing_action"))
        .when(pl.col(RAW_TIME).is_not_null())
        .then(pl.lit("unreadable_time"))
        .when(pl.col("time").is_null())
        .then(pl.lit("missing_time"))
        .when(~pl.col("time").is_between(rules.earliest, rules.latest))
        .then(pl.lit("impossible_time"))
        .when(pl.col(RAW_VALUE).is_not_null())
        .then(pl.lit("unreadable_value"))
        .when((pl.col("value") < 0) & ~pl.col("action").is_in(TAKEN_BACK))
        .then(pl.lit("refund"))
        .when(pl.all_horizontal(pl.col("item", "label", "text").is_null()))
        .then(pl.lit("nothing_named"))
        .otherwise(None)
        .alias(REASON)
    )


def scrub(events: pl.LazyFrame) -> pl.LazyFrame:
    """Take e-mail addresses and phone numbers out of ``text``; what is then empty is null.

    Each different text is looked at once: searches repeat.
    """
    plain = pl.col("text").str.normalize("NFKC")
    bare = pl.col("plain").str.replace_all(_EMAIL, " ").str.replace_all(_PHONE, " ")
    tidy = pl.col("bare").str.replace_all(r"\s+", " ").str.strip_chars()
    texts = (
        events.select(pl.col("text").drop_nulls().unique())
        .with_columns(plain.alias("plain"))
        .with_columns(bare.alias("bare"))
        .select(
            "text",
            pl.when(tidy.str.len_bytes() > 0).then(tidy).alias("tidy"),
            (pl.col("bare") != pl.col("plain")).alias(SCRUBBED),
        )
    )
    return (
        events.join(texts, on="text", how="left", maintain_order="left")
        .with_columns(pl.col("tidy").alias("text"), pl.col(SCRUBBED).fill_null(False))
        .drop("tidy")
    )


def ordered(events: pl.LazyFrame) -> pl.LazyFrame:
    """Sort by user and time, ties by a fixed hash of the content, and number the users.

    The order of rows in a source changes nothing. ``user_code`` is only a name of the user within
    the frame: the rules below compare it for equality.
    """
    users = events.select(pl.col("user").unique().sort()).with_row_index(USER_CODE)
    content = pl.struct(column for column in COLUMNS if column not in ("user", "time"))
    return (
        events.join(users, on="user", how="left")
        .with_columns(content.hash().alias("tie"))
        .sort(USER_CODE, "time", "tie")
        .drop("tie")
    )


def clean_histories(events: pl.LazyFrame, rules: CleanRules) -> pl.LazyFrame:
    """Give duplicates and the events of bots a ``reason``; rows must be ``ordered``."""
    columns = [USER_CODE, *(column for column in COLUMNS if column != "user")]
    new_user = run_starts(USER_CODE)
    events_today = running_count(pl.col("time").is_not_null(), run_starts(USER_CODE, "day"))
    instants = running_count(run_starts(USER_CODE, "time"), run_starts(USER_CODE, "minute"))
    fired = (events_today > rules.bot_events_per_day) | (instants > rules.bot_instants_per_minute)
    return (
        events.with_columns(
            ~run_starts(*columns).alias("again"),
            pl.col("time").dt.truncate("1d").alias("day"),
            pl.col("time").dt.truncate("1m").alias("minute"),
        )
        .with_columns((running_count(fired, new_user) > 0).alias("bot"))
        .with_columns(
            pl.when("bot")
            .then(pl.lit("bot"))
            .when("again")
            .then(pl.lit("duplicate"))
            .otherwise(None)
            .alias(REASON)
        )
        .drop("again", "day", "minute", "bot")
    )
