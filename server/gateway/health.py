"""What the gateway tells of itself and of the federation behind its model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from groundswell.shared.questions import Answer


class Health(Answer):
    """The gateway is up and its default model is loaded."""

    status: Literal["ok"] = "ok"
    model_version: str


class Budget(Answer):
    """What a site has spent on one tier, and its cap, both as epsilon at one delta."""

    used: float
    cap: float


class SiteHealth(Answer):
    """One site as the coordinator sees it.

    Attributes:
        state: ready, working, absent, refused, finished.
        ledger_row: highest row of the site's ledger that the coordinator has seen signed.
        rounds: secure sums in which the site survived.
        refusals: codes of what the site declined, with counts.
    """

    name: str
    state: str
    ledger_row: int | None = None
    rounds: int | None = None
    refusals: dict[str, int] = Field(default_factory=dict)
    central: Budget | None = None
    local: Budget | None = None


class RoundPoint(Answer):
    """One round of a learning curve."""

    round: int
    loss: float | None = None
    ndcg: float | None = Field(default=None, alias="ndcg@10", serialization_alias="ndcg@10")
    ndcg_se: float | None = None
    central_epsilon: float | None = None
    local_epsilon: float | None = None
    bytes: int | None = None
    seconds: float | None = None


class Comparison(Answer):
    """How good the model is beside a plain one, on data that it never saw."""

    model: str
    metric: str
    value: float
    sd: float | None = None


class FederationAnswer(Answer):
    """The health of the federation behind the model.

    Attributes:
        seeded: the noise can be reproduced: a rehearsal, not a release.
    """

    state: str
    run: str | None = None
    private: bool = False
    seeded: bool = False
    delta: float | None = None
    sites: tuple[SiteHealth, ...] = ()
    rounds: tuple[RoundPoint, ...] = ()
    quality: tuple[Comparison, ...] = ()
