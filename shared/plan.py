"""The plan of a run: everything that sites agree to before the first key is advertised.

The coordinator signs the canonical bytes; a site accepts or refuses the plan as a whole, by its
hash. It lists no sites, so that a site may join at any round.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

GRADIENT = "gradient"
EVALUATION = "evaluation"
DEMAND = "demand"

NAME_AMONG_SEVERAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # of a catalogue; a folder's
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Phase(StrEnum):
    """When a release is due within a run."""

    STATISTICS = "statistics"  # before the rounds, on events before ``stats_until``
    ROUNDS = "rounds"  # one attempt a round
    REFRESH = "refresh"  # after the rounds, on events before ``train_until``
    EVALUATION = "evaluation"  # between rounds and after the refresh, on windows held back


class PlannedRelease(BaseModel):
    """One kind of release and how often the run may make it.

    Attributes:
        kind: ``gradient``, ``evaluation``, or the name of a statistic.
        phases: when it is due; the sum of due attempts is ``count``.
        noise_multiplier: sigma_L, the standard deviation of one site's noise over ``scale``.
        sampling_rate: q of the Poisson sample of users.
        clip_norm: C, the L2 bound of one user's vector before scaling.
        scale: Delta, the L2 bound of one user's integer vector.
        dimension: coordinates of the released vector, all catalogues' blocks together.
        max_nonzero: m, most non-zero coordinates of one user's vector.
        count: attempts that are due.
        retries: further attempts that the reserve pays for.
        actions: of demand: those with a block of their own, after that of all actions together; all
            blocks are one vector under one clip.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    phases: tuple[Phase, ...]
    noise_multiplier: float = Field(gt=0)
    sampling_rate: float = Field(gt=0, le=1)
    clip_norm: float = Field(gt=0)
    scale: int = Field(gt=0)
    dimension: int = Field(gt=0)
    max_nonzero: int = Field(gt=0)
    count: int = Field(ge=0)
    retries: int = Field(ge=0)
    # Left out where it is empty: plans without it keep their hash, and seeded runs their figures.
    actions: tuple[str, ...] = Field(default=(), exclude_if=lambda value: not value)

    @model_validator(mode="after")
    def _blocks_are_of_demand(self) -> PlannedRelease:
        if self.actions and self.kind != DEMAND:
            raise ValueError(f"{self.kind} has no blocks of actions")
        if len(set(self.actions)) < len(self.actions) or "" in self.actions:
            raise ValueError("each action has a name, and stands once")
        return self

    @property
    def standard_deviation(self) -> float:
        """Standard deviation s of one site's integer noise, per coordinate."""
        return self.noise_multiplier * self.scale


class CatalogueReference(BaseModel):
    """A public catalogue by hash; ``labels`` is its number of labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    hash: Hex32
    labels: int = Field(gt=0)


class Schedule(BaseModel):
    """Which events each phase may see; times are UTC microseconds, None where data has no times."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_from: int | None
    stats_until: int | None
    train_until: int | None
    step: int = Field(gt=0)
    evaluate_at: tuple[int, ...] = ()


