"""The consortium's CA: a key, and an append-only register of what it signed.

    DIR/ca.key            the CA's signing key, mode 0600
    DIR/ca.public         its public half, which every site pins
    DIR/register.jsonl    one signed line for each approval, revocation and list, hash-chained
    DIR/certificates/     one file a certificate: NAME-SERIAL.certificate
    DIR/revocations.list  the current revocation list

Serial numbers and list numbers are read from the register alone, so that none is used twice.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from pathlib import Path

from groundswell.server.register import Line, Register
from groundswell.shared import armour
from groundswell.shared.envelopes import open_signed, parse
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.identity import (
    Certificate,
    Revocations,
    SigningKey,
    fingerprint,
    is_name,
)
from groundswell.shared.roster import check_headroom, most_users
from groundswell.shared.scaling import LARGEST_DEVIATION, LARGEST_SCALE
from groundswell.shared.wire import groundswell_pb2 as wire

KEY_FILE = "ca.key"
PUBLIC_FILE = "ca.public"
REGISTER_FILE = "register.jsonl"
LIST_FILE = "revocations.list"
CERTIFICATES = "certificates"
DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Entry:
    """A certificate in the register, and what became of it."""

    certificate: Certificate
    revoked: bool

    def state(self, now: int) -> str:
        """``valid``, ``revoked``, ``expired`` or ``not yet valid``."""
        if self.revoked:
            return "revoked"
        if now > self.certificate.not_after:
            return "expired"
        return "valid" if now >= self.certificate.not_before else "not yet valid"


class Authority:
    """The CA in one folder.

    Every method checks the whole register first.

    Raises:
        InputError: the folder holds no CA, or its register was altered.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = SigningKey.read(folder / KEY_FILE)
        self._register = Register(folder / REGISTER_FILE, self._key)

    @classmethod
    def create(cls, folder: Path, *, now: int, days: int) -> Authority:
        """A CA with a fresh key and an empty revocation list.

        Raises:
            InputError: the folder holds a key already.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = SigningKey.generate()
        key.write(folder / KEY_FILE)
        armour.write_public_key(folder / PUBLIC_FILE, key.public)
        authority = cls(folder)
        authority.publish(now=now, days=days)
        return authority

    @property
    def fingerprint(self) -> str:
        """Of the CA's public key, for sites to compare before they pin it."""
        return fingerprint(self._key.public)

    def entries(self) -> list[Entry]:
        """All certificates ever approved, oldest first."""
        entries: dict[int, Entry] = {}
        for line in self._lines():
            if line.action == "approve":
                body = base64.b64decode(line.fields["body"])
                certificate = Certificate.from_body(parse(wire.CertificateBody, body))
                entries[certificate.serial] = Entry(certificate, False)
            elif line.action == "revoke":
                serial = int(line.fields["serial"])
                entries[serial] = replace(entries[serial], revoked=True)
        return list(entries.values())

    def list_number(self) -> int:
        """The number of the newest revocation list."""
        return sum(line.action == "publish" for line in self._lines())

    def approve(
        self, request: Path, expected_fingerprint: str, *, now: int, days: int, region: str = ""
    ) -> tuple[Certificate, Path]:
        """Certify the site behind a request file.

        Args:
            expected_fingerprint: as the site told it by another way; blanks don't count.
            days: how long the certificate is valid.
            region: whose roster of its own the site may stand in; empty: none.

        Raises:
            InputError: the file is no request, the fingerprint is another one, the name or the key
                has a valid certificate, the region is no name, or the sum over all sites could
                leave 64 bits.
        """
        if region and not is_name(region):
            raise InputError(
                "--region", region, "must be 1 to 63 of a-z 0-9 . _ -", "choose a short plain name"
            )
        body = _enrolment(request)
        if _digits(expected_fingerprint) != _digits(fingerprint(body.public_key)):
            # The right one is not told: it is to come from the site.
            raise InputError(
                "fingerprint",
                expected_fingerprint,
                "is not that of the key in the request",
                "ask the site for its fingerprint again, by another way than the request came",
            )
        entries = self.entries()
        valid = [each.certificate for each in entries if each.state(now) == "valid"]
        for other in valid:
            if body.name == other.name or body.public_key == other.public_key:
                raise InputError(
                    "request",
                    str(request),
                    f"{other.name} holds the valid certificate {other.serial} of this name or key",
                    "revoke it first, or choose another name",
                )
        certificate = Certificate(
            body.name,
            body.merchant,
            body.public_key,
            body.declared_users,
            now,
            now + days * DAY_SECONDS,
            len(entries) + 1,
            region,
        )
        _check_fits([*valid, certificate])
        signed = certificate.sealed_by(self._key)
        self._register.append("approve", now, body=base64.b64encode(signed.body).decode())
        folder = self.folder / CERTIFICATES
        folder.mkdir(exist_ok=True)
        path = folder / f"{certificate.name}-{certificate.serial}.certificate"
        armour.write_signed(path, armour.CERTIFICATE, signed)
        return certificate, path

    def revoke(self, name: str, *, now: int, days: int) -> list[int]:
        """Withdraw every certificate of a site that is valid, and publish a new list.

        Returns:
            The serial numbers withdrawn.

        Raises:
            InputError: no valid certificate has this name.
        """
        serials = [
            each.certificate.serial
            for each in self.entries()
            if each.certificate.name == name and each.state(now) == "valid"
        ]
        if not serials:
            raise InputError(
                "name", name, "has no valid certificate", "see `groundswell ca list` for the names"
            )
        for serial in serials:
            self._register.append("revoke", now, name=name, serial=str(serial))
        self.publish(now=now, days=days)
        return serials

    def publish(self, *, now: int, days: int) -> Revocations:
        """Sign the revocation list anew, under the next number and with a new end."""
        withdrawn = frozenset(each.certificate.serial for each in self.entries() if each.revoked)
        listed = Revocations(self.list_number() + 1, now, now + days * DAY_SECONDS, withdrawn)
        self._register.append("publish", now, number=str(listed.number))
        armour.write_signed(
            self.folder / LIST_FILE, armour.REVOCATIONS, listed.sealed_by(self._key)
        )
        return listed

    def _lines(self) -> list[Line]:
        """The register, which must hold everything that the folder shows to have been signed."""
        lines = self._register.lines()
        published = sum(line.action == "publish" for line in lines)
        approved = sum(line.action == "approve" for line in lines)
        listed = self.folder / LIST_FILE
        if listed.exists():
            body = armour.read_signed(listed, armour.REVOCATIONS).body
            if parse(wire.RevocationListBody, body).number > published:
                raise self._register.altered(len(lines) + 1)
        names = [path.stem for path in (self.folder / CERTIFICATES).glob("*.certificate")]
        serials = [name.rpartition("-")[2] for name in names]
        if any(serial.isdigit() and int(serial) > approved for serial in serials):
            raise self._register.altered(len(lines) + 1)
        return lines


def _enrolment(request: Path) -> wire.EnrolmentBody:
    signed = armour.read_signed(request, armour.REQUEST)
    try:
        claimed = parse(wire.EnrolmentBody, signed.body)
        body = open_signed(signed, wire.EnrolmentBody, claimed.public_key)
    except Refusal as error:
        raise InputError(
            "request", str(request), error.rule, "have the site make its request again"
        ) from error
    for key, value in (("name", body.name), ("merchant", body.merchant)):
        if not is_name(value):
            raise InputError(
                key, value, "must be 1 to 63 of a-z 0-9 . _ -", "have the site choose another"
            )
    return body


def _check_fits(certificates: list[Certificate]) -> None:
    """At the largest scale and noise that any plan may have, the sum must stay in 64 bits."""
    slots = [most_users(each.declared_users) for each in certificates]
    try:
        check_headroom(slots, LARGEST_SCALE, LARGEST_DEVIATION)
    except Refusal as error:
        raise InputError(
            "declared_users",
            certificates[-1].declared_users,
            error.rule,
            "split the federation into several",
        ) from error


def _digits(text: str) -> str:
    return "".join(text.split()).lower()
