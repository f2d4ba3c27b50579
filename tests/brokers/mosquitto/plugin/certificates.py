# SPDX-License-Identifier: Apache-2.0
"""Certificates for a test: an authority of its own, and what it issues."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.free_ports import free_port

__all__ = ["Authority", "Issued", "Listener", "tls_listener"]


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path
    thumbprint: bytes  # x5t#S256 (RFC 8705 section 3.1)

    def tls(self, authority: Authority) -> dict[str, str]:
        """Return what paho's ``tls_set`` takes."""
        return {
            "ca_certs": str(authority.certificate),
            "certfile": str(self.certificate),
            "keyfile": str(self.key),
        }


class Authority:
    """Signs certificates for ``localhost`` and for devices; its files are in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        itself = x509.BasicConstraints(ca=True, path_length=0)
        certificate = self._signed(self._name, self._key.public_key(), itself)
        self.certificate = self._write("authority.pem", certificate)

    def issue(self, name: str) -> Issued:
        """Issue a certificate for ``name``."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=False, path_length=None)
        certificate = self._signed(subject, key.public_key(), constraints, name)
        key_file = self._directory / f"{name}.key"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return Issued(
            self._write(f"{name}.pem", certificate),
            key_file,
            certificate.fingerprint(hashes.SHA256()),
        )

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        constraints: x509.BasicConstraints,
        host: str = "",
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(constraints, critical=True)
        )
        if host:
            # Devices connect to 127.0.0.1.
            names = x509.SubjectAlternativeName(
                [x509.DNSName(host), x509.IPAddress(ip_address("127.0.0.1"))]
            )
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self._directory / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


def tls_listener(port: int, authority: Authority, server: Issued) -> tuple[str, ...]:
    """Return the configuration of a listener that wants a certificate."""
    return (
        f"listener {port} 127.0.0.1",
        f"cafile {authority.certificate}",
        f"certfile {server.certificate}",
        f"keyfile {server.key}",
        "require_certificate true",
    )


class Listener:
    """One that wants a certificate, and somebody who has one.

    Args:
        directory: Where the files are.
        name: Whom the certificate names.
    """

    def __init__(self, directory: Path, name: str = "holder") -> None:
        authority = Authority(directory)
        server, holder = authority.issue("localhost"), authority.issue(name)
        self.port = free_port()
        self.lines = tls_listener(self.port, authority, server)
        self.tls = holder.tls(authority)
        self.thumbprint = holder.thumbprint
