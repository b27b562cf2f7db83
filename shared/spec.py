"""What a model is made of: constants that stand in the plan, each with its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any

from groundswell.shared.backbone_name import DEFAULT
from groundswell.shared.config import Model
from groundswell.shared.errors import InputError
from groundswell.shared.features import SCORES, TILTS, Family


@dataclass(frozen=True)
class ModelSpec:
    """The architecture.

    Attributes:
        backbone: public name of the language model.
        layers: top layers that the interest state runs through.
        rank: LoRA rank r; alpha: LoRA's scale is alpha / r.
        frozen_a: LoRA's A stays as it was drawn; else it trains with B.
        tokens: most events of a history that the interest state reads.
        prompt: template of a text that names these events (``prompts.py``), of which the state then
            reads the word pieces; empty: event tokens.
        sharpness: factor of the cosine between state and label in the text score.
        habit, statistics, bert: parts that may be switched off (ablations).
    """

    backbone: str = DEFAULT
    layers: int = 1
    rank: int = 8
    alpha: int = 8
    frozen_a: bool = True
    tokens: int = 16
    prompt: str = ""
    sharpness: float = 3.0
    habit: bool = True
    statistics: bool = True
    bert: bool = True

    @property
    def families(self) -> frozenset[Family]:
        """The parts that are on."""
        on = {
            Family.HABIT: self.habit,
            Family.STATISTICS: self.statistics,
            Family.BERT: self.bert,
        }
        return frozenset(family for family, switched in on.items() if switched)

    @classmethod
    def of(cls, section: Model) -> ModelSpec:
        """The model that a configuration's ``[model]`` describes."""
        return cls(
            backbone=section.backbone,
            layers=section.layers,
            rank=section.rank,
            frozen_a=section.frozen_a,
            tokens=section.max_events,
            prompt=section.prompts[section.language] if section.input == "prompt" else "",
            habit=section.habit,
            statistics=bool(section.statistics),
            bert=section.bert,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for plan and manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """The inverse of ``to_dict``.

        Raises:
            InputError: a key that no specification has.
        """
        known = {entry.name for entry in fields(cls)}
        for key in values:
            if key not in known:
                raise InputError(
                    "model", key, "is unknown", f"the keys are: {', '.join(sorted(known))}"
                )
        return cls(**values)


# The head before the first round: public constants. Logarithms of the gates, of which a user's own
# counts lead and population scores stand behind, in orders of magnitude only, since the rounds
# train them; and no tilt.
INITIAL_HEAD: Mapping[str, float] = MappingProxyType(
    {
        "decayed_7": -1.0,
        "decayed_21": -0.5,
        "decayed_60": 0.0,
        "decayed_150": 0.0,
        "share": -1.0,
        "popularity": -2.5,
        "repeat": -0.5,
        "group": -2.5,
        "association": -1.5,
        "neighbours": -3.0,
        "text": -3.0,
        **dict.fromkeys(TILTS, 0.0),
    }
)
HEAD_NAMES = (*SCORES, "text", *TILTS)
