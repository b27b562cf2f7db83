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
NO_GROUPS = "federated_private_no_groups"
NO_WORDS = "federated_private_no_words"


@dataclass(frozen=True)
class Variant:
    """A federated model: which parts are on, and whether its sites add noise.

    Attributes:
        groups: whether the catalogue's groups are known.
    """

    name: str
    config: Config
    spec: ModelSpec
    noisy: bool = True
    groups: bool = True


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


def unseen_variants(config: Config) -> list[Variant]:
    """The private models that rank labels held out of training, by what they know of them.

    Text (through BERT) and group are both words of the catalogue, and the text holds the group's
    name. Either, both or neither is known, so that each one's worth can be told from the other's.
    """
    spec = ModelSpec.of(config.model)
    without = replace(spec, bert=False)
    return [
        Variant(PRIVATE, config, spec),
        Variant(NO_BERT, config, without),
        Variant(NO_GROUPS, config, spec, groups=False),
        Variant(NO_WORDS, config, without, groups=False),
    ]
