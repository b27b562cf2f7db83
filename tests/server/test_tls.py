"""The coordinator's TLS: a client that pins the root connects by every name, and no other does."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from groundswell.server.tls import TlsFiles
from groundswell.shared.errors import InputError


@pytest.fixture
def tls(tmp_path: Path) -> TlsFiles:
    files = TlsFiles(tmp_path / "tls")
    files.create("fleet.example.org")
    return files


def handshake(files: TlsFiles, root: Path, name: str) -> str | None:
    """The protocol of one TLS connection over a pair of sockets; raises ``ssl.SSLError``."""
    here, there = socket.socketpair()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)

    def serve() -> None:
        try:
            server.wrap_socket(there, server_side=True).close()
        except (ssl.SSLError, OSError):
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client = ssl.create_default_context(cafile=str(root))
        with client.wrap_socket(here, server_hostname=name) as connected:
            return connected.version()
    finally:
        here.close()
        thread.join(5)


@pytest.mark.parametrize("name", ["fleet.example.org", "localhost", "127.0.0.1"])
def test_the_certificate_holds_the_outside_name_and_the_loopback(tls: TlsFiles, name: str) -> None:
    assert handshake(tls, tls.root, name) == "TLSv1.3"


def test_another_name_is_refused(tls: TlsFiles) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls, tls.root, "other.example.org")


def test_another_root_is_refused(tls: TlsFiles, tmp_path: Path) -> None:
    other = TlsFiles(tmp_path / "other")
    other.create("fleet.example.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls, other.root, "fleet.example.org")


def test_an_expired_certificate_is_refused_and_renewal_mends_it(tls: TlsFiles) -> None:
    tls.renew("fleet.example.org", datetime.now(UTC) - timedelta(days=400))
    assert tls.days_left() < 0
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(tls, tls.root, "localhost")
    tls.renew("fleet.example.org")
    assert handshake(tls, tls.root, "localhost") == "TLSv1.3"


def test_keys_are_the_owners_alone_and_are_not_overwritten(tls: TlsFiles) -> None:
    assert tls.key.stat().st_mode & 0o077 == 0
    with pytest.raises(InputError, match="never overwritten"):
        tls.create("fleet.example.org")
