"""Trends over all sites, from the demand that a run released with its model.

The release went through the training's own path and ledger; what is made of it here is free.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from groundswell.shared.answering import ServedModel
from groundswell.shared.demand_release import DemandBlock
from groundswell.shared.demand_trends import demand_trends
from groundswell.shared.durations import format_duration
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.questions import LabelTrend, TrendsAnswer, TrendsRequest, moment

UNIT = "shoppers a window, very active ones counted in part"


class ModelTrends:
    """``TrendSource`` over released models.

    Args:
        model: gives a version or alias, for None the default; asked anew for every question.
    """

    def __init__(self, model: Callable[[str | None], ServedModel]) -> None:
        self._model = model

    def trends(self, request: TrendsRequest) -> TrendsAnswer:
        """The trends of the labels asked for.

        Raises:
            Refusal: ``no-trends``: the run released no demand, or too few windows of it;
                ``unknown-region``; ``unknown-action``: it released none of this action alone.
            InputError: the catalogue does not hold a label.
        """
        model = self._model(request.model)
        block = _block(model, request)
        for label in request.labels:
            if label not in model.forecaster.catalogue.index:
                raise InputError(
                    "labels", label, "the model's catalogue holds no such label", "see its labels"
                )
        found = _all_trends(model, block, request.lead)
        if found is None:
            raise Refusal("no-trends", "too few windows were released to learn trends from")
        region = model.regions[request.region] if request.region is not None else None
        wanted = set(request.labels)
        chosen = [each for each in found if not wanted or each.label in wanted]
        return TrendsAnswer(
            as_of=moment(model.demand[block].as_of),
            window=format_duration(model.forecaster.task.window),
            unit=UNIT,
            region=request.region,
            action=request.action,
            sites=region.sites if region else None,
            privacy=region.privacy if region else model.privacy,
            trends=tuple(chosen[: request.top]),
            regions=_regions(model),
            actions=_actions(model, request.region),
        )


def _block(model: ServedModel, request: TrendsRequest) -> DemandBlock:
    """The released block that a question is about."""
    region, action = request.region, request.action
    if DemandBlock(region=region) not in model.demand:
        if region is None:
            raise Refusal("no-trends", "no federated demand was released for this model")
        raise Refusal(
            "unknown-region",
            f"the sites of {region!r} made no release of their own for this model; those of "
            f"{', '.join(_regions(model)) or 'no region'} did",
        )
    block = DemandBlock(action, region)
    if block not in model.demand:
        known = ["all actions together", *_actions(model, region)]
        raise Refusal(
            "unknown-action",
            f"the run released no demand of {action!r} alone; it has: {', '.join(known)}",
        )
    return block


def _regions(model: ServedModel) -> tuple[str, ...]:
    return tuple(sorted({each.region for each in model.demand if each.region is not None}))


def _actions(model: ServedModel, region: str | None) -> tuple[str, ...]:
    """The actions whose demand the sites of ``region`` released alone."""
    blocks = (each for each in model.demand if each.region == region)
    return tuple(sorted(each.action for each in blocks if each.action is not None))


@lru_cache(maxsize=16)
def _all_trends(model: ServedModel, block: DemandBlock, lead: int) -> tuple[LabelTrend, ...] | None:
    found = demand_trends(model.demand[block], model.labels, model.forecaster.task, lead)
    return None if found is None else tuple(found)
