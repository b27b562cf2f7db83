"""How the shoppers of the generated marketplace behave, for one merchant and many users at once.

Three processes make a user's events. *Habits*: a category that the user likes and that is used up
is bought again at the user's own cycle, for as long as the habit lasts. *Needs*: at random times,
more often in season and in a surge, the user begins to look for a category, searches, views over
the next days, and in some cases buys; some purchases lead to a need of the complement. *Browsing*:
views without a purpose. Long-term taste steers all three.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groundswell.simulation.datasets.marketplace_merchants import TASTES, Merchant

EVENTS = ("search", "view", "cart", "purchase")
SEARCH, VIEW, CART, PURCHASE = range(4)
SECONDS = 86_400

NEEDS_PER_YEAR = 9.0
BROWSED_PER_YEAR = 12.0
HABIT_PULL = 4.0  # of the share of a taste, on the chance that it becomes a habit
HABIT_DAYS = 300.0
CYCLE_SPREAD = 0.25
CYCLE_SHAPE = 8.0  # of the gamma gap: a coefficient of variation of .35
LATE_JOINERS = 0.3
COMPLEMENT_CHANCE = 0.35

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Events as columns of equal length; times in seconds from the start of the data.

    ``item`` and ``query`` index the merchant's items and queries, -1 for none.
    """

    user: Int64
    time: Int64
    event: NDArray[np.int8]
    category: Int64
    item: Int64
    query: Int64

    def __len__(self) -> int:
        return len(self.user)

    def take(self, index: Int64 | NDArray[np.bool_]) -> Rows:
        return Rows(
            self.user[index],
            self.time[index],
            self.event[index],
            self.category[index],
            self.item[index],
            self.query[index],
        )

    @staticmethod
    def concat(parts: list[Rows]) -> Rows:
        return Rows(
            *(
                np.concatenate([vars(part)[name] for part in parts])
                for name in ("user", "time", "event", "category", "item", "query")
            )
        )


@dataclass(frozen=True)
class _Users:
    """``U`` users: taste float64 ``[U, C]`` (rows sum to 1), activity, first and last second."""

    taste: Float64
    activity: Float64
    joined: Float64
    left: Float64


def simulate(
    merchant: Merchant, demand: Float64, count: int, generator: np.random.Generator
) -> Rows:
    """The events of ``count`` users of one merchant, sorted by time; user numbers from 0.

    Args:
        demand: float64 ``[C, days]``, see ``daily_demand``.
    """
    days = demand.shape[1]
    users = _draw_users(merchant, count, days, generator)
    needs = _needs(merchant, users, demand, generator)
    looked = _look(merchant, *needs, generator)
    bought = looked.take(looked.event == PURCHASE)
    follows = (merchant.complement[bought.category] >= 0) & (
        generator.random(len(bought)) < COMPLEMENT_CHANCE
    )
    led = bought.take(follows)
    wait = generator.gamma(2.0, 4 * SECONDS, len(led)).astype(np.int64)
    complements = _look(
        merchant, led.user, merchant.complement[led.category], led.time + wait, generator
    )
    parts = [
        looked,
        complements,
        _habits(merchant, users, days, generator),
        _browsing(merchant, users, days, generator),
    ]
    rows = Rows.concat(parts)
    seen = (rows.time >= users.joined[rows.user]) & (rows.time < users.left[rows.user])
    rows = rows.take(seen)
    return rows.take(np.lexsort((rows.event, rows.user, rows.time)))


def _draw_users(
    merchant: Merchant, count: int, days: int, generator: np.random.Generator
) -> _Users:
    group = generator.integers(0, TASTES, count)
    own = generator.gamma(0.25, size=(count, len(merchant.keys))) + 1e-4
    taste = own * merchant.tastes[group] * merchant.popularity**0.7
    taste /= taste.sum(axis=1, keepdims=True)
    late = generator.random(count) < LATE_JOINERS
    joined = late * generator.random(count) * (days - 1) * SECONDS
    stay = (generator.exponential(3.0 * days, count) + 1) * SECONDS
    left = np.minimum(joined + stay, days * SECONDS)
    return _Users(taste, generator.lognormal(-0.32, 0.8, count), joined, left)


