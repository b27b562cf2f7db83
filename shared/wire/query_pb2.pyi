import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("time", "action", "item", "label", "text")
    TIME_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    action: str
    item: str
    label: str
    text: str
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., action: _Optional[str] = ..., item: _Optional[str] = ..., label: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class PredictRequest(_message.Message):
    __slots__ = ("events", "at", "window", "top", "model")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    at: _timestamp_pb2.Timestamp
    window: str
    top: int
    model: str
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., window: _Optional[str] = ..., top: _Optional[int] = ..., model: _Optional[str] = ...) -> None: ...

class Tier(_message.Message):
    __slots__ = ("epsilon", "reserved_epsilon", "noise_multiplier", "tpr_at_1pct_fpr", "delta", "note")
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    RESERVED_EPSILON_FIELD_NUMBER: _ClassVar[int]
    NOISE_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    TPR_AT_1PCT_FPR_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    epsilon: float
    reserved_epsilon: float
    noise_multiplier: float
    tpr_at_1pct_fpr: float
    delta: float
    note: str
    def __init__(self, epsilon: _Optional[float] = ..., reserved_epsilon: _Optional[float] = ..., noise_multiplier: _Optional[float] = ..., tpr_at_1pct_fpr: _Optional[float] = ..., delta: _Optional[float] = ..., note: _Optional[str] = ...) -> None: ...

class Privacy(_message.Message):
    __slots__ = ("central", "local")
    CENTRAL_FIELD_NUMBER: _ClassVar[int]
    LOCAL_FIELD_NUMBER: _ClassVar[int]
    central: Tier
    local: Tier
    def __init__(self, central: _Optional[_Union[Tier, _Mapping]] = ..., local: _Optional[_Union[Tier, _Mapping]] = ...) -> None: ...

class Interest(_message.Message):
    __slots__ = ("label", "probability", "lift", "trend")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LIFT_FIELD_NUMBER: _ClassVar[int]
    TREND_FIELD_NUMBER: _ClassVar[int]
    label: str
    probability: float
    lift: float
    trend: str
    def __init__(self, label: _Optional[str] = ..., probability: _Optional[float] = ..., lift: _Optional[float] = ..., trend: _Optional[str] = ...) -> None: ...

class PredictAnswer(_message.Message):
    __slots__ = ("model_version", "privacy", "basis", "interests")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    INTERESTS_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    privacy: Privacy
    basis: str
    interests: _containers.RepeatedCompositeFieldContainer[Interest]
    def __init__(self, model_version: _Optional[str] = ..., privacy: _Optional[_Union[Privacy, _Mapping]] = ..., basis: _Optional[str] = ..., interests: _Optional[_Iterable[_Union[Interest, _Mapping]]] = ...) -> None: ...

class StreamRequest(_message.Message):
    __slots__ = ("session", "event", "top", "model")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    session: str
    event: Event
    top: int
    model: str
    def __init__(self, session: _Optional[str] = ..., event: _Optional[_Union[Event, _Mapping]] = ..., top: _Optional[int] = ..., model: _Optional[str] = ...) -> None: ...

class Filters(_message.Message):
    __slots__ = ("labels", "groups", "exclude_items", "only_new", "only_rising", "per_label")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEMS_FIELD_NUMBER: _ClassVar[int]
    ONLY_NEW_FIELD_NUMBER: _ClassVar[int]
    ONLY_RISING_FIELD_NUMBER: _ClassVar[int]
    PER_LABEL_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    groups: _containers.RepeatedScalarFieldContainer[str]
    exclude_items: _containers.RepeatedScalarFieldContainer[str]
    only_new: bool
    only_rising: bool
    per_label: int
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., groups: _Optional[_Iterable[str]] = ..., exclude_items: _Optional[_Iterable[str]] = ..., only_new: _Optional[bool] = ..., only_rising: _Optional[bool] = ..., per_label: _Optional[int] = ...) -> None: ...

class RecommendRequest(_message.Message):
    __slots__ = ("events", "at", "window", "model", "top", "filters")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    at: _timestamp_pb2.Timestamp
    window: str
    model: str
    top: int
    filters: Filters
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., window: _Optional[str] = ..., model: _Optional[str] = ..., top: _Optional[int] = ..., filters: _Optional[_Union[Filters, _Mapping]] = ...) -> None: ...

class Recommendation(_message.Message):
    __slots__ = ("item", "label", "score", "trend", "reason", "uses")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    TREND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    item: str
    label: str
    score: float
    trend: str
    reason: str
    uses: int
    def __init__(self, item: _Optional[str] = ..., label: _Optional[str] = ..., score: _Optional[float] = ..., trend: _Optional[str] = ..., reason: _Optional[str] = ..., uses: _Optional[int] = ...) -> None: ...

