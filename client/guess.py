"""Guess which column of a source holds what, from names, types and values.

A guess is only written into a configuration that its reader then corrects; nothing else uses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from groundswell.client.sources.mapping import ZONED, canonical
from groundswell.shared.config_data import Columns, Source
from groundswell.shared.errors import InputError

SITES = range(3, 65)  # numbers of values that make a column a likely column of the site
_SAMPLE = 100_000
_READABLE = 0.9  # share of a sample that must read as a time

# Words of column names, the likeliest first; a name is split at anything that is no letter, and a
# Chinese word counts wherever it stands in the name.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "user": (
        "user", "customer", "shopper", "household", "visitor", "buyer", "member", "client",
        "account", "uid", "person", "session", "用户", "客户", "顾客", "会员", "买家",
    ),
    "time": (
        "time", "timestamp", "ts", "datetime", "date", "created", "at", "when", "day",
        "时间", "日期", "时刻",
    ),
    "action": (
        "action", "event", "behavior", "behaviour", "activity", "operation", "kind", "type",
        "行为", "动作", "操作", "事件", "类型",
    ),
    "item": (
        "item", "product", "sku", "article", "asin", "goods", "ean", "gtin", "upc", "offer",
        "货号", "商品", "产品", "宝贝",
    ),
    "label": (
        "label", "category", "cat", "class", "segment", "department",
        "类目", "品类", "类别", "分类",
    ),
    "text": (
        "query", "search", "keyword", "keywords", "term", "phrase", "text", "title",
        "搜索", "关键词", "关键字", "查询", "标题",
    ),
    "value": (
        "quantity", "qty", "amount", "value", "price", "rating", "revenue", "sales", "score",
        "数量", "件数", "金额", "价格", "评分",
    ),
    "site": (
        "site", "store", "shop", "region", "merchant", "market", "country", "branch",
        "站点", "门店", "店铺", "商家", "地区", "区域", "城市",
    ),
}  # fmt: skip
_CATALOGUE_LABELS = (*_WORDS["label"], "kind", "type", "group", "genre", "family")
_CATALOGUE_TEXTS = (
    "title", "name", "description", "type", "brand", "text", "subject",
    "标题", "名称", "品名", "描述", "品牌",
)  # fmt: skip
_CATALOGUE_GROUPS = (
    "department", "brand", "group", "division", "vendor", "manufacturer", "大类", "部门", "品牌",
)  # fmt: skip

# What actions are usually called, and what each then weighs; others weigh nothing.
_ACTIONS: Sequence[tuple[tuple[str, ...], float]] = (
    (
        (
            "purchase", "buy", "bought", "order", "transaction", "checkout", "sale", "购买", "下单",
        ),
        1.0,
    ),
    (("cart", "basket", "addtocart", "加购", "购物车"), 0.5),
    (("fav", "favorite", "favourite", "wishlist", "like", "collect", "收藏"), 0.5),
    (("view", "click", "pageview", "pv", "detail", "visit", "浏览", "点击"), 0.1),
)  # fmt: skip


@dataclass(frozen=True)
class Guess:
    """What the columns of a source seem to be.

    Attributes:
        columns: the mapping.
        actions: weight of each action that occurs; empty where there is no column of it.
        zoned: whether times carry a time zone of their own.
        site: likeliest column of the site, among those constant per user with 3..64 values.
    """

    columns: Columns
    actions: Mapping[str, float]
    zoned: bool
    site: str | None


@dataclass(frozen=True)
class CatalogueGuess:
    """What the columns of a catalogue seem to be."""

    item: str | None
    label: str
    text: tuple[str, ...]
    group: str | None


def guess_events(raw: pl.LazyFrame, name: str) -> Guess:
    """Guess the mapping of a source of events.

    Raises:
        InputError: no column looks like a user, a time, or what an action was about.
    """
    schema = raw.collect_schema()
    sample = raw.head(_SAMPLE).collect()
    if sample.is_empty():
        raise InputError("--from", name, "there are no rows", "name another file")
    left = list(schema)
    chosen: dict[str, str] = {}
    time = next((column for column in _ranked(left, "time") if _is_time(sample, column)), None)
    time = time or next((column for column in left if _is_time(sample, column, typed=True)), None)
    if time is not None:
        chosen["time"] = time
        left.remove(time)
    for key in ("user", "item", "text", "label", "value", "action"):
        column = next((c for c in _ranked(left, key) if _fits(sample[c], key)), None)
        if column is not None:
            chosen[key] = column
            left.remove(column)
    for key in ("user", "time"):
        if key not in chosen:
            raise InputError(
                "--from",
                name,
                f"no column looks like the {key}",
                f"rename one, or write [data].columns yourself; there are: {', '.join(schema)}",
            )
    if not {"item", "label", "text"} & set(chosen):
        raise InputError(
            "--from",
            name,
            "no column looks like an item, a category or a search text",
            f"rename one, or write [data].columns yourself; there are: {', '.join(schema)}",
        )
    columns = Columns.model_validate(chosen)
    mapped = canonical(sample.lazy(), Source(columns=columns), name)
    zoned = bool(mapped.select(pl.col(ZONED).any()).collect().item())
    actions = _actions(sample[columns.action]) if columns.action else {}
    return Guess(columns, actions, zoned, _site(raw, sample, columns.user, left))


def guess_catalogue(table: pl.DataFrame, item: str | None, name: str) -> CatalogueGuess:
    """Guess the columns of a catalogue; ``item`` is the events' column of the item.

    Raises:
        InputError: no column looks like the item's key, or none like a text.
    """
    names = table.columns
    key = item if item in names else next(iter(_by_words(names, _WORDS["item"])), None)
    left = [column for column in names if column != key]
    text = tuple(column for column in _by_words(left, _CATALOGUE_TEXTS) if _is_text(table[column]))
    coarse = [column for column in left if 2 <= table[column].n_unique() <= max(len(table) // 3, 2)]
    label = next(iter(_by_words(coarse, _CATALOGUE_LABELS)), key)
    group = next((c for c in _by_words(coarse, _CATALOGUE_GROUPS) if c != label), None)
    if label is None or not (text or label != key):
        raise InputError(
            "--catalogue",
            name,
            "no column looks like an item, or none like its text",
            f"write [catalogue] yourself; there are: {', '.join(names)}",
        )
    return CatalogueGuess(key, label, tuple(c for c in text if c not in (label, group))[:2], group)


def _words(name: str) -> list[str]:
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return re.findall(r"[a-z]+", spaced.lower())


def _by_words(names: Iterable[str], words: Sequence[str]) -> list[str]:
    """Names that contain one of the words, in the order of the words, the shortest name first."""
    found: list[tuple[int, int, str]] = []
    for name in names:
        parts = _words(name)
        joined = "".join(parts)
        ranks = [
            i
            for i, word in enumerate(words)
            if word in parts or joined in (word, f"{word}id") or _within(word, name)
        ]
        if ranks:
            found.append((ranks[0], len(name), name))
    return [name for _, _, name in sorted(found)]


def _within(word: str, name: str) -> bool:
    """Whether a Chinese word stands in a name: they are written without spaces."""
    return not word.isascii() and word in name


def _ranked(names: Iterable[str], key: str) -> list[str]:
    return _by_words(names, _WORDS[key])


def _is_time(sample: pl.DataFrame, column: str, *, typed: bool = False) -> bool:
    kind = sample.schema[column]
    if isinstance(kind, pl.Datetime | pl.Date):
        return True
    if typed or not (isinstance(kind, pl.String) or kind.is_integer()):
        return False
    columns = Columns(user=column, time=column, item=column)
    written = sample.filter(pl.col(column).is_not_null())
    read = canonical(written.lazy(), Source(columns=columns), "the source").collect()
    # Whole numbers read as a time always; years from 1990 on tell times from other numbers.
    recent = (read["time"].dt.year() >= 1990).sum()
    return bool(len(read)) and recent >= _READABLE * len(read)


def _fits(values: pl.Series, key: str) -> bool:
    """Whether the type, and for an action the number of values, suit the key."""
    kind = values.dtype
    if key == "value":
        return kind.is_numeric() or _numeric_text(values)
    if key in ("text", "label"):
        return isinstance(kind, pl.String | pl.Categorical | pl.Enum) and not _numeric_text(values)
    if key == "action":
        return _is_text(values) and values.n_unique() <= 50
    return kind.is_integer() or isinstance(kind, pl.String | pl.Categorical | pl.Enum)


def _is_text(values: pl.Series) -> bool:
    text = isinstance(values.dtype, pl.String | pl.Categorical | pl.Enum)
    return text and not _numeric_text(values)


def _numeric_text(values: pl.Series) -> bool:
    if not isinstance(values.dtype, pl.String):
        return False
    written = values.drop_nulls()
    return len(written) > 0 and written.cast(pl.Float64, strict=False).null_count() == 0


def _actions(values: pl.Series) -> dict[str, float]:
    counts = values.cast(pl.String).drop_nulls().value_counts(name="rows")
    ranked = counts.sort("rows", values.name, descending=[True, False])
    names = [str(name).strip() for name in ranked[values.name]]
    weights: dict[str, float] = {}
    for name in names:
        parts = {*_words(name), "".join(_words(name))}
        weight = next(
            (
                weight
                for words, weight in _ACTIONS
                if any(word in parts or _within(word, name) for word in words)
            ),
            None,
        )
        if weight is not None:
            weights[name] = weight
    return weights or ({names[0]: 1.0} if names else {})


def _site(raw: pl.LazyFrame, sample: pl.DataFrame, user: str, left: list[str]) -> str | None:
    """The best-named column with 3..64 values that never differs within a user, all rows seen."""
    few = [column for column in left if sample[column].n_unique() <= SITES.stop]
    named = _ranked(few, "site")
    candidates = [
        *named,
        *(column for column in few if column not in named and _is_text(sample[column])),
    ]
    if not candidates:
        return None
    per_user = (
        raw.group_by(user).agg(pl.col(candidates).n_unique()).select(pl.col(candidates).max())
    )
    constant = per_user.collect(engine="streaming").row(0)
    overall = raw.select(pl.col(candidates).n_unique()).collect(engine="streaming").row(0)
    for column, most, count in zip(candidates, constant, overall, strict=True):
        if most == 1 and count in SITES:
            return column
    return None
