"""A site's request to the consortium: its key, and a file for the CA to approve.

The file holds nothing secret. The CA approves it by the fingerprint of the key, which the site
tells by another way than the one the file took.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from groundswell.shared import armour
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.identity import (
    Certificate,
    SigningKey,
    Trust,
    declared_users,
    fingerprint,
    is_name,
)
from groundswell.shared.wire import groundswell_pb2 as wire

KEY_FILE = "site.key"
CERTIFICATE_FILE = "site.certificate"


@dataclass(frozen=True)
class Enrolment:
    """A request that was written."""

    path: Path
    fingerprint: str
    declared_users: int


def request(folder: Path, *, name: str, merchant: str, users: int) -> Enrolment:
    """Make the site's key, unless there is one, and write ``NAME.request`` beside it.

    Args:
        folder: the site's folder for keys; made with mode 0700 where it is missing.
        users: the most users that the site will have; made public rounded up to two digits.

    Raises:
        InputError: a name that breaks the rule, no users, or a key file that can't be used.
    """
    for key, value in (("name", name), ("merchant", merchant)):
        if not is_name(value):
            raise InputError(
                key, value, "must be 1 to 63 of a-z 0-9 . _ -", "choose a short plain name"
            )
    declared = declared_users(users)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_path = folder / KEY_FILE
    if key_path.exists():
        signing_key = SigningKey.read(key_path)
    else:
        signing_key = SigningKey.generate()
        signing_key.write(key_path)
    body = wire.EnrolmentBody(
        name=name, merchant=merchant, public_key=signing_key.public, declared_users=declared
    )
    path = folder / f"{name}.request"
    armour.write_signed(path, armour.REQUEST, signing_key.seal(body))
    return Enrolment(path, fingerprint(signing_key.public), declared)


def accept_certificate(folder: Path, certificate: Path, trust: Trust, now: int) -> Certificate:
    """Keep the certificate that the CA handed back, after checking that it is this site's.

    Raises:
        InputError: another site's, another CA's, expired, or no certificate at all.
    """
    signed = armour.read_signed(certificate, armour.CERTIFICATE)
    try:
        read = trust.certificate(signed, now)
    except Refusal as error:
        raise InputError(
            "certificate", str(certificate), error.rule, "ask the consortium's CA for a valid one"
        ) from error
    if read.public_key != SigningKey.read(folder / KEY_FILE).public:
        raise InputError(
            "certificate",
            str(certificate),
            f"is made out for another key than {folder / KEY_FILE}",
            "have the request of this folder approved",
        )
    armour.write_signed(folder / CERTIFICATE_FILE, armour.CERTIFICATE, signed)
    return read
