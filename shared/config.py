"""The schema of ``groundswell.toml``: every key, its type, its default and its meaning.

``docs/config.md`` is generated from this file. Defaults are the demo's. ``config_file.py`` reads
and writes the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from groundswell.shared.config_data import CatalogueSection, Data, Names, Section, Sites, listed
from groundswell.shared.durations import Duration
from groundswell.shared.errors import InputError

ROUNDS = "rounds"  # the budget share of the training rounds, beside those of the statistics


class TaskSection(Section):
    """What is forecast."""

    window: Duration = Field(default=timedelta(days=7), description="length of the forecast window")
    history: Duration = Field(
        default=timedelta(days=730), description="how far back from a forecast events are looked at"
    )
    actions: dict[str, float] = Field(
        default_factory=lambda: {"purchase": 1.0},
        description="weight of each action in the target; others count in habit and text only",
    )
    horizons: int = Field(
        default=1, ge=1, le=52, description="number of consecutive windows forecast"
    )
    session_gap: Duration = Field(
        default=timedelta(0),
        description="events of a user closer than this are one basket; 0: same time",
    )
    day_offset: Duration = Field(
        default=timedelta(0), description="how long after midnight UTC a day begins"
    )
    calendar: str | None = Field(
        default=None,
        description="CSV `date,name,category` of holidays and promotions known in advance",
    )


class Evaluation(Section):
    """Windows held back at the end; the saved model is trained on all before them."""

    validation: int = Field(default=2, ge=0, description="windows that choose")
    test: int = Field(default=0, ge=0, description="windows after those, looked at once")
    step: Duration = Field(
        default=timedelta(days=7), description="distance between prediction times"
    )


Statistic = Literal["popularity", "h5", "pairs", "transitions", "demand"]
# What a head reads; demand is for trends, whatever the head.
STATISTICS_OF_HEADS: Mapping[str, tuple[Statistic, ...]] = MappingProxyType(
    {"repeat": ("popularity", "h5", "pairs"), "next": ("popularity", "transitions")}
)
# Defaults that another head than the first one changes (docs/benchmarks.md).
DEFAULTS_OF_HEADS: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "next": {
            "model": {"statistics": STATISTICS_OF_HEADS["next"]},
            "privacy": {
                "clip_norm": 1.0,
                "split": {"popularity": 0.13, "transitions": 0.77, "demand": 0.2, "rounds": 0.1},
            },
            "train": {"learning_rate": 0.3},
        }
    }
)


class Model(Section):
    """The four parts of the model; each can be switched off."""

    backbone: str = Field(
        default="all-MiniLM-L6-v2",
        description="a Hugging Face encoder, by name or as a local folder",
    )
    download: bool = Field(
        default=False, description="whether the backbone may be fetched by its name"
    )
    bert: bool = Field(default=True, description="interest state: event texts through the backbone")
    layers: int = Field(
        default=1, ge=1, description="top layers of the backbone that carry an adapter"
    )
    rank: int = Field(default=8, ge=1, description="rank of the LoRA adapter")
    frozen_a: bool = Field(
        default=True,
        description="train LoRA's B alone, so that noise enters once (FFA-LoRA); false: A as well, "
        "with about twice the coordinates and without looked-up products",
    )
    input: Literal["events", "prompt"] = Field(
        default="events",
        description="how the interest state reads a history: event by event from cached texts, or "
        "as one text (far slower)",
    )
    prompts: dict[str, str] = Field(
        default_factory=lambda: {
            "en": "Lately, newest first, this shopper did: {events}",
            "zh": "这位顾客最近的行为，由近到远：{events}",
        },
        description='for `input = "prompt"`: the text around a history\'s events, by language',
    )
    language: str = Field(
        default="en", validate_default=True, description="which of `prompts` is used"
    )
    max_events: int = Field(
        default=16, ge=1, description="strongest recent events that the interest state reads"
    )
    head: Literal["repeat", "next"] = Field(
        default="repeat",
        description="repeat: shoppers return to the labels, as to categories; next: labels are "
        "items, seldom taken twice, and one follows the other; it has defaults of its own",
    )
    habit: bool = Field(
        default=True, description="features of the user's own events for each label"
    )
    statistics: Annotated[tuple[Statistic, ...], BeforeValidator(listed)] = Field(
        default=STATISTICS_OF_HEADS["repeat"],
        description="statistics over users: popularity; for the head repeat h5 and pairs, for the "
        "head next transitions; demand (weekly counts for trends); empty: none",
    )
    demand_actions: Names = Field(
        default=(),
        description='actions of [task].actions whose demand is also released alone, as `["search"]`'
        " for search surges; more blocks of the one vector, at the same price and noise",
    )

    @model_validator(mode="after")
    def _read_by_the_head(self) -> Model:
        known = (*STATISTICS_OF_HEADS[self.head], "demand")
        idle = [kind for kind in self.statistics if kind not in known]
        key, chosen = "[model].statistics", ", ".join(self.statistics)
        if idle:
            raise InputError(
                key,
                chosen,
                f"the head {self.head!r} reads no {idle[0]}, which would cost for nothing",
                f"name some of {', '.join(known)}",
            )
        for kind in ("pairs", "transitions"):
            if kind in self.statistics and "popularity" not in self.statistics:
                raise InputError(
                    key, chosen, f"{kind} are counted by what popularity releases", "name it too"
                )
        return self

    @field_validator("prompts")
    @classmethod
    def _with_events(cls, value: dict[str, str]) -> dict[str, str]:
        for language, text in value.items():
            if text.count("{events}") != 1:
                raise ValueError(f"the one for {language!r} must hold {{events}} once")
        return value

    @field_validator("language")
    @classmethod
    def _with_a_prompt(cls, value: str, info: ValidationInfo) -> str:
        if value not in info.data.get("prompts", {value}):
            raise ValueError(f"prompts has no {value!r}; write one, or change language")
        return value


class Privacy(Section):
    """The promise, and how its budget is shared."""

    eps_c: float = Field(default=3.0, gt=0, description="cap of the central tier's epsilon")
    eps_l: float = Field(default=8.0, gt=0, description="cap of the local tier's epsilon")
    delta: float | None = Field(
        default=None, gt=0, lt=1e-3, description="unset: the least of 1e-6 and 1 / (10 users)"
    )
    colluders: int = Field(
        default=1, ge=0, description="merchants that may work together against others"
    )
    n_min: int | None = Field(
        default=None, ge=2, description="sites that must survive a round; unset: max(3, sites - 2)"
    )
    clip_norm: float = Field(default=0.1, gt=0, description="L2 bound of one user's gradient")
    clipping: Literal["flat", "auto_s"] = Field(
        default="flat", description="how gradients are bounded"
    )
    split: dict[str, float] = Field(
        default_factory=lambda: {
            "popularity": 0.08,
            "h5": 0.57,
            "pairs": 0.15,
            "demand": 0.2,
            ROUNDS: 0.2,
        },
        description="share of mu^2 of each statistic and of the rounds; of those in use, scaled "
        "to the sum 1",
    )

    @field_validator("split")
    @classmethod
    def _shares(cls, value: dict[str, float]) -> dict[str, float]:
        if not all(share > 0 for share in value.values()) or ROUNDS not in value:
            raise ValueError(f"shares are above 0, and {ROUNDS!r} needs one")
        return value


class Train(Section):
    """The rounds."""

    rounds: int = Field(default=40, ge=0, description="rounds; fixed in the plan")
    sampling_rate: float = Field(default=0.5, gt=0, le=1, description="q: a user's chance a round")
    examples_per_user: int = Field(default=1, ge=1, description="most examples of a user a round")
    refreshes: int = Field(
        default=1, ge=1, description="releases of each statistic after the first, the run's own "
        "included, that the caps pay for; the others are for `train --rounds 0`",
    )  # fmt: skip
    evaluations: int = Field(
        default=1, ge=0, description="paid evaluations, the last after the last round"
    )
    optimiser: Literal["momentum", "adam", "dp_adam_bc"] = Field(
        default="adam", description="the coordinator's step"
    )
    learning_rate: float = Field(default=0.2, gt=0, description="step of the head")
    adapter_learning_rate: float = Field(default=0.001, gt=0, description="step of the adapter")
    momentum: float = Field(default=0.8, ge=0, lt=1, description="momentum, or Adam's first moment")
    beta2: float = Field(default=0.99, ge=0, lt=1, description="Adam's second moment")
    cosine: bool = Field(default=True, description="let the step fall by a cosine to 0")
    average_from: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="average the weights of the rounds after this part of them",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="L2 pull of the weights towards 0")
    l1: float = Field(default=0.0, ge=0, description="L1 pull of the weights towards 0")
    early_stopping: bool = Field(
        default=False,
        description="stop at a paid evaluation that fell by more than 3 standard errors",
    )
    seed: int = Field(default=0, ge=0, description="seed of a simulation")


class Config(Section):
    """A whole ``groundswell.toml``."""

    data: Data = Field(default_factory=Data)
    catalogue: CatalogueSection = Field(default_factory=CatalogueSection)
    sites: Sites = Field(default_factory=Sites)
    task: TaskSection = Field(default_factory=TaskSection)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    model: Model = Field(default_factory=Model)
    privacy: Privacy = Field(default_factory=Privacy)
    train: Train = Field(default_factory=Train)

    @model_validator(mode="before")
    @classmethod
    def _with_defaults_of_the_head(cls, given: Any) -> Any:
        model = given.get("model") if isinstance(given, Mapping) else None
        head = model.get("head") if isinstance(model, Mapping) else None
        filled = dict(given) if isinstance(given, Mapping) else given
        known = DEFAULTS_OF_HEADS.get(head, {}) if isinstance(head, str) else {}
        for section, values in known.items():
            table = filled.get(section, {})
            if isinstance(table, Mapping):
                filled[section] = {**values, **table}
        return filled

    @field_validator("model")
    @classmethod
    def _demand_of_known_actions(cls, value: Model, info: ValidationInfo) -> Model:
        task: TaskSection = info.data.get("task", TaskSection())
        key, chosen = "[model].demand_actions", value.demand_actions
        unknown = [action for action in chosen if action not in task.actions]
        if unknown:
            raise InputError(
                key, unknown[0], "is none of [task].actions", "name it there, if with the weight 0"
            )
        if len(set(chosen)) < len(chosen):
            raise InputError(key, list(chosen), "names an action twice", "name each once")
        if chosen and "demand" not in value.statistics:
            raise InputError(
                key, list(chosen), "no demand is released", 'put "demand" into [model].statistics'
            )
        return value

    @property
    def is_demo(self) -> bool:
        """Whether no events are named, so that the demo data is meant."""
        return not self.data.events

    def resolved_n_min(self, sites: int) -> int:
        """``[privacy].n_min``, or max(3, sites - 2)."""
        return self.privacy.n_min or max(3, sites - 2)

    def resolved_delta(self, users: int) -> float:
        """``[privacy].delta``, or the least of 1e-6 and 1 / (10 users).

        Raises:
            InputError: above 1 / (10 users): a delta per user must stay far below one user.
        """
        largest = 1 / (10 * max(users, 1))
        given = self.privacy.delta
        if given is not None and given > largest:
            raise InputError(
                "[privacy].delta", given, f"is above 1/(10 x {users} users)", "lower it"
            )
        return given or min(1e-6, largest)
