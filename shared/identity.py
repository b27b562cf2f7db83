"""Who is who: Ed25519 keys of sites, coordinator and the consortium's CA, and what the CA signs.

A site trusts two public keys, pinned when it enrols: the CA's, which vouches for other sites, and
the coordinator's, which signs plans. Certificates and revocation lists are protobuf bodies in the
envelopes of ``envelopes.py``; times are Unix seconds.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message

from groundswell.shared.envelopes import (
    PUBLIC_KEY_BYTES,
    open_signed,
    parse,
    serialise,
    signed_bytes,
    verify,
)
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.wire import groundswell_pb2 as wire

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
PLAN_PURPOSE = "Plan"
_KEY_BYTES = 32
_CACHED_CERTIFICATES = 1024
_LARGEST_USERS = 10**12


def is_name(text: str) -> bool:
    """Whether ``text`` may name a site or a merchant: 1 to 63 of ``a-z 0-9 . _ -``."""
    return NAME.fullmatch(text) is not None


def declared_users(users: int) -> int:
    """The number of users rounded *up* to two significant digits: what a site makes public.

    Raises:
        InputError: fewer than 1 user, or more than 10^12.
    """
    if not 1 <= users <= _LARGEST_USERS:
        raise InputError(
            "declared_users", users, "must lie in 1..10^12", "count the users of the site again"
        )
    unit: int = 10 ** max(0, len(str(users)) - 2)
    return -(-users // unit) * unit


def fingerprint(public_key: bytes) -> str:
    """SHA-256 of a public key in groups of four hex digits, for people to compare."""
    digits = hashlib.sha256(public_key).hexdigest()[:40]
    return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 private key; prints as the fingerprint of its public half."""

    _private: Ed25519PrivateKey = field(repr=False)
    public: bytes = field(repr=False)

    def __repr__(self) -> str:
        return f"SigningKey({fingerprint(self.public)})"

    @classmethod
    def generate(cls) -> SigningKey:
        """A fresh key from the operating system's generator."""
        return cls._of(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """Read a key file.

        Raises:
            InputError: no such file, not a key, or readable by others than its owner.
        """
        try:
            mode = path.stat().st_mode
            secret = path.read_bytes()
        except OSError as error:
            raise InputError(
                "key", str(path), f"can't be read ({error.strerror})", "name the right key file"
            ) from error
        if mode & 0o077:
            raise InputError(
                "key", str(path), "is readable by others than its owner", f"chmod 600 {path}"
            )
        if len(secret) != _KEY_BYTES:
            raise InputError(
                "key", str(path), "is no Ed25519 key of 32 bytes", "name the right key file"
            )
        return cls._of(Ed25519PrivateKey.from_private_bytes(secret))

    def write(self, path: Path) -> None:
        """Write the key with mode 0600 to a file that must not exist yet.

        Raises:
            InputError: the file exists (a key is never overwritten) or can't be written.
        """
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise InputError(
                "key", str(path), "exists, and a key is never overwritten", "name another file"
            ) from error
        except OSError as error:
            raise InputError(
                "key", str(path), f"can't be written ({error.strerror})", "name another folder"
            ) from error
        with os.fdopen(handle, "wb") as file:
            file.write(self._private.private_bytes_raw())
            file.flush()
            os.fsync(file.fileno())

    def sign_bytes(self, purpose: str, body: bytes) -> bytes:
        """Signature of ``body``, valid for ``purpose`` alone."""
        return self._private.sign(signed_bytes(purpose, body))

    def seal(self, message: Message) -> wire.Signed:
        """The message in a signed envelope."""
        body = serialise(message)
        return wire.Signed(body=body, signature=self.sign_bytes(message.DESCRIPTOR.name, body))

    @classmethod
    def _of(cls, private: Ed25519PrivateKey) -> SigningKey:
        return cls(private, private.public_key().public_bytes_raw())


@dataclass(frozen=True)
class Certificate:
    """What the consortium's CA vouches for: this key is this site of this merchant.

    ``region`` names the roster that the site may stand in besides that of all sites; empty: none.
    """

    name: str
    merchant: str
    public_key: bytes = field(repr=False)
    declared_users: int
    not_before: int
    not_after: int
    serial: int
    region: str = ""

    def sealed_by(self, authority: SigningKey) -> wire.Signed:
        """The certificate, signed by the CA."""
        return authority.seal(
            wire.CertificateBody(
                name=self.name,
                merchant=self.merchant,
                public_key=self.public_key,
                declared_users=self.declared_users,
                not_before=self.not_before,
                not_after=self.not_after,
                serial=self.serial,
                region=self.region,
            )
        )

    @classmethod
    def from_body(cls, body: wire.CertificateBody) -> Certificate:
        """Raises ``Refusal("bad-certificate")`` where a field breaks the rules of a certificate."""
        certificate = cls(
            body.name,
            body.merchant,
            body.public_key,
            body.declared_users,
            body.not_before,
            body.not_after,
            body.serial,
            body.region,
        )
        sound = (
            is_name(body.name)
            and is_name(body.merchant)
            and (not body.region or is_name(body.region))
            and len(body.public_key) == PUBLIC_KEY_BYTES
            and 1 <= body.declared_users <= _LARGEST_USERS
            and declared_users(body.declared_users) == body.declared_users
            and body.not_before < body.not_after
        )
        if not sound:
            raise Refusal("bad-certificate", "a field of the certificate breaks its rule")
        return certificate

    def check_time(self, now: int) -> None:
        """Raises ``Refusal("certificate-expired")`` outside [not_before, not_after]."""
        if not self.not_before <= now <= self.not_after:
            raise Refusal("certificate-expired", f"the certificate of {self.name} is not valid now")


@dataclass(frozen=True)
class Revocations:
    """The serial numbers that the CA has withdrawn, as of list ``number``."""

    number: int
    issued_at: int
    expires_at: int
    serials: frozenset[int]

    def sealed_by(self, authority: SigningKey) -> wire.Signed:
        """The list, signed by the CA."""
        return authority.seal(
            wire.RevocationListBody(
                number=self.number,
                issued_at=self.issued_at,
                expires_at=self.expires_at,
                serials=sorted(self.serials),
            )
        )

    def check_current(self, least_number: int, now: int) -> None:
        """Refuse an old list.

        Raises:
            Refusal: ``revocations-expired``, or ``revocations-older`` than one seen before.
        """
        if now > self.expires_at:
            raise Refusal("revocations-expired", f"revocation list {self.number} has expired")
        if self.number < least_number:
            raise Refusal(
                "revocations-older",
                f"revocation list {self.number} is older than {least_number}, seen before",
            )

    def check_none_revoked(self, certificates: Iterable[Certificate]) -> None:
        """Raises ``Refusal("certificate-revoked")`` if one of the certificates is withdrawn."""
        for certificate in certificates:
            if certificate.serial in self.serials:
                raise Refusal(
                    "certificate-revoked", f"the certificate of {certificate.name} is revoked"
                )


class Trust:
    """The pinned public keys, and what they vouch for.

    Args:
        authority: the consortium CA's Ed25519 public key.
        coordinator: the coordinator's, which signs plans.
    """

    def __init__(self, authority: bytes, coordinator: bytes) -> None:
        for key, name in ((authority, "authority"), (coordinator, "coordinator")):
            if len(key) != PUBLIC_KEY_BYTES:
                raise InputError(
                    name, key.hex(), "is no Ed25519 public key of 32 bytes", "pin the right key"
                )
        self.authority = authority
        self.coordinator = coordinator
        self._verified: dict[tuple[bytes, bytes], Certificate] = {}

    def certificate(self, signed: wire.Signed, now: int) -> Certificate:
        """Check and read a certificate.

        A signature found good once is not computed again; the time is checked every time.

        Raises:
            Refusal: ``bad-certificate`` (forged, malformed) or ``certificate-expired``.
        """
        key = (signed.body, signed.signature)
        certificate = self._verified.get(key)
        if certificate is None:
            if not verify(self.authority, "CertificateBody", *key):
                raise Refusal("bad-certificate", "the consortium's CA did not sign the certificate")
            certificate = Certificate.from_body(parse(wire.CertificateBody, signed.body))
            if len(self._verified) >= _CACHED_CERTIFICATES:
                self._verified.clear()
            self._verified[key] = certificate
        certificate.check_time(now)
        return certificate

    def revocations(self, signed: wire.Signed) -> Revocations:
        """Check the signature of a revocation list and read it.

        Raises:
            Refusal: ``bad-revocations``.
        """
        try:
            body = open_signed(signed, wire.RevocationListBody, self.authority)
        except Refusal as error:
            raise Refusal("bad-revocations", error.rule) from error
        return Revocations(body.number, body.issued_at, body.expires_at, frozenset(body.serials))

    def plan(self, request: wire.JoinRequest) -> bytes:
        """The plan's canonical bytes; raises ``Refusal("bad-plan-signature")``."""
        if not verify(self.coordinator, PLAN_PURPOSE, request.plan, request.plan_signature):
            raise Refusal("bad-plan-signature", "the pinned coordinator did not sign the plan")
        return request.plan


def sealed_plan(plan: bytes, coordinator: SigningKey) -> wire.JoinRequest:
    """The request to join a run, with the coordinator's signature of the plan."""
    return wire.JoinRequest(plan=plan, plan_signature=coordinator.sign_bytes(PLAN_PURPOSE, plan))
