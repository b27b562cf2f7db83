"""The model of a finished run on disk, with what it promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from groundswell.server.checkpointing import RunState
from groundswell.server.coordinator_planning import Workshop
from groundswell.server.registry import Registry
from groundswell.server.run_folder import RunFolder
from groundswell.server.spending import epsilons, reserved
from groundswell.server.versions import Provenance
from groundswell.shared import checkpoint
from groundswell.shared.accounting import central_multiplier, tpr_bound
from groundswell.shared.blocks import own_statistics
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.checkpoint import Checkpoint, model_weights
from groundswell.shared.demand_release import RegionRelease, belongs_to, of_region
from groundswell.shared.errors import GroundswellError
from groundswell.shared.histories import Float32
from groundswell.shared.inputs import task_from
from groundswell.shared.model import initialise, load_weights
from groundswell.shared.plan import DEMAND, GRADIENT, Phase, Plan
from groundswell.shared.spec import ModelSpec


def write(
    folder: Path, workshop: Workshop, plan: Plan, state: RunState, start: Sequence[Checkpoint] = ()
) -> list[Checkpoint]:
    """Write the checkpoint of a run, or one for each of several catalogues, in ``folder/NAME``.

    They share adapter and head; each has the labels and statistics of its catalogue.

    Args:
        start: the released model that a run without rounds refreshes, or a region's run adds its
            demand to; its weights stay.

    Raises:
        GroundswellError: the run of a region ended without its demand.
    """
    before = {each.catalogue.hash: each for each in start}
    several = len(workshop.catalogues) > 1
    written = []
    for number, catalogue in enumerate(workshop.catalogues):
        statistics = own_statistics(state.model.statistics, plan.catalogues, number)
        own = before.get(catalogue.hash)
        if plan.region:
            written.append(_with_region(plan, state, own, statistics))
        elif several and not statistics:
            continue  # no site of it was ever there; the run says so
        elif plan.rounds == 0 and start:
            written.append(
                replace(
                    own or replace(start[0], catalogue=catalogue, regions={}),
                    statistics=statistics,
                    statistics_as_of=_as_of(plan, state, catalogue, own),
                    privacy=privacy_of(plan, state),
                )
            )
        else:
            written.append(_trained(workshop, plan, state, catalogue, statistics, own))
    for each in written:
        place = folder / each.catalogue.name if several else folder
        checkpoint.save(place, each, workshop.backbone)
    return written


def folders(model: Path) -> list[Path]:
    """The model folders that ``write`` made of a run: itself, or one for each catalogue."""
    if (model / "manifest.json").exists():
        return [model]
    return sorted(path.parent for path in model.glob("*/manifest.json"))


def _trained(
    workshop: Workshop,
    plan: Plan,
    state: RunState,
    catalogue: Catalogue,
    statistics: Mapping[str, Float32],
    start: Checkpoint | None,
) -> Checkpoint:
    spec = ModelSpec.from_dict(plan.model)
    model = workshop.model(spec)
    initialise(model, plan.hash())
    load_weights(model, state.model.weights)
    return Checkpoint(
        spec,
        task_from(workshop.config),
        catalogue,
        plan.backbone_hash,
        model_weights(model),
        statistics,
        _as_of(plan, state, catalogue, start),
        privacy=privacy_of(plan, state),
        card=_card(plan, state),
        regions=start.regions if start is not None else {},
    )


def _as_of(
    plan: Plan, state: RunState, catalogue: Catalogue, start: Checkpoint | None
) -> int | None:
    """Until when the newest of a catalogue's statistics saw events."""
    schedule = plan.schedule
    for phase, until in (
        (Phase.REFRESH, schedule.train_until),
        (Phase.STATISTICS, schedule.stats_until),
    ):
        missed = {
            each.kind
            for each in state.left_out
            if each.phase == phase and each.catalogue in ("", catalogue.name)
        }
        if any(phase in each.phases and each.kind not in missed for each in plan.releases):
            return until
    return schedule.train_until if start is None else start.statistics_as_of


def _with_region(
    plan: Plan, state: RunState, start: Checkpoint | None, statistics: Mapping[str, Float32]
) -> Checkpoint:
    """``start`` with the demand that a region's sites released; all else of it stays."""
    records = [record for record in state.records if record.kind == DEMAND]
    until = plan.schedule.train_until
    if start is None or not records or until is None:
        raise GroundswellError(f"the sites of {plan.region} released no demand; run it again")
    own = of_region(statistics, plan.region)
    if not own:  # none of the sites had this catalogue
        return start
    release = RegionRelease(until, len(records[-1].survivors), privacy_of(plan, state))
    others = {
        name: tensor
        for name, tensor in start.statistics.items()
        if not belongs_to(name, plan.region)
    }
    return replace(
        start,
        statistics={**others, **own},
        regions={**start.regions, plan.region: release},
    )


def register(registry: Path, run: RunFolder, plan: Plan, state: RunState) -> list[str]:
    """Add a run's model to the registry, which the gateway serves; returns its versions.

    Of several catalogues each has a line of versions of its own, called as the catalogue is.
    """
    rounds = [record.round for record in state.records if record.kind == GRADIENT]
    scores = [record for record in state.records if record.ndcg is not None]
    metrics: dict[str, float] = {}
    if scores and scores[-1].ndcg is not None and scores[-1].ndcg_se is not None:
        metrics = {"ndcg@10": scores[-1].ndcg, "ndcg@10_se": scores[-1].ndcg_se}
    opened, versions = Registry.open(str(registry)), []
    for folder in folders(run.model_folder):
        provenance = Provenance(
            run=plan.run,
            round=max(rounds, default=0),
            plan_hash=plan.hash().hex(),
            metrics=metrics,
            line=folder.name if len(plan.catalogues) > 1 else "",
        )
        versions.append(opened.add(folder, provenance).version)
    return versions


def privacy_of(plan: Plan, state: RunState) -> dict[str, Any]:
    """The privacy object of manifests and results, for a deployed run."""
    spent, whole = epsilons(plan, state.spent), reserved(plan)
    release = plan.release(GRADIENT) or plan.releases[0]
    honest = plan.n_min - plan.colluders
    central_sigma = central_multiplier(release.noise_multiplier, honest, release.scale)
    return {
        "private": True,
        "seeded": False,
        "delta": plan.delta,
        "central": {
            "epsilon": spent.central,
            "reserved_epsilon": whole.central,
            "noise_multiplier": central_sigma,
            "tpr_at_1pct_fpr": tpr_bound(spent.central, plan.delta),
        },
        "local": {
            "epsilon": spent.local,
            "reserved_epsilon": whole.local,
            "noise_multiplier": release.noise_multiplier,
            "tpr_at_1pct_fpr": tpr_bound(spent.local, plan.delta),
        },
        "excludes": ["earlier runs of the same sites: see each site's ledger"],
    }


def _card(plan: Plan, state: RunState) -> str:
    spent = epsilons(plan, state.spent)
    rounds = sum(record.kind == GRADIENT for record in state.records)
    left_out = f"Left out: {', '.join(map(str, state.left_out))}.\n" if state.left_out else ""
    return (
        f"# Groundswell model of run {plan.run}\n\n"
        f"Trained in {rounds} rounds over data sites that kept their events.\n\n"
        "The protected unit is all of one user's events at one site. At delta "
        f"{plan.delta:g} this run spent epsilon {spent.central:.3f} against whoever sees "
        f"aggregates and model with {plan.colluders} colluding merchants, and "
        f"{spent.local:.3f} against the coordinator and all other sites together.\n"
        f"{left_out}"
    )
