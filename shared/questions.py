"""What is asked of a model and what it answers: the one set of types behind every way in.

HTTP, gRPC, the Python client, the command line and a site's own socket carry these models. A
request is checked here, once, where it enters; unknown keys are errors.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from groundswell.shared.durations import Duration, format_duration

MAX_EVENTS = 10_000
MAX_TEXT = 1_000  # characters of one text, label or item key
MAX_TOP, MAX_BATCH, MAX_FILTER = 1_000, 256, 1_000
RISING, FADING = 1.25, 0.8  # lift above and below which an interest rises or fades

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT)]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,80}$")]  # or an alias
Line = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,64}$")]
# The first wrong one is told: gathering a million faults would hold up everyone.
Texts = Annotated[tuple[Text, ...], FailFast(), Field(max_length=MAX_FILTER)]
Window = Annotated[
    Duration,
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^(0|(\d{1,4}[wdhms])+)$", "maxLength": 20}),
]


def _utc(moment: datetime) -> datetime:
    """A time without a zone is UTC."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("in UTC the time lies outside the years 1 to 9999") from error


Time = Annotated[datetime, AfterValidator(_utc)]


class Trend(StrEnum):
    """How an interest stands to the user's own long-term rate."""

    RISING = "rising"
    STEADY = "steady"
    FADING = "fading"

    @classmethod
    def of(cls, lift: float) -> Trend:
        """rising if lift > 1.25, fading if < .8, else steady."""
        if lift > RISING:
            return cls.RISING
        return cls.FADING if lift < FADING else cls.STEADY


class Basis(StrEnum):
    """What a forecast rests on: the user's events, or the population alone."""

    HISTORY = "history"
    PRIOR = "prior"


class Question(BaseModel):
    """Base of what is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Event(Question):
    """One thing that a shopper did; one of ``item``, ``label`` and ``text`` at least says to what.

    An item or label that the catalogue does not hold counts by its text alone.
    """

    # A validator of ours would be called for each of thousands of events: ``microseconds`` takes
    # a time without a zone for UTC as well.
    time: datetime = Field(description="when, RFC 3339; without a zone it is UTC")
    action: Text = Field(default="purchase", description="what was done: purchase, view, search")
    item: Text | None = Field(default=None, description="key of an item of the catalogue")
    label: Text | None = Field(default=None, description="label of the catalogue, a category say")
    text: Text | None = Field(default=None, description="words searched, or a title")

    @model_validator(mode="after")
    def _says_to_what(self) -> Self:
        if self.item is None and self.label is None and self.text is None:
            raise ValueError("an event needs an item, a label or a text")
        return self


class HistoryQuestion(Question):
    """A question about one shopper's history before ``at``. Nothing of it is kept."""

    events: Annotated[tuple[Event, ...], FailFast()] = Field(default=(), max_length=MAX_EVENTS)
    at: Time | None = Field(
        default=None,
        description="beginning of the forecast; unset: just after the last event, now without one",
    )
    window: Window | None = Field(
        default=None,
        description="length of the forecast, the model's own, such as 7d; unset: that",
        examples=["7d"],
    )
    model: Version | None = Field(default=None, description="version or alias; unset: the default")


class PredictRequest(HistoryQuestion):
    """What will this shopper turn to in the coming window?"""

    top: int = Field(default=10, ge=1, le=MAX_TOP, description="most interests in the answer")


class BatchRequest(Question):
    """Several shoppers at once."""

    requests: Annotated[tuple[PredictRequest, ...], FailFast()] = Field(
        min_length=1, max_length=MAX_BATCH
    )


class Filters(Question):
    """Which items may be recommended; unset filters let everything pass."""

    labels: Texts = ()
    groups: Texts = ()
    exclude_items: Texts = ()
    only_new: bool = Field(default=False, description="leave out items in the history")
    only_rising: bool = Field(default=False, description="labels whose interest rises alone")
    per_label: int = Field(default=3, ge=1, le=MAX_TOP, description="most items of one label")


class RecommendRequest(HistoryQuestion):
    """Which items of the catalogue fit the interest of the coming window?"""

    top: int = Field(default=10, ge=1, le=MAX_TOP)
    filters: Filters = Filters()


class ExplainRequest(HistoryQuestion):
    """Which past events made this forecast?"""

    label: Text | None = Field(default=None, description="unset: the most probable label")
    method: Literal["shapley", "lime"] = "shapley"


class TrendsRequest(Question):
    """How does demand move over the sites?"""

    labels: Texts = Field(default=(), description="unset: all")
    region: Text | None = Field(default=None, description="a region with a roster of its own")
    action: Text | None = Field(default=None, description="one action, as search; unset: all")
    model: Version | None = Field(default=None, description="version or alias; unset: the default")
    top: int = Field(default=20, ge=1, le=MAX_TOP)
    lead: int = Field(default=2, ge=1, le=4, description="windows until a restock arrives")


class ModelsRequest(Question):
    """Which versions can be asked?"""