def _needs(
    merchant: Merchant, users: _Users, demand: Float64, generator: np.random.Generator
) -> tuple[Int64, Int64, Int64]:
    """User, category and first second of every need: an inhomogeneous Poisson process each.

    What is used up is mostly bought by habit, so it makes fewer needs.
    """
    rate = np.where(np.isnan(merchant.cycle), 1.0, 0.4) * demand.sum(axis=1)
    expected = users.activity[:, None] * users.taste * rate * (NEEDS_PER_YEAR / 365)
    counts = generator.poisson(expected)
    user, category = np.nonzero(counts)
    repeats = counts[user, category]
    user, category = np.repeat(user, repeats), np.repeat(category, repeats)
    return user, category, _moments(demand, category, generator)


def _moments(demand: Float64, category: Int64, generator: np.random.Generator) -> Int64:
    """A second for each category, its day drawn by the category's demand."""
    share = np.cumsum(demand, axis=1) / demand.sum(axis=1, keepdims=True)
    # One sorted array for all categories: category c's cumulative shares lie in (c, c + 1].
    stacked = (share + np.arange(len(demand))[:, None]).ravel()
    position = np.searchsorted(stacked, generator.random(len(category)) + category)
    day = np.minimum(position - category * demand.shape[1], demand.shape[1] - 1)
    moment: Int64 = day.astype(np.int64) * SECONDS + _time_of_day(len(category), generator)
    return moment


def _time_of_day(count: int, generator: np.random.Generator) -> Int64:
    """Seconds after midnight: lunch and, more often, the evening."""
    evening = generator.random(count) < 0.6
    hour = np.where(evening, generator.normal(20, 2, count), generator.normal(12.5, 3, count))
    return (hour % 24 * 3600).astype(np.int64)


def _look(
    merchant: Merchant, user: Int64, category: Int64, start: Int64, generator: np.random.Generator
) -> Rows:
    """The events of needs, int64 ``[N]`` each: searches, views, perhaps a cart, then a purchase."""
    count = len(user)
    chosen = _items(merchant, category, generator)
    views = 1 + generator.poisson(2.0, count)
    searches = np.where(generator.random(count) < 0.75, 1 + generator.poisson(0.5, count), 0)
    carts = generator.random(count) < 0.5
    purchases = carts & (generator.random(count) < 0.8)
    cart_at = start + generator.exponential(1.2 * SECONDS, count).astype(np.int64) + 600
    purchase_at = cart_at + generator.exponential(1.0 * SECONDS, count).astype(np.int64) + 120

    of_search = np.repeat(np.arange(count), searches)
    later = np.concatenate([[False], of_search[1:] == of_search[:-1]])[: len(of_search)]
    delay = later * generator.exponential(0.4 * SECONDS, len(of_search))
    of_view = np.repeat(np.arange(count), views)
    viewed = np.where(
        generator.random(len(of_view)) < 0.5,
        chosen[of_view],
        _items(merchant, category[of_view], generator),
    )
    view_delay = generator.exponential(0.8 * SECONDS, len(of_view)) + 60
    none = np.full(count, -1)
    return Rows.concat(
        [
            _rows(
                SEARCH,
                user[of_search],
                start[of_search] + delay.astype(np.int64),
                category[of_search],
                none[of_search],
                _pick(merchant.query_offsets, category[of_search], generator.random),
            ),
            _rows(
                VIEW,
                user[of_view],
                start[of_view] + view_delay.astype(np.int64),
                category[of_view],
                viewed,
            ),
            _rows(CART, user[carts], cart_at[carts], category[carts], chosen[carts]),
            _rows(
                PURCHASE,
                user[purchases],
                purchase_at[purchases],
                category[purchases],
                chosen[purchases],
            ),
        ]
    )


