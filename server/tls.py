"""TLS for the coordinator: a root of its own, and a server certificate that names where it listens.

Sites pin the root, which the invitation carries; so no public CA and no system store is trusted.
The root key signs server certificates and nothing else, and stays in the coordinator's folder.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from groundswell.shared.errors import InputError

_ROOT_DAYS = 3650
# Some clients refuse a server certificate that is valid for longer.
_SERVER_DAYS = 397
_SLACK = timedelta(hours=1)


@dataclass(frozen=True)
class TlsFiles:
    """The coordinator's TLS files in one folder.

    Attributes:
        folder: holds ``root.pem``, ``root.key``, ``server.pem`` (with the root behind it) and
            ``server.key``.
    """

    folder: Path

    @property
    def root(self) -> Path:
        """What sites and the coordinator's own processes check servers against."""
        return self.folder / "root.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        return self.folder / "server.key"

    @property
    def _root_key(self) -> Path:
        return self.folder / "root.key"

    def create(self, host: str, now: datetime | None = None) -> None:
        """Make the root and the first server certificate.

        Raises:
            InputError: there is a root already; it is never overwritten.
        """
        if self._root_key.exists():
            raise InputError(
                "tls", str(self._root_key), "exists, and a key is never overwritten", "keep it"
            )
        now = now or datetime.now(UTC)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP384R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Groundswell coordinator root")])
        root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SLACK)
            .not_valid_after(now + timedelta(days=_ROOT_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA384())
        )
        _write_secret(self._root_key, _private_pem(key))
        self.root.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        self.renew(host, now)

    def renew(self, host: str, now: datetime | None = None) -> None:
        """A new key and certificate for ``host`` and the loopback names, under the same root."""
        now = now or datetime.now(UTC)
        root = x509.load_pem_x509_certificate(self.root.read_bytes())
        root_key = serialization.load_pem_private_key(self._root_key.read_bytes(), None)
        if not isinstance(root_key, ec.EllipticCurvePrivateKey):
            raise InputError("tls", str(self._root_key), "is no EC key", "bring back the right one")
        key = ec.generate_private_key(ec.SECP384R1())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])]))
            .issuer_name(root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SLACK)
            .not_valid_after(now + timedelta(days=_SERVER_DAYS))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
                critical=False,
            )
            .sign(root_key, hashes.SHA384())
        )
        _write_secret(self.key, _private_pem(key))
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.certificate.write_bytes(pem + self.root.read_bytes())

    def days_left(self, now: datetime | None = None) -> float:
        """Days until the server certificate ends."""
        certificate = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        left = certificate.not_valid_after_utc - (now or datetime.now(UTC))
        return left / timedelta(days=1)


def _names(host: str) -> list[x509.GeneralName]:
    """The outside name, and those that processes on the coordinator's machine use."""
    names: list[x509.GeneralName] = []
    for each in dict.fromkeys([host, "localhost", "127.0.0.1"]):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(each)))
        except ValueError:
            names.append(x509.DNSName(each))
    return names


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_secret(path: Path, data: bytes) -> None:
    """Replace a file that its owner alone may read."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(data)
    part.replace(path)
