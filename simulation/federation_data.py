"""From a data set to prepared sites: the same steps as an import, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from groundswell.client.annotate import encode_site
from groundswell.client.prepared import PreparedSite
from groundswell.client.pseudonyms import pseudonymise
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.seeded import SeededRandomness


@dataclass(frozen=True)
class Sites:
    """A federation's prepared sites.

    Attributes:
        by_name: prepared site by site name.
        owner: the site of each row of ``pooled``, as an index into the sorted names.
        pooled: all users as if they were one site; simulation only.
    """

    by_name: Mapping[str, PreparedSite] = field(repr=False)
    owner: np.ndarray[tuple[int], np.dtype[np.int64]] = field(repr=False)
    pooled: PreparedSite = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.by_name))


def prepare_sites(dataset: Dataset, seed: int) -> Sites:
    """Pseudonymise with a key of each site, annotate, and put into memory.

    Keys follow from the seed, so that a simulation can be repeated; a deployed site draws its own.
    """
    frames, prepared = [], {}
    for name in sorted(dataset.sites):
        key = SeededRandomness(seed, "pseudonyms", name).words(4).tobytes()
        frame = pseudonymise(dataset.sites[name], key)
        prepared[name] = encode_site(frame, dataset.catalogue, dataset.task)
        frames.append(frame)
    pooled = encode_site(pl.concat(frames), dataset.catalogue, dataset.task)
    site_of = {
        user: number
        for number, name in enumerate(sorted(prepared))
        for user in prepared[name].histories.users
    }
    owner = np.asarray([site_of[user] for user in pooled.histories.users], dtype=np.int64)
    return Sites(prepared, owner, pooled)
