"""Demand of past windows by label: what the federation released, or a site's own exact counts.

A release is one vector in blocks: demand by all actions that the task weighs, and one block more
for each action that the plan names, such as searches. Among a model's statistics each block is a
tensor of its own, called by ``DemandBlock.tensor``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundswell.shared.errors import ModelError
from groundswell.shared.histories import Float32, Histories, Int64
from groundswell.shared.plan import DEMAND
from groundswell.shared.targets import label_weights
from groundswell.shared.task import Task

Float64 = NDArray[np.float64]

NOISE_TENSOR = "demand_noise"
_EMPTY_DEVIATIONS = 4.0  # a window this close to nothing holds noise alone
_EMPTY_TOTAL = 0.5  # ... or, without noise, what rounding to the integers of the sum has left
_TENSOR = re.compile(r"demand(?:@(?P<region>[a-z0-9._-]+))?(?::(?P<action>.+))?", re.DOTALL)


@dataclass(frozen=True)
class DemandBlock:
    """Whose demand is counted.

    Attributes:
        action: by this one alone; None: by all that the task weighs.
        region: at its sites alone, which made a release of their own; None: at all sites.
    """

    action: str | None = None
    region: str | None = None

    @property
    def tensor(self) -> str:
        """Name of the block's tensor among a model's statistics."""
        return DEMAND + _at(self.region) + (f":{self.action}" if self.action is not None else "")

    @classmethod
    def of_tensor(cls, name: str) -> DemandBlock | None:
        """The block that a tensor of a model's statistics holds; None: another statistic."""
        found = _TENSOR.fullmatch(name)
        return cls(found["action"], found["region"]) if found else None


ALL_ACTIONS = DemandBlock()


@dataclass(frozen=True)
class RegionRelease:
    """What a region's own run says of the demand that it released.

    Attributes:
        as_of: where the last window ends (microseconds).
        sites: whose vectors stand in the sum.
        privacy: of that run, as a model's own.
    """

    as_of: int
    sites: int
    privacy: Mapping[str, Any]


@dataclass(frozen=True)
class DemandRelease:
    """Demand of past windows.

    Attributes:
        values: float64 ``[L, W]``, oldest first.
        noise: float64 ``[W, W]``, covariance of the noise on a label's values; zeros for exact
            counts. The noise of two labels is independent.
        as_of: where the last window ends (microseconds).
    """

    values: Float64
    noise: Float64
    as_of: int

    @property
    def deviations(self) -> Float64:
        """float64 ``[W]``: standard deviation of the noise on a value of each window."""
        return _deviations(self.noise)

    @classmethod
    def trimmed(cls, values: Float64, noise: Float64, as_of: int) -> DemandRelease:
        """Without leading windows whose total can't be told from nothing."""
        first = _first_heard(values, noise)
        return cls(values[:, first:], noise[first:, first:], as_of)

    @classmethod
    def exact(cls, counts: Float64, as_of: int) -> DemandRelease:
        """Counts without noise, without leading windows in which nothing was counted."""
        return cls.trimmed(counts, np.zeros((counts.shape[1],) * 2), as_of)


def released_demand(
    statistics: Mapping[str, Float32], as_of: int | None, region: str | None = None
) -> dict[DemandBlock, DemandRelease]:
    """The blocks of one release, all without the windows before its sites' data began.

    Args:
        as_of: where its last window ends (microseconds); None: there is no release.
        region: whose; None: of all sites.

    Raises:
        ModelError: what the model says of the noise does not fit the windows.
    """
    if as_of is None or DemandBlock(region=region).tensor not in statistics:
        return {}
    name = NOISE_TENSOR + _at(region)
    noise = statistics.get(name, np.zeros(0)).astype(np.float64)
    blocks = {
        block: tensor.astype(np.float64).T
        for tensor_name, tensor in statistics.items()
        if (block := DemandBlock.of_tensor(tensor_name)) is not None and block.region == region
    }
    windows = blocks[DemandBlock(region=region)].shape[1]
    if noise.shape != (windows, windows):
        raise ModelError(
            f"{name} is no covariance of {windows} windows; release the model's demand again"
        )
    first = min(_first_heard(values, noise) for values in blocks.values())
    return {
        block: DemandRelease(values[:, first:], noise[first:, first:], as_of)
        for block, values in blocks.items()
    }


def of_region(statistics: Mapping[str, Float32], region: str) -> dict[str, Float32]:
    """The tensors of a release that a region's sites made, under names of the region's own."""
    found = {
        replace(block, region=region).tensor: tensor
        for name, tensor in statistics.items()
        if (block := DemandBlock.of_tensor(name)) is not None and block.region is None
    }
    return {**found, NOISE_TENSOR + _at(region): statistics[NOISE_TENSOR]} if found else {}


def belongs_to(name: str, region: str) -> bool:
    """Whether a tensor of a model's statistics is part of a region's own release."""
    block = DemandBlock.of_tensor(name)
    return name == NOISE_TENSOR + _at(region) or (block is not None and block.region == region)


def without_noise(statistics: Mapping[str, Float32]) -> dict[str, Float32]:
    """The same tensors where no noise was added to any release: what they say of it is none."""
    return {
        name: np.zeros_like(tensor) if name.split("@")[0] == NOISE_TENSOR else tensor
        for name, tensor in statistics.items()
    }


def for_a_new_run(statistics: Mapping[str, Float32]) -> dict[str, Float32]:
    """A released model's statistics without the demand of all sites.

    Demand is a series of windows that ends with its run: one that a later run does not release anew
    would take on that run's date. A region's has a date of its own, and stays.
    """
    return {
        name: tensor
        for name, tensor in statistics.items()
        if name != NOISE_TENSOR
        and ((block := DemandBlock.of_tensor(name)) is None or block.region is not None)
    }


def acted_on(
    h: Histories, at: Int64, task: Task, labels: int, action: str | None
) -> NDArray[np.bool_]:
    """bool ``[B, L]``: which labels each row acted on in its window.

    Args:
        at: int64 ``[B]``, where each row's window begins (microseconds).
        action: of the task's, whatever it weighs in the target; None: all that weigh something.
    """
    if action is None:
        weighed: NDArray[np.bool_] = label_weights(h, at, task.window_us, labels) > 0
        return weighed
    coming = h.between(at, np.asarray(at, dtype=np.int64) + task.window_us)
    counted = (
        (coming.label >= 0)
        & (coming.weight >= 0)
        & (coming.action == task.action_names.index(action))
    )
    found = np.zeros((len(h), labels), dtype=np.bool_)
    found[coming.row()[counted], coming.label[counted]] = True
    return found


def _at(region: str | None) -> str:
    return "" if region is None else f"@{region}"


def _deviations(noise: Float64) -> Float64:
    result: Float64 = np.sqrt(np.diagonal(noise))
    return result


def _first_heard(values: Float64, noise: Float64) -> int:
    """Number of leading windows of ``[L, W]`` whose total can't be told from nothing.

    One window may drown where several together do not: those before the first that stands out are
    taken with it as far back as their sum lies further above half of the usual total than any
    shorter or longer part does (the change between two known levels, Page 1954).
    """
    total = values.sum(axis=0)
    quiet = np.maximum(_EMPTY_DEVIATIONS * _deviations(noise) * len(values) ** 0.5, _EMPTY_TOTAL)
    heard = np.flatnonzero(np.abs(total) > quiet)
    if not len(heard):
        return len(total)
    first = int(heard[0])
    above = np.cumsum(total[:first][::-1] - total[first:].mean() / 2)
    back = int(np.argmax(above)) + 1 if len(above) and above.max() > 0 else 0
    return first - back
