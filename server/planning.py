"""Makes a plan: from what the operator wants, and what is public about the federation."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groundswell.shared.blocks import dimension, max_nonzero
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.config import ROUNDS, Config
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.plan import (
    DEMAND,
    EVALUATION,
    GRADIENT,
    CatalogueReference,
    OptimiserPlan,
    Phase,
    Plan,
    PlannedRelease,
    Schedule,
)
from groundswell.shared.roster import colluding_sites, least_threshold
from groundswell.shared.scaling import scale
from groundswell.shared.sizing import KindBudget, SizedPlan, default_budgets, size_plan
from groundswell.shared.statistics import STATISTICS, statistic_of
from groundswell.shared.task import EvaluationTimes, Task
from groundswell.shared.transfer import ModelState

EVALUATION_CLIP = float(np.sqrt(2.0))
EVALUATION_DIMENSION = 2  # a user's mean NDCG, and 1


@dataclass(frozen=True)
class Federation:
    """What is public about the sites.

    Attributes:
        merchants: the merchant of each site.
        declared_users: their declared users together.
    """

    merchants: Sequence[str]
    declared_users: int


@dataclass(frozen=True)
class ModelFacts:
    """What the plan must say of the model.

    Attributes:
        backbone, backbone_hash: public name and hash (hex).
        description: the model's own settings, as JSON values.
        initial: the state before the first round, without statistics.
    """

    backbone: str
    backbone_hash: str
    description: dict[str, object]
    initial: ModelState


def budgets(config: Config) -> list[KindBudget]:
    """The kinds of release of a run, before their noise is known."""
    shares = {
        (GRADIENT if name == ROUNDS else name): share
        for name, share in config.privacy.split.items()
    }
    for kind in config.model.statistics:
        if kind not in shares:
            raise InputError(
                "[privacy].split", kind, "the statistic has no share of the budget", "give it one"
            )
    return default_budgets(
        config.train.rounds,
        config.train.sampling_rate,
        # A run without rounds is the refresh alone: each statistic once.
        refreshes=config.train.refreshes if config.train.rounds else 0,
        evaluations=config.train.evaluations if config.train.rounds else 0,
        statistics=config.model.statistics,
        shares=shares,
    )


def size(config: Config, federation: Federation) -> SizedPlan:
    """The least noise that meets the caps of the configuration."""
    return size_plan(
        budgets(config),
        eps_c=config.privacy.eps_c,
        eps_l=config.privacy.eps_l,
        delta=config.resolved_delta(federation.declared_users),
        n_min=config.resolved_n_min(len(federation.merchants)),
        colluders=config.privacy.colluders,
    )


def size_refresh(config: Config, federation: Federation, rounds: int) -> SizedPlan:
    """Each statistic once, at the noise that it has in a whole run of ``rounds`` rounds.

    So an entry of a site's menu that pays for such a run pays for the refresh too.

    Raises:
        InputError: the configuration has no statistics.
    """
    if not config.model.statistics:
        raise InputError("--rounds", 0, "there are no statistics to refresh", "train with rounds")
    train = config.train.model_copy(update={"rounds": rounds})
    whole = size(config.model_copy(update={"train": train}), federation)
    return whole.only(*config.model.statistics)


def region_plan_terms(
    config: Config, region: str, federation: Federation, everyone: Federation
) -> tuple[Config, SizedPlan]:
    """Configuration and noise of the release of a region's demand, by its own sites alone.

    The noise is what demand has in a whole run of a federation of this size, so that the release
    costs what the configuration gives to demand.

    Args:
        federation: the region's sites.
        everyone: all sites; delta follows from them, since sites hold one delta for a window.

    Raises:
        Refusal: ``region-too-small``: the sites are too few for a roster of their own.
        InputError: the configuration releases no demand.
    """
    if DEMAND not in config.model.statistics:
        raise InputError(
            "--region", region, "no demand is released", 'put "demand" into [model].statistics'
        )
    sites, colluders = len(federation.merchants), config.privacy.colluders
    n_min = config.resolved_n_min(sites)
    honest = sites - colluding_sites(federation.merchants, colluders)
    if sites < n_min or honest < n_min - colluders:
        raise Refusal(
            "region-too-small",
            f"{region} has {sites} sites, {honest} of them surely honest; a roster of its own "
            f"needs {n_min} and {n_min - colluders}",
        )
    delta = config.resolved_delta(everyone.declared_users)
    privacy = config.privacy.model_copy(update={"delta": delta})
    fixed = config.model_copy(update={"privacy": privacy})
    alone = fixed.model_copy(update={"train": config.train.model_copy(update={"rounds": 0})})
    return alone, size(fixed, federation).only(DEMAND)


def make_plan(
    config: Config,
    federation: Federation,
    sized: SizedPlan,
    catalogues: Sequence[Catalogue],
    task: Task,
    times: EvaluationTimes,
    model: ModelFacts,
    *,
    run: str | None = None,
    seconds_per_slot: float = 0.0,
    region: str = "",
) -> Plan:
    """A plan that every site can check and accept by its hash.

    Args:
        catalogues: of all sites together, each once.
        run: 32 hex digits; drawn at random by default.
        seconds_per_slot: when a site sends its vector, counted from the request.
        region: the only one whose sites take part; empty: all.
    """
    weights = len(model.initial.flat_weights())
    references = tuple(
        CatalogueReference(name=each.name, hash=each.hash, labels=len(each)) for each in catalogues
    )
    releases = [
        _release(config, entry.kind, sized, weights, references)
        for entry in sized.kinds
        if entry.count
    ]
    return Plan(
        run=run or secrets.token_hex(16),
        threshold=least_threshold(list(federation.merchants), config.privacy.colluders),
        n_min=config.resolved_n_min(len(federation.merchants)),
        colluders=config.privacy.colluders,
        delta=sized.delta,
        eps_c=config.privacy.eps_c,
        eps_l=config.privacy.eps_l,
        rounds=config.train.rounds,
        examples_per_user=config.train.examples_per_user,
        clipping=config.privacy.clipping,
        releases=tuple(releases),
        catalogues=references,
        backbone=model.backbone,
        backbone_hash=model.backbone_hash,
        initial_model_hash=model.initial.hash().hex(),
        task=task.model_dump(mode="json"),
        model=model.description,
        schedule=_schedule(times, task),
        optimiser=OptimiserPlan(
            name=config.train.optimiser,
            learning_rate=config.train.learning_rate,
            adapter_learning_rate=config.train.adapter_learning_rate,
            momentum=config.train.momentum,
            beta2=config.train.beta2,
            cosine=config.train.cosine,
            average_from=config.train.average_from,
            weight_decay=config.train.weight_decay,
            l1=config.train.l1,
            early_stopping=config.train.early_stopping,
        ),
        seconds_per_slot=seconds_per_slot,
        region=region,
        later_refreshes=_later_refreshes(config),
    )


def _later_refreshes(config: Config) -> int:
    """Refreshes that the noise is sized for beside the run's own."""
    return config.train.refreshes - 1 if config.train.rounds and config.model.statistics else 0


