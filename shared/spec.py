"""What a model is made of: constants that stand in the plan, each with its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any

from groundswell.shared import features, next_item
from groundswell.shared.backbone_name import DEFAULT
from groundswell.shared.config import Model
from groundswell.shared.errors import InputError
from groundswell.shared.features import Family

REPEAT, NEXT = "repeat", "next"


@dataclass(frozen=True)
class Head:
    """What a head weighs.

    Attributes:
        scores: non-negative, mixed; tilts: of either sign, added to the mixture's logarithm.
        text_tilts: whether the text score tilts too, as a cosine; else it is mixed.
        initial: weights before the first round, public constants: logarithms of the scores' gates,
            and the tilts' factors.
    """

    scores: tuple[str, ...]
    tilts: tuple[str, ...]
    text_tilts: bool
    initial: Mapping[str, float]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the weights, in their order."""
        return (*self.scores, TEXT, *self.tilts)


TEXT = "text"
HEADS: Mapping[str, Head] = MappingProxyType(
    {
        # A user's own counts lead and population scores stand behind, in orders of magnitude only,
        # since the rounds train them; and no tilt.
        REPEAT: Head(
            tuple(features.SCORES),
            features.TILTS,
            False,
            MappingProxyType(
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
                    TEXT: -3.0,
                    **dict.fromkeys(features.TILTS, 0.0),
                }
            ),
        ),
        # Popularity, tilted by whatever is like the history.
        NEXT: Head(
            next_item.SCORES,
            tuple(next_item.TILTS),
            True,
            MappingProxyType(
                {
                    "popularity": -3.0,
                    TEXT: 1.0,
                    **dict.fromkeys(next_item.TILTS, 0.0),
                    "followed": 0.5,
                    "followed_share": 0.3,
                    "likeness": 1.0,
                    "nearest": 2.0,
                    "words": 1.0,
                    "group": 1.0,
                }
            ),
        ),
    }
)


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
        head: ``repeat`` where shoppers return to the labels, ``next`` where labels are items of
            which one follows the other.
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
    head: str = REPEAT
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

    @property
    def weighed(self) -> Head:
        """What its head weighs."""
        return HEADS[self.head]

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
            head=section.head,
            habit=section.habit,
            statistics=bool(section.statistics),
            bert=section.bert,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for plan and manifest; plans and models of the first head don't name it."""
        values = asdict(self)
        if self.head == REPEAT:
            del values["head"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """The inverse of ``to_dict``.

        Raises:
            InputError: a key that no specification has, or a head that there is not.
        """
        known = {entry.name for entry in fields(cls)}
        for key in values:
            if key not in known:
                raise InputError(
                    "model", key, "is unknown", f"the keys are: {', '.join(sorted(known))}"
                )
        if values.get("head", REPEAT) not in HEADS:
            raise InputError(
                "model.head", values["head"], "is unknown", f"one of: {', '.join(HEADS)}"
            )
        return cls(**values)