class Tier(Answer):
    """What one tier promises; null where the model was trained without privacy.

    Attributes:
        epsilon: of all releases behind the model.
        reserved_epsilon: what was charged before the survivors were known.
        tpr_at_1pct_fpr: bound on a membership test's hits at 1 % false alarms.
    """

    epsilon: float | None = None
    reserved_epsilon: float | None = None
    noise_multiplier: float | None = None
    tpr_at_1pct_fpr: float | None = None
    delta: float | None = None
    note: str | None = None


class Privacy(Answer):
    """Both tiers; an epsilon never stands alone."""

    central: Tier = Tier()
    local: Tier = Tier()


class Interest(Answer):
    """Share of the coming window's actions that a label gets."""

    label: str
    probability: float = Field(description="softmax share over labels; all labels sum to 1")
    lift: float = Field(description="probability over the user's own long-term rate")
    trend: Trend


class PredictAnswer(Answer):
    """Interests, most probable first."""

    model_version: str
    privacy: Privacy
    basis: Basis
    interests: tuple[Interest, ...]


class BatchAnswer(Answer):
    """One answer a request, in the requests' order."""

    answers: tuple[PredictAnswer, ...]


class Recommendation(Answer):
    """An item, how strongly it is recommended (at most its label's probability), and why."""

    item: str
    label: str
    score: float
    trend: Trend
    uses: int = Field(default=0, description="how often the shopper used it before")
    reason: str


class RecommendAnswer(Answer):
    """Items, best first."""

    model_version: str
    privacy: Privacy
    basis: Basis
    items: tuple[Recommendation, ...]


class Contribution(Answer):
    """What one past event, or the older events together, added to the probability.

    Attributes:
        time: of the event, the newest of several.
        events: how many events are summed up here.
    """

    time: datetime
    action: str
    what: str
    events: int
    contribution: float


class Habit(Answer):
    """A shopper's own habit with a label; numbers are null where it has none.

    Attributes:
        last_days: days since the last time; every_days: usual distance of two times, in days.
        words: the same for people.
    """

    times: int = 0
    last_days: float | None = None
    every_days: float | None = None
    of_last_five_baskets: int = 0
    words: str


class ExplainAnswer(Answer):
    """For ``shapley`` baseline and contributions add up to the probability."""

    model_version: str
    privacy: Privacy
    basis: Basis
    label: str
    method: Literal["shapley", "lime"]
    probability: float
    baseline: float = Field(description="probability without any history")
    contributions: tuple[Contribution, ...]
    habit: Habit


class Horizon(Answer):
    """Demand of one coming window: with even chance below P50, nine times in ten below P90."""

    window: int = Field(ge=1, description="1 is the coming window")
    p50: float
    p90: float


class LabelTrend(Answer):
    """How demand for a label moves over the sites.

    Attributes:
        history: released values of past windows, oldest first.
        noise: standard deviation of the noise on each of them; the newest has the least.
        resolvable: whether the signal stands out of the noise; if not, no forecast is given.
        surge: P(demand of the coming window > 1.5 x the mean of the last eight), with an interval
            that includes the noise.
        restock: P90 of the sum over the lead time.
    """

    label: str
    resolvable: bool
    trend: Trend
    history: tuple[float, ...]
    noise: tuple[float, ...]
    horizons: tuple[Horizon, ...] = ()
    surge: float | None = None
    surge_low: float | None = None
    surge_high: float | None = None
    restock: float | None = None


class TrendsAnswer(Answer):
    """Trends, the largest coming demand first; labels in the noise come last.

    ``regions`` may be asked for as well, and of the sites of this answer ``actions``.
    """

    as_of: datetime
    window: str
    unit: str
    region: str | None
    action: str | None = None
    sites: int | None
    privacy: Privacy
    trends: tuple[LabelTrend, ...]
    regions: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


class ModelVersion(Answer):
    """One version that can be asked."""

    version: str
    created: datetime | None = None
    aliases: tuple[str, ...] = ()
    run: str | None = None
    round: int | None = None
    labels: int
    window: str
    statistics_as_of: datetime | None = None
    privacy: Privacy
    metrics: dict[str, float] = {}
    hash: str
    signed: bool = False


class ModelsAnswer(Answer):
    """All versions, newest first."""

    default: str
    models: tuple[ModelVersion, ...]


class StreamRequest(Question):
    """One event of a session; the answer follows each. The session's memory ends with its TTL."""

    session: Version
    event: Event
    top: int = Field(default=10, ge=1, le=MAX_TOP)
    model: Version | None = None


class Fault(Answer):
    """Why a request was not answered."""

    code: str = Field(description="stable word in kebab case")
    detail: str
    key: str | None = None
    value: str | None = None
    rule: str | None = None
    remedy: str | None = None


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC; a time without a zone is UTC."""
    since = moment - (_EPOCH if moment.tzinfo is not None else _NAIVE_EPOCH)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def moment(microseconds_: int) -> datetime:
    """The inverse of ``microseconds``."""
    return _EPOCH + timedelta(microseconds=microseconds_)


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = _EPOCH.replace(tzinfo=None)