def _habits(merchant: Merchant, users: _Users, days: int, generator: np.random.Generator) -> Rows:
    """Repeat purchases at each habit's own cycle, some of them after a view and a cart."""
    repeats = ~np.isnan(merchant.cycle)
    chance = (1 - np.exp(-HABIT_PULL * users.taste)) * np.minimum(1, users.activity)[:, None]
    owner, category = np.nonzero((generator.random(users.taste.shape) < chance) & repeats)
    cycle = merchant.cycle[category] * generator.lognormal(0, CYCLE_SPREAD, len(owner))
    begins = (generator.random(len(owner)) * 1.5 - 0.5) * days
    ends = np.minimum(begins + HABIT_DAYS * generator.exponential(1, len(owner)), days)
    begins = np.maximum(begins, 0) + generator.random(len(owner)) * cycle
    count = np.ceil(np.maximum(ends - begins, 0) / cycle * 1.6).astype(np.int64)
    habit = np.repeat(np.arange(len(owner)), count)
    gaps = generator.gamma(CYCLE_SHAPE, cycle[habit] / CYCLE_SHAPE)
    reached = np.cumsum(gaps)
    first = np.cumsum(count) - count
    passed = np.concatenate([[0.0], reached])[first]
    day = begins[habit] + reached - passed[habit]
    kept = day < ends[habit]
    habit, day = habit[kept], day[kept]
    favourite = _items(merchant, category, generator)
    loyal = generator.random(len(habit)) < 0.8
    item = np.where(loyal, favourite[habit], _items(merchant, category[habit], generator))
    time = day.astype(np.int64) * SECONDS + _time_of_day(len(habit), generator)
    user, label = owner[habit], category[habit]
    viewed = generator.random(len(habit)) < 0.3
    carted = generator.random(len(habit)) < 0.5
    return Rows.concat(
        [
            _rows(VIEW, user[viewed], time[viewed] - 900, label[viewed], item[viewed]),
            _rows(CART, user[carted], time[carted] - 300, label[carted], item[carted]),
            _rows(PURCHASE, user, time, label, item),
        ]
    )


def _browsing(merchant: Merchant, users: _Users, days: int, generator: np.random.Generator) -> Rows:
    """Views without a purpose; the first, soon after joining, makes sure that everyone has one."""
    counts = generator.poisson(users.activity * BROWSED_PER_YEAR * days / 365)
    user = np.repeat(np.arange(len(counts)), counts)
    time = generator.integers(0, days, len(user)) * SECONDS
    time += _time_of_day(len(user), generator)
    soon = np.minimum(users.left - users.joined, 28 * SECONDS) * generator.random(len(counts))
    user = np.concatenate([np.arange(len(counts)), user])
    time = np.concatenate([np.ceil(users.joined + soon * 0.99).astype(np.int64), time])
    taste = np.cumsum(0.5 * users.taste + 0.5 * merchant.popularity, axis=1)
    stacked = (taste / taste[:, -1:] + np.arange(len(taste))[:, None]).ravel()
    position = np.searchsorted(stacked, generator.random(len(user)) + user)
    category = np.minimum(position - user * taste.shape[1], taste.shape[1] - 1)
    return _rows(VIEW, user, time, category, _items(merchant, category, generator))


def _items(merchant: Merchant, category: Int64, generator: np.random.Generator) -> Int64:
    """An item of each category; the first ones of a category are the popular ones."""
    return _pick(merchant.item_offsets, category, lambda count: generator.random(count) ** 2)


def _pick(offsets: Int64, category: Int64, draw: Callable[[int], Float64]) -> Int64:
    low, high = offsets[category], offsets[category + 1]
    return low + (draw(len(category)) * (high - low)).astype(np.int64)


def _rows(
    event: int,
    user: Int64,
    time: Int64,
    category: Int64,
    item: Int64,
    query: Int64 | None = None,
) -> Rows:
    return Rows(
        user,
        time,
        np.full(len(user), event, dtype=np.int8),
        category,
        item,
        np.full(len(user), -1) if query is None else query,
    )
