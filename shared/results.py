"""``results.json``: what a simulation measured, in the form that scripts rely on.

Keys are a public interface: they are added to, never renamed. The file appears whole or not at all.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from groundswell.shared.errors import InputError

SCHEMA = 1


def _nan_is_null(value: Any) -> Any:
    """JSON has no NaN and no infinity: both are written as null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_nan_is_null)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSize(_Model):
    """What the run was given, all sites together."""

    events: int = Field(ge=0)
    users: int = Field(ge=0)
    sites: int = Field(ge=0)
    labels: int = Field(ge=0)


class TierPrivacy(_Model):
    """One tier's guarantee at the plan's delta; every number is null under ``--no-privacy``.

    Attributes:
        epsilon: of the closed ledger.
        reserved_epsilon: of what was charged before the attempts were closed.
        noise_multiplier: of the rounds.
        tpr_at_1pct_fpr: bound on a membership test's true-positive rate at 1 % false positives.
    """

    epsilon: Number
    reserved_epsilon: Number
    noise_multiplier: Number
    tpr_at_1pct_fpr: Number


class Privacy(_Model):
    """Both tiers and what their epsilons leave out.

    Attributes:
        private: mechanism, ledger and charge were on.
        seeded: the noise can be reproduced, so this is a rehearsal and no release.
        excludes: what is not covered by the epsilons, in words.
    """

    private: bool
    seeded: bool
    delta: Number
    central: TierPrivacy
    local: TierPrivacy
    excludes: tuple[str, ...]


class Metric(_Model):
    """A mean over ``n`` rows; ``sd`` is over seeds where there are several, else over users."""

    mean: float
    sd: Number
    n: int = Field(ge=0)


class Row(_Model):
    """One model on one slice; a metric that the model does not have is null."""

    model: str
    slice: str
    metrics: dict[str, Metric | None]


class Paired(_Model):
    """Mean difference (model minus against) over the same rows, standard error over users."""

    model: str
    against: str
    slice: str
    metric: str
    difference: float
    se: Number


class Round(_Model):
    """One training round; loss and NDCG where they were paid for."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    round: int = Field(ge=1)
    loss: Number
    ndcg: Number = Field(alias="ndcg@10")
    central_epsilon: Number
    local_epsilon: Number
    bytes: int = Field(ge=0)
    seconds: float = Field(ge=0)


class RegionResult(_Model):
    """A region whose sites released demand of their own, and what that release alone cost."""

    sites: int = Field(ge=0)
    privacy: Privacy


class Spent(_Model):
    """What a site's ledger has spent on one tier, and its policy's cap; both at the plan's delta.

    Attributes:
        cap: null where the policy caps the other tier alone.
    """

    used: Number
    cap: Number


class SiteSpent(_Model):
    """One site's own ledger, all releases that it took part in together."""

    central: Spent
    local: Spent


class Results(_Model):
    """The whole file.

    Attributes:
        privacy: of everything that the run released, the regions' releases included.
        regions: a key of the file where there are any.
        sites: what each site's own ledger has spent; no key of the file under ``--no-privacy``.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    command: str
    data: DataSize
    privacy: Privacy
    rows: tuple[Row, ...]
    paired: tuple[Paired, ...]
    rounds: tuple[Round, ...]
    regions: dict[str, RegionResult] = {}
    sites: dict[str, SiteSpent] = {}
    seconds: float = Field(ge=0)
    peak_rss_mib: float = Field(ge=0)

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def row(self, model: str, slice_name: str) -> Row | None:
        """The row of a model on a slice, or None."""
        return next((r for r in self.rows if r.model == model and r.slice == slice_name), None)

    def difference(self, model: str, slice_name: str, metric: str, against: str) -> Paired | None:
        """The paired difference of one metric, or None."""
        wanted = (model, slice_name, metric, against)
        return next(
            (p for p in self.paired if (p.model, p.slice, p.metric, p.against) == wanted), None
        )

    def json_text(self) -> str:
        """Indented JSON, keys in the order of the schema, a final newline."""
        unused = {key for key in ("regions", "sites") if not getattr(self, key)}
        payload = self.model_dump(mode="json", by_alias=True, exclude=unused)
        return json.dumps(payload, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def write(self, path: Path) -> None:
        """Write the file under a temporary name beside it, then rename: it is never half there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, self.json_text().encode())

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read a file; raises InputError when it is missing or not of this schema."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                "results.json", str(path), f"can't be read ({reason})", "run the simulation again"
            ) from error


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file's contents in one step; a reader sees the old file or the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
