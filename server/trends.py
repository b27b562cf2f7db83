"""Trends over all sites, from the demand that a run released with its model.

The release went through the training's own path and ledger; what is made of it here is free.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from groundswell.shared.answering import ServedModel
from groundswell.shared.demand_trends import demand_trends
from groundswell.shared.durations import format_duration
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.questions import LabelTrend, TrendsAnswer, TrendsRequest, moment

UNIT = "shoppers a window, very active ones counted in part"


class ModelTrends:
    """``TrendSource`` over the model that answers by default.

    Args:
        model: gives that model; asked anew for every question.
    """

    def __init__(self, model: Callable[[], ServedModel]) -> None:
        self._model = model

    def trends(self, request: TrendsRequest) -> TrendsAnswer:
        """The trends of the labels asked for.

        Raises:
            Refusal: ``no-trends``: the run released no demand, or too few windows of it;
                ``unknown-region``.
            InputError: the catalogue does not hold a label.
        """
        model = self._model()
        if model.demand is None:
            raise Refusal("no-trends", "no federated demand was released for this model")
        if request.region is not None:
            raise Refusal("unknown-region", f"no region {request.region} has a roster of its own")
        for label in request.labels:
            if label not in model.forecaster.catalogue.index:
                raise InputError(
                    "labels", label, "the model's catalogue holds no such label", "see its labels"
                )
        found = _all_trends(model, request.lead)
        if found is None:
            raise Refusal("no-trends", "too few windows were released to learn trends from")
        wanted = set(request.labels)
        chosen = [each for each in found if not wanted or each.label in wanted]
        return TrendsAnswer(
            as_of=moment(model.demand.as_of),
            window=format_duration(model.forecaster.task.window),
            unit=UNIT,
            region=None,
            sites=None,
            privacy=model.privacy,
            trends=tuple(chosen[: request.top]),
        )


@lru_cache(maxsize=8)
def _all_trends(model: ServedModel, lead: int) -> tuple[LabelTrend, ...] | None:
    if model.demand is None:
        return None
    found = demand_trends(model.demand, model.labels, model.forecaster.task, lead)
    return None if found is None else tuple(found)