class RecommendAnswer(_message.Message):
    __slots__ = ("model_version", "privacy", "basis", "items")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    privacy: Privacy
    basis: str
    items: _containers.RepeatedCompositeFieldContainer[Recommendation]
    def __init__(self, model_version: _Optional[str] = ..., privacy: _Optional[_Union[Privacy, _Mapping]] = ..., basis: _Optional[str] = ..., items: _Optional[_Iterable[_Union[Recommendation, _Mapping]]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("events", "at", "window", "model", "label", "method")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    at: _timestamp_pb2.Timestamp
    window: str
    model: str
    label: str
    method: str
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., window: _Optional[str] = ..., model: _Optional[str] = ..., label: _Optional[str] = ..., method: _Optional[str] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("time", "action", "what", "events", "contribution")
    TIME_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    action: str
    what: str
    events: int
    contribution: float
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., action: _Optional[str] = ..., what: _Optional[str] = ..., events: _Optional[int] = ..., contribution: _Optional[float] = ...) -> None: ...

class ExplainAnswer(_message.Message):
    __slots__ = ("model_version", "privacy", "basis", "label", "method", "probability", "baseline", "contributions", "habit")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    HABIT_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    privacy: Privacy
    basis: str
    label: str
    method: str
    probability: float
    baseline: float
    contributions: _containers.RepeatedCompositeFieldContainer[Contribution]
    habit: Habit
    def __init__(self, model_version: _Optional[str] = ..., privacy: _Optional[_Union[Privacy, _Mapping]] = ..., basis: _Optional[str] = ..., label: _Optional[str] = ..., method: _Optional[str] = ..., probability: _Optional[float] = ..., baseline: _Optional[float] = ..., contributions: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ..., habit: _Optional[_Union[Habit, _Mapping]] = ...) -> None: ...

class Habit(_message.Message):
    __slots__ = ("times", "last_days", "every_days", "of_last_five_baskets", "words")
    TIMES_FIELD_NUMBER: _ClassVar[int]
    LAST_DAYS_FIELD_NUMBER: _ClassVar[int]
    EVERY_DAYS_FIELD_NUMBER: _ClassVar[int]
    OF_LAST_FIVE_BASKETS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    times: int
    last_days: float
    every_days: float
    of_last_five_baskets: int
    words: str
    def __init__(self, times: _Optional[int] = ..., last_days: _Optional[float] = ..., every_days: _Optional[float] = ..., of_last_five_baskets: _Optional[int] = ..., words: _Optional[str] = ...) -> None: ...

class TrendsRequest(_message.Message):
    __slots__ = ("labels", "region", "top", "lead", "action", "model")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    LEAD_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    region: str
    top: int
    lead: int
    action: str
    model: str
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., region: _Optional[str] = ..., top: _Optional[int] = ..., lead: _Optional[int] = ..., action: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class Horizon(_message.Message):
    __slots__ = ("window", "p50", "p90")
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    P50_FIELD_NUMBER: _ClassVar[int]
    P90_FIELD_NUMBER: _ClassVar[int]
    window: int
    p50: float
    p90: float
    def __init__(self, window: _Optional[int] = ..., p50: _Optional[float] = ..., p90: _Optional[float] = ...) -> None: ...

class LabelTrend(_message.Message):
    __slots__ = ("label", "resolvable", "trend", "history", "noise", "horizons", "surge", "surge_low", "surge_high", "restock")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    RESOLVABLE_FIELD_NUMBER: _ClassVar[int]
    TREND_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    HORIZONS_FIELD_NUMBER: _ClassVar[int]
    SURGE_FIELD_NUMBER: _ClassVar[int]
    SURGE_LOW_FIELD_NUMBER: _ClassVar[int]
    SURGE_HIGH_FIELD_NUMBER: _ClassVar[int]
    RESTOCK_FIELD_NUMBER: _ClassVar[int]
    label: str
    resolvable: bool
    trend: str
    history: _containers.RepeatedScalarFieldContainer[float]
    noise: _containers.RepeatedScalarFieldContainer[float]
    horizons: _containers.RepeatedCompositeFieldContainer[Horizon]
    surge: float
    surge_low: float
    surge_high: float
    restock: float
    def __init__(self, label: _Optional[str] = ..., resolvable: _Optional[bool] = ..., trend: _Optional[str] = ..., history: _Optional[_Iterable[float]] = ..., noise: _Optional[_Iterable[float]] = ..., horizons: _Optional[_Iterable[_Union[Horizon, _Mapping]]] = ..., surge: _Optional[float] = ..., surge_low: _Optional[float] = ..., surge_high: _Optional[float] = ..., restock: _Optional[float] = ...) -> None: ...

class TrendsAnswer(_message.Message):
    __slots__ = ("as_of", "window", "unit", "region", "sites", "privacy", "trends", "action", "regions", "actions")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    SITES_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    TRENDS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    as_of: _timestamp_pb2.Timestamp
    window: str
    unit: str
    region: str
    sites: int
    privacy: Privacy
    trends: _containers.RepeatedCompositeFieldContainer[LabelTrend]
    action: str
    regions: _containers.RepeatedScalarFieldContainer[str]
    actions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., window: _Optional[str] = ..., unit: _Optional[str] = ..., region: _Optional[str] = ..., sites: _Optional[int] = ..., privacy: _Optional[_Union[Privacy, _Mapping]] = ..., trends: _Optional[_Iterable[_Union[LabelTrend, _Mapping]]] = ..., action: _Optional[str] = ..., regions: _Optional[_Iterable[str]] = ..., actions: _Optional[_Iterable[str]] = ...) -> None: ...

class ModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("version", "created", "aliases", "run", "round", "labels", "window", "statistics_as_of", "privacy", "metrics", "hash", "signed")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_AS_OF_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    version: str
    created: _timestamp_pb2.Timestamp
    aliases: _containers.RepeatedScalarFieldContainer[str]
    run: str
    round: int
    labels: int
    window: str
    statistics_as_of: _timestamp_pb2.Timestamp
    privacy: Privacy
    metrics: _containers.ScalarMap[str, float]
    hash: str
    signed: bool
    def __init__(self, version: _Optional[str] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., aliases: _Optional[_Iterable[str]] = ..., run: _Optional[str] = ..., round: _Optional[int] = ..., labels: _Optional[int] = ..., window: _Optional[str] = ..., statistics_as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., privacy: _Optional[_Union[Privacy, _Mapping]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., hash: _Optional[str] = ..., signed: _Optional[bool] = ...) -> None: ...

class ModelsAnswer(_message.Message):
    __slots__ = ("default", "models")
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    default: str
    models: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    def __init__(self, default: _Optional[str] = ..., models: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ...) -> None: ...
