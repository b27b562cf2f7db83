"""The federation's health as the dashboard shows it, read from what a run leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from groundswell.shared.errors import ModelError
from groundswell.shared.questions import (
    Budget,
    Comparison,
    FederationAnswer,
    RoundPoint,
    SiteHealth,
)

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
    """A run's output folder: ``results.json`` and the sites' folders beside the model.

    Args:
        folder: what ``groundswell simulate --out`` left.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def health(self) -> FederationAnswer:
        """The run's learning curve, and what each site's users have spent of the budget.

        Raises:
            ModelError: ``results.json`` is damaged.
        """
        path = self._folder / "results.json"
        if not path.exists():
            return FederationAnswer(state="unknown")
        try:
            results: dict[str, Any] = json.loads(path.read_text("utf-8"))
            privacy = results["privacy"]
            return FederationAnswer(
                state="finished",
                private=privacy["private"],
                seeded=privacy["seeded"],
                delta=privacy["delta"],
                sites=self._sites(privacy, len(results["rounds"])),
                rounds=tuple(RoundPoint.model_validate(each) for each in results["rounds"]),
                quality=_quality(results["rows"]),
            )
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            raise ModelError(f"{path.name} can't be read: {error}") from error

    def _sites(self, privacy: dict[str, Any], rounds: int) -> tuple[SiteHealth, ...]:
        folder = self._folder / "sites"
        names = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
        return tuple(
            SiteHealth(
                name=name,
                state="finished",
                rounds=rounds,
                central=_budget(privacy["central"]),
                local=_budget(privacy["local"]),
            )
            for name in names
        )


def _budget(tier: dict[str, Any]) -> Budget | None:
    used, cap = tier.get("epsilon"), tier.get("reserved_epsilon")
    return None if used is None or cap is None else Budget(used=used, cap=cap)


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
