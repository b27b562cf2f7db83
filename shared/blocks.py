"""What each catalogue of a plan has of a statistic's vector, and of the released statistics.

Merchants that sell different things can learn one model: adapter and head are shared, and every
statistic has one block a catalogue, in the plan's order. A site's users fill the block of its own
catalogue alone; in the others the site sends noise, as every site does in all of them.

Among a model's statistics, those of several catalogues are told apart by ``NAME/`` before the name.
A plan of one catalogue needs no such mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError
from groundswell.shared.histories import Float32
from groundswell.shared.plan import NAME_AMONG_SEVERAL, CatalogueReference
from groundswell.shared.statistic_kind import StatisticKind, Statistics

References = Sequence[CatalogueReference]


def check_together(key: str, catalogues: Sequence[Catalogue]) -> None:
    """Raise InputError where these catalogues can't stand in one plan (``Plan`` has the rule).

    Args:
        key: where they were named.
    """
    if len(catalogues) < 2:
        return
    names = [each.name for each in catalogues]
    hashes = [each.hash for each in catalogues]
    for each in catalogues:
        rule = None
        if not NAME_AMONG_SEVERAL.fullmatch(each.name):
            rule = "of several catalogues each has a name of letters, digits, . _ and -"
        elif names.count(each.name) > 1:
            rule = "two catalogues have this name"
        elif hashes.count(each.hash) > 1:
            rule = "another one has the same contents"
        if rule:
            raise InputError(key, each.name, rule, "rename its file, or leave one out")


def dimension(kind: StatisticKind, catalogues: References) -> int:
    """Coordinates of the whole vector."""
    return sum(kind.dimension(each.labels) for each in catalogues)


def max_nonzero(kind: StatisticKind, catalogues: References) -> int:
    """Most coordinates of one user's vector that are not 0: a user stands in one block alone."""
    return max(kind.max_nonzero(each.labels) for each in catalogues)


def own_block(kind: StatisticKind, catalogues: References, number: int) -> slice:
    """Where the block of the catalogue at place ``number`` lies in the whole vector."""
    start = dimension(kind, catalogues[:number])
    return slice(start, start + kind.dimension(catalogues[number].labels))


def own_statistics(
    statistics: Statistics, catalogues: References, number: int
) -> dict[str, Float32]:
    """The statistics of the catalogue at place ``number``, by their plain names."""
    mark = _mark(catalogues, number)
    return {
        name.removeprefix(mark): value
        for name, value in statistics.items()
        if name.startswith(mark)
    }


def marked(
    released: Mapping[str, Float32], catalogues: References, number: int
) -> dict[str, Float32]:
    """The inverse of ``own_statistics``: under the names that the whole model has them by."""
    mark = _mark(catalogues, number)
    return {mark + name: value for name, value in released.items()}


def _mark(catalogues: References, number: int) -> str:
    return f"{catalogues[number].name}/" if len(catalogues) > 1 else ""
