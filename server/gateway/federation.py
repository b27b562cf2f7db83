"""The federation's health as the dashboard shows it, read from what a run leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from groundswell.server.checkpointing import RoundRecord
from groundswell.server.gateway.health import (
    Budget,
    Comparison,
    FederationAnswer,
    RoundPoint,
    SiteHealth,
)
from groundswell.server.run_folder import RunFolder
from groundswell.server.spending import Spent, Tiers, epsilons
from groundswell.shared.errors import ModelError
from groundswell.shared.plan import GRADIENT, Phase, Plan

_SHOWN = ("federated_private", "backoff", "personal_frequency", "popularity")
_METRIC = "ndcg@10"


class FederationView(Protocol):
    """Where the health is looked up."""

    def health(self) -> FederationAnswer:
        """The state of now."""


class NoFederation:
    """Nothing is known: the gateway serves a model alone."""

    def health(self) -> FederationAnswer:
        """An empty answer."""
        return FederationAnswer(state="unknown")


class FinishedRun:
    """A run's output folder: ``results.json``, whose ``sites`` tell what each ledger has spent.

    Args:
        folder: what ``groundswell simulate --out`` left.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def health(self) -> FederationAnswer:
        """The run's learning curve, and what each site's users have spent of its own budget.

        Raises:
            ModelError: ``results.json`` is damaged.
        """
        path = self._folder / "results.json"
        if not path.exists():
            return FederationAnswer(state="unknown")
        try:
            results: dict[str, Any] = json.loads(path.read_text("utf-8"))
            privacy = results["privacy"]
            spent = results.get("sites", {})
            return FederationAnswer(
                state="finished",
                private=privacy["private"],
                seeded=privacy["seeded"],
                delta=privacy["delta"],
                sites=self._sites(spent, len(results["rounds"])),
                rounds=tuple(RoundPoint.model_validate(each) for each in results["rounds"]),
                quality=_quality(results["rows"]),
            )
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            raise ModelError(f"{path.name} can't be read: {error}") from error

    def _sites(self, spent: dict[str, Any], rounds: int) -> tuple[SiteHealth, ...]:
        folder = self._folder / "sites"
        names = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
        return tuple(
            SiteHealth(
                name=name,
                state="finished",
                rounds=rounds,
                central=_budget(spent.get(name, {}).get("central")),
                local=_budget(spent.get(name, {}).get("local")),
            )
            for name in sorted(names | set(spent))
        )


class CoordinatorRuns:
    """A coordinator's folder: the run that was begun last.

    Args:
        folder: what ``groundswell coordinator init`` made.
    """

    def __init__(self, folder: Path) -> None:
        self._runs = folder / "runs"
        self._spent: dict[tuple[str, int], dict[str, Tiers]] = {}

    def health(self) -> FederationAnswer:
        """The state of now; budgets are the coordinator's view, each site's ledger is what counts.

        Raises:
            ModelError: a file of the run is damaged.
        """
        begun = self._runs.glob("*/plan.json") if self._runs.is_dir() else ()
        plans = sorted(begun, key=lambda path: path.stat().st_mtime)
        if not plans:
            return FederationAnswer(state="unknown")
        run = RunFolder(plans[-1].parent)
        plan, status, state = run.plan(), run.status(), run.state()
        records = state.records if state is not None else ()
        voids = len(state.spent) - len(records) if state is not None else 0
        budgets = self._budgets(plan, records, voids)
        return FederationAnswer(
            state=status.state,
            run=plan.run,
            private=True,
            delta=plan.delta,
            sites=tuple(
                SiteHealth(
                    name=site.name,
                    state=site.state,
                    ledger_row=site.ledger_row,
                    rounds=sum(site.name in record.survivors for record in records),
                    central=_of_cap(budgets.get(site.name), plan.eps_c, "central"),
                    local=_of_cap(budgets.get(site.name), plan.eps_l, "local"),
                )
                for site in status.sites
            ),
            rounds=tuple(_point(record) for record in records if record.phase == Phase.ROUNDS),
        )

    def _budgets(
        self, plan: Plan, records: tuple[RoundRecord, ...], voids: int
    ) -> dict[str, Tiers]:
        """What each site has spent in this run, void attempts at the plan's least honest sites."""
        key = (plan.run, len(records) + voids)
        if key not in self._spent:
            names = sorted({name for record in records for name in record.survivors})
            least = [Spent(GRADIENT, plan.n_min - plan.colluders)] * voids
            self._spent = {
                key: {
                    name: epsilons(
                        plan,
                        [
                            *(
                                Spent(record.kind, len(record.survivors) - plan.colluders)
                                for record in records
                                if name in record.survivors
                            ),
                            *least,
                        ],
                    )
                    for name in names
                }
            }
        return self._spent[key]


def _of_cap(spent: Tiers | None, cap: float, tier: str) -> Budget:
    used = 0.0 if spent is None else spent.central if tier == "central" else spent.local
    return Budget(used=used, cap=cap)


def _point(record: RoundRecord) -> RoundPoint:
    return RoundPoint.model_validate(
        {
            "round": record.round,
            "ndcg@10": record.ndcg,
            "ndcg_se": record.ndcg_se,
            "central_epsilon": record.central_epsilon,
            "local_epsilon": record.local_epsilon,
            "bytes": record.bytes,
            "seconds": record.seconds,
        }
    )


def _budget(tier: dict[str, Any] | None) -> Budget | None:
    """None where a site's policy caps the other tier alone, or nothing was charged."""
    if tier is None or tier["used"] is None or tier["cap"] is None:
        return None
    return Budget(used=tier["used"], cap=tier["cap"])


def _quality(rows: list[dict[str, Any]]) -> tuple[Comparison, ...]:
    found = {row["model"]: row["metrics"] for row in rows if row["slice"] == "all"}
    return tuple(
        Comparison(
            model=name,
            metric=_METRIC,
            value=found[name][_METRIC]["mean"],
            sd=found[name][_METRIC].get("sd"),
        )
        for name in _SHOWN
        if name in found
    )
