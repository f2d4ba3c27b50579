# SPDX-License-Identifier: Apache-2.0
"""A certificate authority of one's own, for one machine: ``ca.pem`` and the server's certificate.

``keyfob up`` must speak TLS from the first minute, before its owner has a certificate from
anywhere. Whoever has one replaces ``server.pem`` and ``server.key``.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["ensure_certificates", "write_private"]

_AUTHORITY_DAYS: Final = 3650
# Apple's and the CA/Browser Forum's ceiling for leaf certificates that clients accept.
_SERVER_DAYS: Final = 397
_RENEW_BEFORE_DAYS: Final = 30


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def ensure_certificates(
    directory: Path, names: Sequence[str], *, now: datetime.datetime
) -> list[str]:
    """Make the authority and the server's certificate where they are missing or about to end.

    Args:
        directory: Where ``ca.pem``, ``ca.key``, ``server.pem`` and ``server.key`` live.
        names: DNS names and IP addresses that the server's certificate covers.
        now: The present time, with a time zone.

    Returns:
        The names of the files that were written: empty when nothing was needed.
    """
    written = []
    authority_file, authority_key_file = directory / "ca.pem", directory / "ca.key"
    if not authority_file.exists():
        authority_key = ec.generate_private_key(ec.SECP256R1())
        authority = _authority(authority_key, now)
        write_private(authority_key_file, _pem(authority_key))
        authority_file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
        written += ["ca.pem", "ca.key"]
    server_file = directory / "server.pem"
    if not server_file.exists() or (_ends_soon(server_file, now) and authority_key_file.exists()):
        authority = x509.load_pem_x509_certificate(authority_file.read_bytes())
        loaded = serialization.load_pem_private_key(authority_key_file.read_bytes(), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise TypeError("ca.key is not the elliptic curve key that belongs to ca.pem")
        server_key = ec.generate_private_key(ec.SECP256R1())
        server = _server(server_key, loaded, authority, names, now)
        write_private(directory / "server.key", _pem(server_key))
        server_file.write_bytes(server.public_bytes(serialization.Encoding.PEM))
        written += ["server.pem", "server.key"]
    return written


def _ends_soon(path: Path, now: datetime.datetime) -> bool:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.not_valid_after_utc - now < datetime.timedelta(days=_RENEW_BEFORE_DAYS)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    name = _name("Keyfob local authority")
    return (
        _builder(name, name, key, now, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _server(
    key: ec.EllipticCurvePrivateKey,
    authority_key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    names: Sequence[str],
    now: datetime.datetime,
) -> x509.Certificate:
    return (
        _builder(_name(names[0]), authority.subject, key, now, _SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_alternative(n) for n in names]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back: clocks of devices are not exact.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
