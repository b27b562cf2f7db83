"""How one stream of events becomes the events of several sites.

Each rule looks at one user at a time, except that places are dealt out to sites by their numbers of
users: a deployed federation has its sites already, so only a simulation does that.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import polars as pl

from groundswell.shared.errors import InputError
from groundswell.shared.events import COLUMNS
from groundswell.shared.identity import is_name

MAX_SITES = 128  # a roster has no more (docs/privacy.md)


def lightest_groups(weights: Sequence[int], groups: int) -> list[int]:
    """Group of each weight: taken in the given order, each goes to the lightest group so far.

    Of groups equally light the first is taken. Heaviest first gives the evenest groups.
    """
    totals = [0] * groups
    chosen = []
    for weight in weights:
        lightest = totals.index(min(totals))
        totals[lightest] += weight
        chosen.append(lightest)
    return chosen


def by_column(events: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Events by their column ``site``; a user seen at two sites is a user of each.

    Raises:
        InputError: an event has no site, or there are more sites than a roster holds.
    """
    without = events["site"].null_count()
    if without:
        raise InputError(
            "[sites].by",
            f"{without} events",
            "they have no site",
            "fill the column, or leave it out",
        )
    sites = events["site"].n_unique()
    if sites > MAX_SITES:
        raise InputError(
            "[sites].by",
            f"{sites} sites",
            f"a federation has at most {MAX_SITES}",
            "name a coarser column, or use per_user with a number",
        )
    return _partition(events)


def by_hash(events: pl.DataFrame, number: int) -> dict[str, pl.DataFrame]:
    """Users by SHA-256 of their identifier into ``number`` sites."""
    users = events.select(pl.col("user").unique())
    sites = [f"site-{_digest(user) % number + 1:02d}" for user in users["user"]]
    return _assign(events, users.with_columns(pl.Series("site", sites, pl.String)))


def by_home(
    events: pl.DataFrame, number: int, before: datetime | None = None
) -> dict[str, pl.DataFrame]:
    """Users by home, where ``site`` holds the place of each event.

    Home is the place of most visits (different times) before the given moment; of equals the place
    visited most in all, then the first by name. Where there are more places than ``number``, the
    places with most users first go to the lightest of ``number`` groups.
    """
    placed = events.filter(pl.col("site").is_not_null())
    early = pl.col("time") < before if before is not None else pl.lit(True)
    home = (
        placed.group_by("user", "site")
        .agg(
            pl.col("time").filter(early).n_unique().alias("visits"),
            pl.col("time").n_unique().alias("all_visits"),
        )
        .sort("user", "visits", "all_visits", "site", descending=[False, True, True, False])
        .unique("user", keep="first", maintain_order=True)
    )
    missing = events["user"].n_unique() - len(home)
    if missing:
        raise InputError(
            "[sites].by.field", f"{missing} users", "none of their events has a place", "fill it in"
        )
    places = home.group_by("site").len().sort("len", "site", descending=[True, False])
    if len(places) > number:
        group = lightest_groups(places["len"].to_list(), number)
        names = [f"region-{g + 1:02d}" for g in group]
        renamed = places.select("site", pl.Series("region", names, pl.String))
        home = home.join(renamed, on="site").with_columns(site="region")
    return _assign(events, home.select("user", "site"))


def check_users(sites: Mapping[str, pl.DataFrame], number: int | None = None) -> None:
    """Raise InputError where there are too few sites, or users, for a federation.

    ``number`` is how many sites were asked for, where that was a number.
    """
    users = sum(events["user"].n_unique() for events in sites.values())
    if number is not None and len(sites) < number:
        raise InputError(
            "[data].events",
            f"{users} user(s)",
            f"they fill {len(sites)} of {number} sites",
            "give more users, or name fewer sites",
        )
    if len(sites) < 2:
        raise InputError(
            "[sites].by",
            f"{len(sites)} site(s)",
            "a federation needs two at least",
            "name a column",
        )


def roster_names(places: Iterable[str]) -> dict[str, str]:
    """A name that a certificate may carry for each place, in the order of the places' own names.

    A place whose name is lower-case ASCII keeps it. Of another, accents and capitals are dropped
    and a hyphen stands for every other sign; where no name is left, or one that is taken, the place
    gets a number.
    """
    ordered = sorted(set(places))
    names = {place: place for place in ordered if is_name(place)}
    taken = set(names.values())
    for number, place in enumerate(ordered, start=1):
        if place in names:
            continue
        plain = unicodedata.normalize("NFKD", place)
        plain = "".join(sign for sign in plain if not unicodedata.combining(sign)).lower()
        name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
        if not plain.isascii() or not is_name(name) or name in taken:
            name = f"site-{number:02d}"
        while name in taken:
            name += "x"
        names[place] = name
        taken.add(name)
    return names


def _assign(events: pl.DataFrame, homes: pl.DataFrame) -> dict[str, pl.DataFrame]:
    joined = events.drop("site").join(homes, on="user", how="left", maintain_order="left")
    return _partition(joined)


def _partition(events: pl.DataFrame) -> dict[str, pl.DataFrame]:
    parts = events.select(COLUMNS).partition_by("site", as_dict=True)
    return {str(key[0]): parts[key] for key in sorted(parts, key=str)}


def _digest(user: str) -> int:
    return int.from_bytes(hashlib.sha256(user.encode()).digest()[:8], "big")
