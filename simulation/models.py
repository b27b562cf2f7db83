"""The models that a simulation compares, by their names in ``results.json``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from groundswell.shared.config import Config
from groundswell.shared.spec import ModelSpec

CENTRAL = "central"
FEDERATED = "federated"
PRIVATE = "federated_private"
LOCAL_ONLY = "local_only"
BACKOFF = "backoff"
NO_BERT = "federated_private_no_bert"
NO_STATISTICS = "federated_private_no_statistics"
NO_HABIT = "federated_private_no_habit"
MEASURED_ON_UNSEEN = (PRIVATE, NO_BERT)


@dataclass(frozen=True)
class Variant:
    """A federated model: which parts are on, and whether its sites add noise."""

    name: str
    config: Config
    spec: ModelSpec
    noisy: bool = True


def federated_variants(config: Config, *, everything: bool, private: bool) -> list[Variant]:
    """The federated models of a run; the first one is the model that is saved."""
    spec = ModelSpec.of(config.model)
    if not private:
        found = [Variant(FEDERATED, config, spec, noisy=False)]
        return found
    found = [
        Variant(PRIVATE, config, spec),
        Variant(NO_BERT, config, replace(spec, bert=False)),
    ]
    if everything:
        without = config.model_copy(
            update={"model": config.model.model_copy(update={"statistics": ()})}
        )
        found += [
            Variant(NO_STATISTICS, without, replace(spec, statistics=False)),
            Variant(NO_HABIT, config, replace(spec, habit=False)),
            Variant(FEDERATED, config, spec, noisy=False),
        ]
    return found
