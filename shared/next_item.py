"""What tells the next item, where labels are single items that a shopper seldom takes twice.

Evidence for the model's head ``next``, in the place of ``features.evidence``: popularity is the one
score, and everything else tilts it, as factors do. Every value depends on one row's own events, on
the public catalogue and on released statistics; scales are public constants.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from scipy import sparse

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.features import Family, LabelSpace, relative_popularity
from groundswell.shared.habits import HALF_LIVES, Habits
from groundswell.shared.histories import Float32, Histories, Int32, Int64
from groundswell.shared.products import rows_times
from groundswell.shared.statistic_kind import Statistics
from groundswell.shared.transitions import Followers

SCORES = ("popularity",)
# What each tilt needs; it is 0 when any of them is off. The interest state's own text score is one
# more (``model.py``): it is trained and reads searches and views as well, these are fixed.
TILTS: Mapping[str, frozenset[Family]] = MappingProxyType(
    {
        "followed": frozenset({Family.STATISTICS}),  # how often after the history's items
        "followed_share": frozenset({Family.STATISTICS}),  # the same, by what else came after them
        "follows_itself": frozenset({Family.STATISTICS}),  # of the last item
        "likeness": frozenset({Family.BERT}),  # cosine to the decayed mean of the history's texts
        "nearest": frozenset({Family.BERT}),  # largest cosine to any of them
        "words": frozenset({Family.BERT}),  # the same by shared words, rare ones counting most
        "group": frozenset({Family.HABIT}),  # is the last item's
        "earlier": frozenset({Family.HABIT}),  # in the history, but not last
        "last": frozenset({Family.HABIT}),  # is the last item
        "often": frozenset({Family.HABIT}),  # logarithm of how often it was taken, lately most
    }
)
DEEPEST = 16  # newest events that are looked at
DECAY = 0.65  # weight of a text one event further back
WEIGHTS = (1.0, 0.5, 0.25, 0.1)  # of what came after the last item, the one before, ...
POPULARITY_PRIOR = np.float32(20)  # users added to popularity: rare items that met once stay behind
LIFT_SCALE, SHARE_SCALE = 50.0, 200.0
_UNSPACED = "\\u3040-\\u30ff\\u3400-\\u9fff"  # kana and Han
_NOBODYS = np.zeros(0, dtype=np.int32)
_OFTEN = HALF_LIVES.index(60.0)


@dataclass(frozen=True)
class ItemSpace:
    """What the public catalogue says of its items beside each other.

    Attributes:
        directions: float32 ``[L, D]``, text embeddings about their mean, rows of unit length.
        words: float32 ``[L, V]`` in CSR form, the sets of words, rows of unit length; see
            ``worded``.
        group: int64 ``[L]``, -1 for an item without one.
    """

    directions: Float32 = field(repr=False)
    words: sparse.csr_matrix = field(repr=False)
    group: Int64 = field(repr=False)

    @classmethod
    def of(cls, catalogue: Catalogue, space: LabelSpace) -> ItemSpace:
        """From a catalogue and its labels' directions."""
        known = np.array([name != "" for name in catalogue.groups])
        return cls(
            space.directions,
            worded(catalogue.texts),
            np.where(known, space.group, -1),
        )


def worded(texts: Sequence[str]) -> sparse.csr_matrix:
    """Sets of words, each word by the logarithm of how rare it is, float32 ``[L, V]``.

    Rows have unit length, so that their products are cosines; a text without words is a row of
    zeros. In scripts that write no spaces every two characters that follow each other are a word.
    """
    words = [_words(text) for text in texts]
    often = Counter(word for found in words for word in found)
    column = {word: n for n, word in enumerate(sorted(often))}
    row = np.repeat(np.arange(len(words)), [len(found) for found in words])
    flat = [word for found in words for word in sorted(found)]
    weight = np.log(len(words) / np.array([often[word] for word in flat], dtype=np.float64))
    shape = (len(words), max(len(column), 1))
    table = sparse.csr_matrix((weight, (row, [column[word] for word in flat])), shape=shape)
    norm = np.maximum(np.sqrt(np.asarray(table.multiply(table).sum(axis=1))), 1e-9)
    return table.multiply(1 / norm).tocsr().astype(np.float32)


