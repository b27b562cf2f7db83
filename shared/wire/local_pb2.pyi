from groundswell.shared.wire import query_pb2 as _query_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ScoreRequest(_message.Message):
    __slots__ = ("at", "top")
    AT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    at: int
    top: int
    def __init__(self, at: _Optional[int] = ..., top: _Optional[int] = ...) -> None: ...

class UserForecast(_message.Message):
    __slots__ = ("user", "interests")
    USER_FIELD_NUMBER: _ClassVar[int]
    INTERESTS_FIELD_NUMBER: _ClassVar[int]
    user: str
    interests: _containers.RepeatedCompositeFieldContainer[_query_pb2.Interest]
    def __init__(self, user: _Optional[str] = ..., interests: _Optional[_Iterable[_Union[_query_pb2.Interest, _Mapping]]] = ...) -> None: ...

class AudienceRequest(_message.Message):
    __slots__ = ("label", "top", "at")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    label: str
    top: int
    at: int
    def __init__(self, label: _Optional[str] = ..., top: _Optional[int] = ..., at: _Optional[int] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("user", "probability", "lift")
    USER_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LIFT_FIELD_NUMBER: _ClassVar[int]
    user: str
    probability: float
    lift: float
    def __init__(self, user: _Optional[str] = ..., probability: _Optional[float] = ..., lift: _Optional[float] = ...) -> None: ...

class AudienceAnswer(_message.Message):
    __slots__ = ("model_version", "members")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    members: _containers.RepeatedCompositeFieldContainer[Member]
    def __init__(self, model_version: _Optional[str] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ...) -> None: ...

class SiteTrendsRequest(_message.Message):
    __slots__ = ("labels", "windows", "lead", "at", "action", "plan")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    LEAD_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    windows: int
    lead: int
    at: int
    action: str
    plan: _containers.RepeatedCompositeFieldContainer[Promotion]
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., windows: _Optional[int] = ..., lead: _Optional[int] = ..., at: _Optional[int] = ..., action: _Optional[str] = ..., plan: _Optional[_Iterable[_Union[Promotion, _Mapping]]] = ...) -> None: ...

class Promotion(_message.Message):
    __slots__ = ("label", "first", "last", "share", "kind")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    label: str
    first: str
    last: str
    share: float
    kind: str
    def __init__(self, label: _Optional[str] = ..., first: _Optional[str] = ..., last: _Optional[str] = ..., share: _Optional[float] = ..., kind: _Optional[str] = ...) -> None: ...

class SiteTrendsAnswer(_message.Message):
    __slots__ = ("as_of", "window", "trends")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    TRENDS_FIELD_NUMBER: _ClassVar[int]
    as_of: int
    window: str
    trends: _containers.RepeatedCompositeFieldContainer[_query_pb2.LabelTrend]
    def __init__(self, as_of: _Optional[int] = ..., window: _Optional[str] = ..., trends: _Optional[_Iterable[_Union[_query_pb2.LabelTrend, _Mapping]]] = ...) -> None: ...

class ExplainUserRequest(_message.Message):
    __slots__ = ("user", "label", "at")
    USER_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    user: str
    label: str
    at: int
    def __init__(self, user: _Optional[str] = ..., label: _Optional[str] = ..., at: _Optional[int] = ...) -> None: ...