class OptimiserPlan(BaseModel):
    """The server's step; free post-processing, in the plan so that a run can be repeated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern="^(momentum|adam|dp_adam_bc)$")
    learning_rate: float = Field(gt=0)
    adapter_learning_rate: float = Field(gt=0)
    momentum: float = Field(ge=0, lt=1)
    beta2: float = Field(ge=0, lt=1)
    cosine: bool
    average_from: float = Field(ge=0, le=1)
    early_stopping: bool = False
    weight_decay: float = Field(ge=0)
    l1: float = Field(ge=0)


class Plan(BaseModel):
    """Everything a site needs to decide, once, whether it takes part in a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    run: str = Field(pattern=r"^[0-9a-f]{32}$")
    threshold: int = Field(ge=2)
    n_min: int = Field(ge=2)
    colluders: int = Field(ge=0)
    delta: float = Field(gt=0, lt=1e-3)
    eps_c: float = Field(gt=0)
    eps_l: float = Field(gt=0)
    rounds: int = Field(ge=0)
    examples_per_user: int = Field(ge=1)
    clipping: str = Field(pattern="^(flat|auto_s)$")
    releases: tuple[PlannedRelease, ...]
    catalogues: tuple[CatalogueReference, ...]
    backbone: str
    backbone_hash: Hex32
    initial_model_hash: Hex32
    task: dict[str, Any]
    model: dict[str, Any]
    schedule: Schedule
    optimiser: OptimiserPlan
    seconds_per_slot: float = Field(ge=0)
    # The only region whose sites take part; left out for all sites, as ``PlannedRelease.actions``.
    region: str = Field(default="", exclude_if=lambda value: not value)
    # Later runs without rounds that the caps pay for too, each statistic once at the noise it has
    # here; left out where there are none.
    later_refreshes: int = Field(default=0, ge=0, exclude_if=lambda value: not value)

    @model_validator(mode="after")
    def _a_region_releases_its_demand_alone(self) -> Plan:
        kinds = [release.kind for release in self.releases]
        if self.region and (self.rounds or kinds != [DEMAND]):
            raise ValueError("a plan for a region has no rounds, and releases demand alone")
        return self

    @model_validator(mode="after")
    def _catalogues_are_told_apart(self) -> Plan:
        """Their names stand before those of their statistics (``shared/blocks.py``)."""
        names = [each.name for each in self.catalogues]
        hashes = {each.hash for each in self.catalogues}
        if not names or len(set(names)) < len(names) or len(hashes) < len(names):
            raise ValueError("a plan names one catalogue at least, and each of them once")
        if len(names) > 1 and not all(NAME_AMONG_SEVERAL.fullmatch(name) for name in names):
            raise ValueError("names of several catalogues are of letters, digits, . _ and -")
        return self

    @model_validator(mode="after")
    def _kinds_are_unique(self) -> Plan:
        kinds = [release.kind for release in self.releases]
        if len(kinds) != len(set(kinds)):
            raise ValueError("each kind of release may stand once in a plan")
        if self.n_min <= self.colluders:
            raise ValueError("n_min must be larger than the number of colluders")
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of its releases."""
        return tuple(release.kind for release in self.releases)

    def release(self, kind: str) -> PlannedRelease | None:
        """The plan's entry for ``kind``, or None."""
        return next((release for release in self.releases if release.kind == kind), None)

    def catalogue_number(self, catalogue_hash: str) -> int | None:
        """The place of a catalogue among the plan's, or None."""
        hashes = [each.hash for each in self.catalogues]
        return hashes.index(catalogue_hash) if catalogue_hash in hashes else None

    def canonical_bytes(self) -> bytes:
        """JSON with sorted keys and no spaces: the bytes that are hashed and signed."""
        payload = self.model_dump(mode="json")
        return json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()

    def hash(self) -> bytes:
        """SHA-256 of the canonical bytes."""
        return hashlib.sha256(self.canonical_bytes()).digest()

    @classmethod
    def parse(cls, data: bytes) -> Plan:
        """Read a plan; raises ``pydantic.ValidationError`` when it is not one."""
        return cls.model_validate_json(data)


def retries_for(rounds: int) -> int:
    """Retries that a run of ``rounds`` rounds reserves for: max(1, ceil(rounds / 10))."""
    return max(1, -(-rounds // 10)) if rounds else 0


def evaluation_rounds(rounds: int, count: int) -> tuple[int, ...]:
    """After which rounds a run of ``rounds`` rounds is evaluated ``count`` times.

    The last time is ``rounds + 1``, after the refresh; the others divide the rounds evenly.
    """
    if not count:
        return ()
    between = {rounds * i // count for i in range(1, count)} - {0}
    return (*sorted(between), rounds + 1)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC of a moment that carries a time zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone has no UTC microseconds")
    return round(moment.timestamp() * 1_000_000)
