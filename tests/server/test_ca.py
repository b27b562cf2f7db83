"""The consortium's CA: approval by fingerprint, revocation, and a register that shows tampering."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from groundswell.client import enrolment
from groundswell.server.ca import Authority
from groundswell.server.ca_cli import app
from groundswell.shared import armour
from groundswell.shared.errors import InputError
from groundswell.shared.identity import SigningKey, Trust
from groundswell.shared.wire import groundswell_pb2 as wire

NOW = 1_700_000_000
DAY = 24 * 3600


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "ca", now=NOW, days=30)


def requested(folder: Path, name: str, users: int = 1234) -> enrolment.Enrolment:
    return enrolment.request(folder / name, name=name, merchant="acme", users=users)


def trust_of(authority: Authority) -> Trust:
    return Trust(
        armour.read_public_key(authority.folder / "ca.public"), SigningKey.generate().public
    )


def test_a_site_is_certified_by_its_fingerprint(authority: Authority, tmp_path: Path) -> None:
    request = requested(tmp_path, "north")
    certificate, path = authority.approve(request.path, request.fingerprint, now=NOW, days=365)
    assert (certificate.name, certificate.merchant, certificate.serial) == ("north", "acme", 1)
    assert certificate.declared_users == 1300
    own = enrolment.accept_certificate(tmp_path / "north", path, trust_of(authority), NOW)
    assert own == certificate
    assert own.region == ""
    kept = armour.read_signed(tmp_path / "north" / "site.certificate", armour.CERTIFICATE)
    assert trust_of(authority).certificate(kept, NOW) == certificate


def test_the_ca_gives_a_site_its_region(authority: Authority, tmp_path: Path) -> None:
    request = requested(tmp_path, "shop")
    for wrong in ("The North", "north/east", "north@"):
        with pytest.raises(InputError, match="--region"):
            authority.approve(request.path, request.fingerprint, now=NOW, days=365, region=wrong)
    certificate, path = authority.approve(
        request.path, request.fingerprint, now=NOW, days=365, region="north"
    )
    assert certificate.region == "north"
    assert authority.entries()[-1].certificate.region == "north"
    own = enrolment.accept_certificate(tmp_path / "shop", path, trust_of(authority), NOW)
    assert own.region == "north"


def test_another_fingerprint_is_refused_without_telling_the_right_one(
    authority: Authority, tmp_path: Path
) -> None:
    request = requested(tmp_path, "north")
    other = requested(tmp_path, "south")
    with pytest.raises(InputError) as refused:
        authority.approve(request.path, other.fingerprint, now=NOW, days=365)
    assert request.fingerprint not in str(refused.value)
    assert authority.entries() == []


def test_a_request_that_was_altered_is_refused(authority: Authority, tmp_path: Path) -> None:
    request = requested(tmp_path, "north")
    signed = armour.read_signed(request.path, armour.REQUEST)
    body = wire.EnrolmentBody.FromString(signed.body)
    body.merchant = "rival"
    signed.body = body.SerializeToString()
    armour.write_signed(request.path, armour.REQUEST, signed)
    with pytest.raises(InputError, match="signature does not fit"):
        authority.approve(request.path, request.fingerprint, now=NOW, days=365)


def test_a_name_or_a_key_is_certified_once_at_a_time(authority: Authority, tmp_path: Path) -> None:
    request = requested(tmp_path, "north")
    authority.approve(request.path, request.fingerprint, now=NOW, days=10)
    with pytest.raises(InputError, match="revoke it first"):
        authority.approve(request.path, request.fingerprint, now=NOW, days=10)
    renamed = enrolment.request(tmp_path / "north", name="north2", merchant="acme", users=10)
    with pytest.raises(InputError, match="name or key"):
        authority.approve(renamed.path, renamed.fingerprint, now=NOW, days=10)
    # After its end the same site may be certified again, under the next number.
    later = NOW + 11 * DAY
    certificate, _ = authority.approve(request.path, request.fingerprint, now=later, days=10)
    assert certificate.serial == 2
    assert [entry.state(later) for entry in authority.entries()] == ["expired", "valid"]


def test_a_revoked_site_stands_in_the_next_list(authority: Authority, tmp_path: Path) -> None:
    for name in ("north", "south"):
        request = requested(tmp_path, name)
        authority.approve(request.path, request.fingerprint, now=NOW, days=365)
    path = authority.folder / "revocations.list"
    before = trust_of(authority).revocations(armour.read_signed(path, armour.REVOCATIONS))
    assert (before.number, before.serials) == (1, frozenset())
    assert authority.revoke("south", now=NOW + 5, days=7) == [2]
    after = trust_of(authority).revocations(armour.read_signed(path, armour.REVOCATIONS))
    assert (after.number, after.serials) == (2, frozenset({2}))
    assert after.expires_at == NOW + 5 + 7 * DAY
    assert authority.publish(now=NOW + 6, days=7).number == 3
    assert [entry.state(NOW) for entry in authority.entries()] == ["valid", "revoked"]
    with pytest.raises(InputError, match="no valid certificate"):
        authority.revoke("south", now=NOW + 7, days=7)


def test_the_sum_of_all_sites_must_keep_its_headroom(authority: Authority, tmp_path: Path) -> None:
    large = requested(tmp_path, "large", users=8 * 10**9)
    authority.approve(large.path, large.fingerprint, now=NOW, days=10)
    more = requested(tmp_path, "more", users=10**9)
    with pytest.raises(InputError, match="64-bit"):
        authority.approve(more.path, more.fingerprint, now=NOW, days=10)


def test_a_ca_is_never_overwritten(authority: Authority) -> None:
    with pytest.raises(InputError, match="never overwritten"):
        Authority.create(authority.folder, now=NOW, days=30)


@pytest.mark.parametrize("change", ["alter", "remove", "swap", "truncate", "garbage"])
def test_a_register_that_was_tampered_with_is_refused(
    authority: Authority, tmp_path: Path, change: str
) -> None:
    for name in ("north", "south"):
        request = requested(tmp_path, name)
        authority.approve(request.path, request.fingerprint, now=NOW, days=365)
    path = authority.folder / "register.jsonl"
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    if change == "alter":
        envelope = json.loads(lines[1])
        envelope["body"] = json.loads(lines[0])["body"]
        lines[1] = json.dumps(envelope)
    elif change == "remove":
        del lines[1]
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    elif change == "truncate":
        del lines[-1]
    else:
        lines[1] = "{"
    path.write_text("".join(line + "\n" for line in lines))
    with pytest.raises(InputError, match="altered"):
        authority.entries()


def test_a_certificate_of_another_site_is_not_accepted(
    authority: Authority, tmp_path: Path
) -> None:
    north, south = requested(tmp_path, "north"), requested(tmp_path, "south")
    _, path = authority.approve(north.path, north.fingerprint, now=NOW, days=365)
    with pytest.raises(InputError, match="another key"):
        enrolment.accept_certificate(tmp_path / "south", path, trust_of(authority), NOW)
    stranger = Trust(SigningKey.generate().public, SigningKey.generate().public)
    with pytest.raises(InputError, match="did not sign"):
        enrolment.accept_certificate(tmp_path / "north", path, stranger, NOW)
    with pytest.raises(InputError, match="not valid now"):
        enrolment.accept_certificate(tmp_path / "north", path, trust_of(authority), NOW + 366 * DAY)
    assert south.path.exists()


def test_a_second_request_keeps_the_sites_key(tmp_path: Path) -> None:
    first = requested(tmp_path, "north")
    second = requested(tmp_path, "north", users=5000)
    assert first.fingerprint == second.fingerprint
    assert second.declared_users == 5000
    assert (tmp_path / "north" / "site.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "merchant", "users"),
    [("North", "acme", 5), ("north", "Acme Ltd", 5), ("north", "acme", 0)],
)
def test_a_request_that_no_ca_could_approve_is_refused_at_once(
    tmp_path: Path, name: str, merchant: str, users: int
) -> None:
    with pytest.raises(InputError):
        enrolment.request(tmp_path / "site", name=name, merchant=merchant, users=users)
    assert not (tmp_path / "site").exists()


@pytest.mark.fuzz
@settings(max_examples=200, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=100).map(lambda data: armour.encode(armour.REQUEST, data).encode()),
    )
)
def test_any_file_as_a_request_gives_one_clear_error(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    if not (folder / "ca").exists():
        Authority.create(folder / "ca", now=NOW, days=30)
    authority = Authority(folder / "ca")
    (folder / "request").write_bytes(data)
    with pytest.raises(InputError) as refused:
        authority.approve(folder / "request", "", now=NOW, days=1)
    assert "\n" not in str(refused.value)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_armour_gives_back_every_byte(data: bytes) -> None:
    text = armour.encode(armour.CERTIFICATE, data)
    assert armour.decode(armour.CERTIFICATE, text) == data
    with pytest.raises(ValueError, match="no request"):
        armour.decode("REQUEST", text)


def test_the_commands_run_from_request_to_revocation(tmp_path: Path) -> None:
    run = CliRunner()
    folder = str(tmp_path / "ca")
    request = requested(tmp_path, "north")
    assert run.invoke(app, ["init", "--dir", folder]).exit_code == 0
    approve = ["approve", str(request.path), "--fingerprint", request.fingerprint, "--dir", folder]
    result = run.invoke(app, approve)
    assert result.exit_code == 0
    assert "certificate 1: site north of merchant acme, 1300 declared users" in result.output
    listed = run.invoke(app, ["list", "--dir", folder, "--json", "-"])
    figures = json.loads(listed.output)
    assert figures["revocation_list"] == 1
    assert figures["certificates"][0]["state"] == "valid"
    assert "valid" in run.invoke(app, ["list", "--dir", folder]).output
    assert run.invoke(app, ["revoke", "north", "--dir", folder]).exit_code == 0
    assert "list 3" in run.invoke(app, ["publish", "--dir", folder]).output
    again = run.invoke(app, ["revoke", "north", "--dir", folder])
    assert isinstance(again.exception, InputError)
