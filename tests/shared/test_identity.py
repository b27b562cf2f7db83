"""Keys, certificates and revocation lists: what is forged, old or withdrawn is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.shared.envelopes import open_signed, parse, serialise, verify
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.identity import (
    Certificate,
    Revocations,
    SigningKey,
    Trust,
    declared_users,
    is_name,
    sealed_plan,
)
from groundswell.shared.wire import groundswell_pb2 as wire

NOW = 1_700_000_000
AUTHORITY, COORDINATOR, SITE = (SigningKey.generate() for _ in range(3))
TRUST = Trust(AUTHORITY.public, COORDINATOR.public)
CERTIFICATE = Certificate("north", "acme", SITE.public, 1200, NOW - 10, NOW + 10, 7)


def code_of(call: Callable[..., object], *arguments: object) -> str | None:
    """The code of the refusal that a call ends in, or None."""
    try:
        call(*arguments)
    except Refusal as refused:
        return refused.code
    return None


def test_a_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    SITE.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.read(path).public == SITE.public
    before = path.read_bytes()
    with pytest.raises(InputError, match="never overwritten"):
        SigningKey.generate().write(path)
    assert path.read_bytes() == before


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    SITE.write(path)
    path.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        SigningKey.read(path)


@pytest.mark.fuzz
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=64))
def test_any_bytes_in_a_key_file_give_a_key_or_one_clear_error(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("key") / "key"
    path.write_bytes(data)
    path.chmod(0o600)
    if len(data) == 32:
        assert len(SigningKey.read(path).public) == 32
    else:
        with pytest.raises(InputError, match="no Ed25519 key"):
            SigningKey.read(path)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.key"):
        SigningKey.read(tmp_path / "missing.key")


def test_a_key_does_not_print_its_secret() -> None:
    secret = SITE._private.private_bytes_raw()
    assert secret.hex() not in repr(SITE)
    assert repr(secret)[2:-1] not in repr(SITE)


def test_a_certificate_survives_the_wire() -> None:
    signed = CERTIFICATE.sealed_by(AUTHORITY)
    assert TRUST.certificate(signed, NOW) == CERTIFICATE
    assert TRUST.certificate(signed, NOW) == CERTIFICATE


def test_a_certificate_of_another_authority_is_refused() -> None:
    signed = CERTIFICATE.sealed_by(SigningKey.generate())
    assert code_of(TRUST.certificate, signed, NOW) == "bad-certificate"


def test_a_certificate_is_refused_outside_its_time_even_when_known() -> None:
    signed = CERTIFICATE.sealed_by(AUTHORITY)
    TRUST.certificate(signed, NOW)
    assert code_of(TRUST.certificate, signed, NOW + 11) == "certificate-expired"
    assert code_of(TRUST.certificate, signed, NOW - 11) == "certificate-expired"


@pytest.mark.parametrize(
    "broken",
    [
        replace(CERTIFICATE, name="North Shop"),
        replace(CERTIFICATE, merchant=""),
        replace(CERTIFICATE, public_key=bytes(31)),
        replace(CERTIFICATE, declared_users=1234),
        replace(CERTIFICATE, declared_users=0),
        replace(CERTIFICATE, not_after=NOW - 10),
    ],
)
def test_a_certificate_that_breaks_a_rule_is_refused(broken: Certificate) -> None:
    assert code_of(TRUST.certificate, broken.sealed_by(AUTHORITY), NOW) == "bad-certificate"


def test_a_signature_for_one_purpose_does_not_serve_another() -> None:
    signed = SITE.seal(wire.StatusRequest(run=bytes(16)))
    assert verify(SITE.public, "StatusRequest", signed.body, signed.signature)
    assert not verify(SITE.public, "FinishRequest", signed.body, signed.signature)
    assert code_of(open_signed, signed, wire.FinishRequest, SITE.public) == "bad-signature"


def test_revocation_lists_are_signed_numbered_and_expire() -> None:
    listed = Revocations(4, NOW, NOW + 10, frozenset({7, 9}))
    read = TRUST.revocations(listed.sealed_by(AUTHORITY))
    assert read == listed
    read.check_current(4, NOW)
    assert code_of(read.check_current, 5, NOW) == "revocations-older"
    assert code_of(read.check_current, 4, NOW + 11) == "revocations-expired"
    assert code_of(read.check_none_revoked, [CERTIFICATE]) == "certificate-revoked"
    forged = listed.sealed_by(SITE)
    assert code_of(TRUST.revocations, forged) == "bad-revocations"


def test_a_plan_needs_the_coordinators_signature() -> None:
    request = sealed_plan(b"{}", COORDINATOR)
    assert TRUST.plan(request) == b"{}"
    assert code_of(TRUST.plan, sealed_plan(b"{}", SITE)) == "bad-plan-signature"
    request.plan = b"{ }"
    assert code_of(TRUST.plan, request) == "bad-plan-signature"


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**12))
def test_declared_users_are_the_least_two_digit_number_above(users: int) -> None:
    declared = declared_users(users)
    assert declared >= users
    assert len(str(declared).rstrip("0")) <= 2
    assert declared_users(declared) == declared
    assert declared - users < 0.1 * users


def test_declared_users_must_be_positive() -> None:
    with pytest.raises(InputError, match="declared_users"):
        declared_users(0)


@pytest.mark.parametrize(
    ("text", "right"),
    [("a", True), ("a-b.c_9", True), ("", False), ("A", False), ("-a", False), ("a" * 64, False)],
)
def test_names_are_short_and_plain(text: str, right: bool) -> None:
    assert is_name(text) is right


@pytest.mark.fuzz
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_as_certificate_or_list_are_refused_with_a_code(body: bytes, sign: bool) -> None:
    """Signed by the authority or not: nothing but a Refusal comes out of the parsers."""
    codes = {None, "bad-certificate", "certificate-expired", "bad-revocations", "malformed"}
    for purpose, read in (
        ("CertificateBody", lambda signed: TRUST.certificate(signed, NOW)),
        ("RevocationListBody", TRUST.revocations),
    ):
        signature = AUTHORITY.sign_bytes(purpose, body) if sign else bytes(64)
        assert code_of(read, wire.Signed(body=body, signature=signature)) in codes


@pytest.mark.fuzz
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for kind in (wire.VaultRequest, wire.VaultReply, wire.Advertisement, wire.Signed):
        code = code_of(parse, kind, data)
        assert code in {None, "malformed"}
        if code is None:
            message = parse(kind, data)
            assert parse(kind, serialise(message)) == message
