from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VaultRequest(_message.Message):
    __slots__ = ("join", "advertise", "share", "contribute", "confirm", "unmask", "finish", "status")
    JOIN_FIELD_NUMBER: _ClassVar[int]
    ADVERTISE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    UNMASK_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    join: JoinRequest
    advertise: AdvertiseRequest
    share: ShareRequest
    contribute: ContributeRequest
    confirm: ConfirmRequest
    unmask: UnmaskRequest
    finish: FinishRequest
    status: StatusRequest
    def __init__(self, join: _Optional[_Union[JoinRequest, _Mapping]] = ..., advertise: _Optional[_Union[AdvertiseRequest, _Mapping]] = ..., share: _Optional[_Union[ShareRequest, _Mapping]] = ..., contribute: _Optional[_Union[ContributeRequest, _Mapping]] = ..., confirm: _Optional[_Union[ConfirmRequest, _Mapping]] = ..., unmask: _Optional[_Union[UnmaskRequest, _Mapping]] = ..., finish: _Optional[_Union[FinishRequest, _Mapping]] = ..., status: _Optional[_Union[StatusRequest, _Mapping]] = ...) -> None: ...

class VaultReply(_message.Message):
    __slots__ = ("joined", "advertised", "shared", "contributed", "confirmed", "unmasked", "finished", "status", "refused")
    JOINED_FIELD_NUMBER: _ClassVar[int]
    ADVERTISED_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTED_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    UNMASKED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    joined: Signed
    advertised: Signed
    shared: Signed
    contributed: Contribution
    confirmed: Confirmed
    unmasked: Signed
    finished: Signed
    status: Signed
    refused: Refused
    def __init__(self, joined: _Optional[_Union[Signed, _Mapping]] = ..., advertised: _Optional[_Union[Signed, _Mapping]] = ..., shared: _Optional[_Union[Signed, _Mapping]] = ..., contributed: _Optional[_Union[Contribution, _Mapping]] = ..., confirmed: _Optional[_Union[Confirmed, _Mapping]] = ..., unmasked: _Optional[_Union[Signed, _Mapping]] = ..., finished: _Optional[_Union[Signed, _Mapping]] = ..., status: _Optional[_Union[Signed, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ...) -> None: ...

class Signed(_message.Message):
    __slots__ = ("body", "signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("code",)
    CODE_FIELD_NUMBER: _ClassVar[int]
    code: str
    def __init__(self, code: _Optional[str] = ...) -> None: ...

class CertificateBody(_message.Message):
    __slots__ = ("name", "merchant", "public_key", "declared_users", "not_before", "not_after", "serial", "region")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    DECLARED_USERS_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    name: str
    merchant: str
    public_key: bytes
    declared_users: int
    not_before: int
    not_after: int
    serial: int
    region: str
    def __init__(self, name: _Optional[str] = ..., merchant: _Optional[str] = ..., public_key: _Optional[bytes] = ..., declared_users: _Optional[int] = ..., not_before: _Optional[int] = ..., not_after: _Optional[int] = ..., serial: _Optional[int] = ..., region: _Optional[str] = ...) -> None: ...

class RevocationListBody(_message.Message):
    __slots__ = ("number", "issued_at", "expires_at", "serials")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    SERIALS_FIELD_NUMBER: _ClassVar[int]
    number: int
    issued_at: int
    expires_at: int
    serials: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, number: _Optional[int] = ..., issued_at: _Optional[int] = ..., expires_at: _Optional[int] = ..., serials: _Optional[_Iterable[int]] = ...) -> None: ...

class EnrolmentBody(_message.Message):
    __slots__ = ("name", "merchant", "public_key", "declared_users")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MERCHANT_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    DECLARED_USERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    merchant: str
    public_key: bytes
    declared_users: int
    def __init__(self, name: _Optional[str] = ..., merchant: _Optional[str] = ..., public_key: _Optional[bytes] = ..., declared_users: _Optional[int] = ...) -> None: ...

class LedgerHead(_message.Message):
    __slots__ = ("row", "hash")
    ROW_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    row: int
    hash: bytes
    def __init__(self, row: _Optional[int] = ..., hash: _Optional[bytes] = ...) -> None: ...

class JoinRequest(_message.Message):
    __slots__ = ("plan", "plan_signature")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    PLAN_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    plan: bytes
    plan_signature: bytes
    def __init__(self, plan: _Optional[bytes] = ..., plan_signature: _Optional[bytes] = ...) -> None: ...

class Joined(_message.Message):
    __slots__ = ("run", "plan_hash", "certificate", "head", "catalogue")
    RUN_FIELD_NUMBER: _ClassVar[int]
    PLAN_HASH_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    plan_hash: bytes
    certificate: Signed
    head: LedgerHead
    catalogue: bytes
    def __init__(self, run: _Optional[bytes] = ..., plan_hash: _Optional[bytes] = ..., certificate: _Optional[_Union[Signed, _Mapping]] = ..., head: _Optional[_Union[LedgerHead, _Mapping]] = ..., catalogue: _Optional[bytes] = ...) -> None: ...

class AdvertiseRequest(_message.Message):
    __slots__ = ("run", "seq")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    seq: int
    def __init__(self, run: _Optional[bytes] = ..., seq: _Optional[int] = ...) -> None: ...

class Advertisement(_message.Message):
    __slots__ = ("run", "seq", "plan_hash", "threshold", "channel_key", "mask_key", "commitment", "head", "certificate")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    PLAN_HASH_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_KEY_FIELD_NUMBER: _ClassVar[int]
    MASK_KEY_FIELD_NUMBER: _ClassVar[int]
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    seq: int
    plan_hash: bytes
    threshold: int
    channel_key: bytes
    mask_key: bytes
    commitment: bytes
    head: LedgerHead
    certificate: Signed
    def __init__(self, run: _Optional[bytes] = ..., seq: _Optional[int] = ..., plan_hash: _Optional[bytes] = ..., threshold: _Optional[int] = ..., channel_key: _Optional[bytes] = ..., mask_key: _Optional[bytes] = ..., commitment: _Optional[bytes] = ..., head: _Optional[_Union[LedgerHead, _Mapping]] = ..., certificate: _Optional[_Union[Signed, _Mapping]] = ...) -> None: ...

class ShareRequest(_message.Message):
    __slots__ = ("run", "seq", "advertisements")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ADVERTISEMENTS_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    seq: int
    advertisements: _containers.RepeatedCompositeFieldContainer[Signed]
    def __init__(self, run: _Optional[bytes] = ..., seq: _Optional[int] = ..., advertisements: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ...) -> None: ...

class EncryptedShare(_message.Message):
    __slots__ = ("sender", "recipient", "ciphertext")
    SENDER_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXT_FIELD_NUMBER: _ClassVar[int]
    sender: str
    recipient: str
    ciphertext: bytes
    def __init__(self, sender: _Optional[str] = ..., recipient: _Optional[str] = ..., ciphertext: _Optional[bytes] = ...) -> None: ...

class Shares(_message.Message):
    __slots__ = ("run", "seq", "roster_hash", "shares")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ROSTER_HASH_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    seq: int
    roster_hash: bytes
    shares: _containers.RepeatedCompositeFieldContainer[EncryptedShare]
    def __init__(self, run: _Optional[bytes] = ..., seq: _Optional[int] = ..., roster_hash: _Optional[bytes] = ..., shares: _Optional[_Iterable[_Union[EncryptedShare, _Mapping]]] = ...) -> None: ...

class ContributeRequest(_message.Message):
    __slots__ = ("run", "seq", "kind", "round", "model", "sharers", "shares", "revocations")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SHARERS_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    seq: int
    kind: str
    round: int
    model: bytes
    sharers: _containers.RepeatedScalarFieldContainer[str]
    shares: _containers.RepeatedCompositeFieldContainer[EncryptedShare]
    revocations: Signed
    def __init__(self, run: _Optional[bytes] = ..., seq: _Optional[int] = ..., kind: _Optional[str] = ..., round: _Optional[int] = ..., model: _Optional[bytes] = ..., sharers: _Optional[_Iterable[str]] = ..., shares: _Optional[_Iterable[_Union[EncryptedShare, _Mapping]]] = ..., revocations: _Optional[_Union[Signed, _Mapping]] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("signed", "vector")
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    signed: Signed
    vector: bytes
    def __init__(self, signed: _Optional[_Union[Signed, _Mapping]] = ..., vector: _Optional[bytes] = ...) -> None: ...

class ContributionBody(_message.Message):
    __slots__ = ("run", "seq", "vector_hash")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    VECTOR_HASH_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    seq: int
    vector_hash: bytes
    def __init__(self, run: _Optional[bytes] = ..., seq: _Optional[int] = ..., vector_hash: _Optional[bytes] = ...) -> None: ...

class ConfirmRequest(_message.Message):
    __slots__ = ("run", "seq", "survivors", "next_seq")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SURVIVORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQ_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    seq: int
    survivors: _containers.RepeatedScalarFieldContainer[str]
    next_seq: int
    def __init__(self, run: _Optional[bytes] = ..., seq: _Optional[int] = ..., survivors: _Optional[_Iterable[str]] = ..., next_seq: _Optional[int] = ...) -> None: ...

class Confirmed(_message.Message):
    __slots__ = ("confirmation", "advertisement")
    CONFIRMATION_FIELD_NUMBER: _ClassVar[int]
    ADVERTISEMENT_FIELD_NUMBER: _ClassVar[int]
    confirmation: Signed
    advertisement: Signed
    def __init__(self, confirmation: _Optional[_Union[Signed, _Mapping]] = ..., advertisement: _Optional[_Union[Signed, _Mapping]] = ...) -> None: ...

class ConfirmationBody(_message.Message):
    __slots__ = ("run", "seq", "kind", "round", "plan_hash", "model_hash", "roster_hash", "sharers_hash", "survivors")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PLAN_HASH_FIELD_NUMBER: _ClassVar[int]
    MODEL_HASH_FIELD_NUMBER: _ClassVar[int]
    ROSTER_HASH_FIELD_NUMBER: _ClassVar[int]
    SHARERS_HASH_FIELD_NUMBER: _ClassVar[int]
    SURVIVORS_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    seq: int
    kind: str
    round: int
    plan_hash: bytes
    model_hash: bytes
    roster_hash: bytes
    sharers_hash: bytes
    survivors: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, run: _Optional[bytes] = ..., seq: _Optional[int] = ..., kind: _Optional[str] = ..., round: _Optional[int] = ..., plan_hash: _Optional[bytes] = ..., model_hash: _Optional[bytes] = ..., roster_hash: _Optional[bytes] = ..., sharers_hash: _Optional[bytes] = ..., survivors: _Optional[_Iterable[str]] = ...) -> None: ...

class SiteSignature(_message.Message):
    __slots__ = ("site", "signature")
    SITE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    site: str
    signature: bytes
    def __init__(self, site: _Optional[str] = ..., signature: _Optional[bytes] = ...) -> None: ...

class UnmaskRequest(_message.Message):
    __slots__ = ("run", "seq", "confirmations", "next_seq", "advertisements")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQ_FIELD_NUMBER: _ClassVar[int]
    ADVERTISEMENTS_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    seq: int
    confirmations: _containers.RepeatedCompositeFieldContainer[SiteSignature]
    next_seq: int
    advertisements: _containers.RepeatedCompositeFieldContainer[Signed]
    def __init__(self, run: _Optional[bytes] = ..., seq: _Optional[int] = ..., confirmations: _Optional[_Iterable[_Union[SiteSignature, _Mapping]]] = ..., next_seq: _Optional[int] = ..., advertisements: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ...) -> None: ...

class RevealedShare(_message.Message):
    __slots__ = ("site", "self_mask", "mask_seed")
    SITE_FIELD_NUMBER: _ClassVar[int]
    SELF_MASK_FIELD_NUMBER: _ClassVar[int]
    MASK_SEED_FIELD_NUMBER: _ClassVar[int]
    site: str
    self_mask: bytes
    mask_seed: bytes
    def __init__(self, site: _Optional[str] = ..., self_mask: _Optional[bytes] = ..., mask_seed: _Optional[bytes] = ...) -> None: ...

class Unmasked(_message.Message):
    __slots__ = ("run", "seq", "shares", "next")
    RUN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    seq: int
    shares: _containers.RepeatedCompositeFieldContainer[RevealedShare]
    next: Shares
    def __init__(self, run: _Optional[bytes] = ..., seq: _Optional[int] = ..., shares: _Optional[_Iterable[_Union[RevealedShare, _Mapping]]] = ..., next: _Optional[_Union[Shares, _Mapping]] = ...) -> None: ...

class FinishRequest(_message.Message):
    __slots__ = ("run", "heads")
    RUN_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    heads: _containers.RepeatedCompositeFieldContainer[Signed]
    def __init__(self, run: _Optional[bytes] = ..., heads: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("run", "certificate", "head")
    RUN_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    certificate: Signed
    head: LedgerHead
    def __init__(self, run: _Optional[bytes] = ..., certificate: _Optional[_Union[Signed, _Mapping]] = ..., head: _Optional[_Union[LedgerHead, _Mapping]] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    def __init__(self, run: _Optional[bytes] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("run", "state", "seq", "round", "head")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    state: str
    seq: int
    round: int
    head: LedgerHead
    def __init__(self, run: _Optional[bytes] = ..., state: _Optional[str] = ..., seq: _Optional[int] = ..., round: _Optional[int] = ..., head: _Optional[_Union[LedgerHead, _Mapping]] = ...) -> None: ...