def _words(text: str) -> set[str]:
    found: set[str] = set()
    for word in re.findall(r"\w+", text.lower()):
        for part in re.split(rf"([{_UNSPACED}]+)", word):
            if re.match(rf"[{_UNSPACED}]", part):
                found |= {part[i : i + 2] for i in range(max(len(part) - 1, 1))}
            elif part:
                found.add(part)
    return found


def evidence(
    h: Histories,
    habits: Habits,
    statistics: Statistics,
    space: ItemSpace,
    families: frozenset[Family] = frozenset(Family),
) -> Float32:
    """Scores, then tilts: float32 ``[B, L, len(SCORES) + len(TILTS)]``.

    Args:
        h: rows cut at their prediction times; habits: what they say of each label.
        statistics: released statistics by name; without transitions what rests on them is 0.
        families: those switched on.
    """
    labels = len(space.group)
    if Family.STATISTICS not in families:
        statistics = {}
    popularity = relative_popularity(statistics, labels)
    out = np.zeros((len(h), labels, len(SCORES) + len(TILTS)), dtype=np.float32)
    out[:, :, 0] = popularity
    tilts = {name: out[:, :, len(SCORES) + k] for k, name in enumerate(TILTS)}
    followers = Followers.of(statistics, labels)
    usual = POPULARITY_PRIOR + popularity / popularity.sum() * np.float32(followers.users)
    summary = np.zeros((len(h), space.directions.shape[1]), dtype=np.float32)
    newest = _newest_first(h)
    met, place = np.unique(np.concatenate([*newest, _NOBODYS]), return_inverse=True)
    likeness = rows_times(space.directions[met], np.ascontiguousarray(space.directions.T))
    shared = (space.words[met] @ space.words.T).toarray()
    ends = np.cumsum([len(seen) for seen in newest])
    for row, seen in enumerate(newest):
        if not len(seen):
            continue
        last = seen[0]
        summary[row] = _weighted(space.directions, seen)
        own = place[ends[row] - len(seen) : ends[row]]
        tilts["nearest"][row] = likeness[own].max(axis=0)
        tilts["words"][row] = shared[own].max(axis=0)
        tilts["group"][row] = (space.group == space.group[last]) & (space.group >= 0)
        tilts["earlier"][row, seen] = 1
        tilts["earlier"][row, last] = 0
        tilts["last"][row, last] = 1
        tilts["follows_itself"][row, last] = followers.itself(last)
        for item, weight in zip(seen, WEIGHTS, strict=False):
            after, count = followers.after(item)
            np.add.at(tilts["followed"][row], after, weight * count)
            np.add.at(tilts["followed_share"][row], after, weight * followers.scale(item) * count)
    summary /= np.maximum(np.linalg.norm(summary, axis=1, keepdims=True), 1e-9)
    tilts["likeness"][:] = rows_times(summary, np.ascontiguousarray(space.directions.T))
    tilts["often"][:] = np.log1p(habits.decayed[_OFTEN])
    for name in ("followed", "follows_itself"):
        tilts[name][:] = np.log1p(LIFT_SCALE * tilts[name] / usual)
    tilts["followed_share"][:] = np.log1p(SHARE_SCALE * tilts["followed_share"])
    for name, needs in TILTS.items():
        if not needs <= families:
            tilts[name][:] = 0
    return out


def _newest_first(h: Histories) -> list[Int32]:
    """Labels of each row's counted events."""
    counted = np.flatnonzero((h.label >= 0) & (h.weight > 0))
    ends = np.searchsorted(h.row()[counted], np.arange(len(h) + 1))
    label = h.label[counted]
    return [label[start:end][::-1][:DEEPEST] for start, end in pairwise(ends)]


def _weighted(table: Float32, seen: Int32) -> Float32:
    """The decayed sum of the rows of what was seen, float32 ``[D]``."""
    weight = np.float32(DECAY) ** np.arange(len(seen), dtype=np.float32)
    return np.asarray((table[seen] * weight[:, None]).sum(axis=0), dtype=np.float32)