def _release(
    config: Config,
    kind: str,
    sized: SizedPlan,
    weights: int,
    catalogues: Sequence[CatalogueReference],
) -> PlannedRelease:
    entry = sized.kind(kind)
    actions = config.model.demand_actions if kind == DEMAND else ()
    phases: tuple[Phase, ...]
    if kind == GRADIENT:
        clip, size, nonzero = config.privacy.clip_norm, weights, weights
        phases = (Phase.ROUNDS,)
    elif kind == EVALUATION:
        clip, size, nonzero = EVALUATION_CLIP, EVALUATION_DIMENSION, EVALUATION_DIMENSION
        phases = (Phase.EVALUATION,)
    else:
        statistic = statistic_of(kind, actions, config.model.statistics)
        clip, size = statistic.clip_norm, dimension(statistic, catalogues)
        nonzero = max_nonzero(statistic, catalogues)
        first = config.train.rounds > 0 and statistic.before_rounds
        phases = (Phase.STATISTICS, Phase.REFRESH) if first else (Phase.REFRESH,)
    return PlannedRelease(
        kind=kind,
        phases=phases,
        noise_multiplier=entry.noise_multiplier,
        sampling_rate=entry.sampling_rate,
        clip_norm=clip,
        scale=scale(entry.noise_multiplier, nonzero),
        dimension=size,
        max_nonzero=nonzero,
        count=entry.count - (_later_refreshes(config) if kind in STATISTICS else 0),
        retries=entry.retries,
        actions=actions,
    )


def _schedule(times: EvaluationTimes, task: Task) -> Schedule:
    train = times.train
    return Schedule(
        train_from=int(train[0]),
        stats_until=times.stats_until,
        train_until=int(train[-1]) + task.window_us,
        step=task.step_us,
        evaluate_at=tuple(int(at) for at in times.validation),
    )
