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
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keyfob.errors import ConfigError

__all__ = ["ensure_certificates", "write_private"]

_AUTHORITY_DAYS: Final = 3650
# Apple's and the CA/Browser Forum's ceiling for leaf certificates that clients accept.
_SERVER_DAYS: Final = 397
_RENEW_BEFORE: Final = datetime.timedelta(days=30)
_PUBLIC: Final = 0o644


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    _write(path, content, 0o600)


def ensure_certificates(
    directory: Path, names: Sequence[str], *, now: datetime.datetime
) -> list[str]:
    """Make the authority and the server's certificate where they are missing or about to end.

    A certificate that somebody else signed is its owner's business and left alone.

    Args:
        directory: Where ``ca.pem``, ``ca.key``, ``server.pem`` and ``server.key`` live.
        names: DNS names and IP addresses that the server's certificate covers; one that lacks the
            first is replaced.
        now: The present time, with a time zone.

    Returns:
        The names of the files that were written: empty when nothing was needed.

    Raises:
        ConfigError: A file is not what its name says.
    """
    written = []
    if not (directory / "ca.pem").exists():
        _make_authority(directory, now)
        written += ["ca.pem", "ca.key"]
    authority = _certificate(directory / "ca.pem")
    if _is_needed(directory, authority, names[0], now):
        _make_server(directory, authority, names, now)
        written += ["server.pem", "server.key"]
    return written


def _make_authority(directory: Path, now: datetime.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    write_private(directory / "ca.key", _pem(key))
    _write(directory / "ca.pem", _public_pem(_authority(key, now)), _PUBLIC)


def _make_server(
    directory: Path, authority: x509.Certificate, names: Sequence[str], now: datetime.datetime
) -> None:
    authority_key = _private_key(directory / "ca.key")
    key = ec.generate_private_key(ec.SECP256R1())
    # One after the other: whoever is interrupted here finds a key that does not fit, next time.
    write_private(directory / "server.key", _pem(key))
    certificate = _server(key, authority_key, authority, names, now)
    _write(directory / "server.pem", _public_pem(certificate), _PUBLIC)


def _is_needed(
    directory: Path, authority: x509.Certificate, name: str, now: datetime.datetime
) -> bool:
    file, key_file = directory / "server.pem", directory / "server.key"
    if not file.exists() or not key_file.exists():
        return True
    certificate = _certificate(file)
    try:
        certificate.verify_directly_issued_by(authority)
    except InvalidSignature:  # of an authority of ours that is gone
        return True
    except (ValueError, TypeError):
        return False
    if not (directory / "ca.key").exists():  # kept elsewhere by a careful owner
        return False
    return (
        certificate.not_valid_after_utc - now < _RENEW_BEFORE
        or _private_key(key_file).public_key() != certificate.public_key()
        or _alternative(name) not in _alternatives(certificate)
    )


def _alternatives(certificate: x509.Certificate) -> Sequence[x509.GeneralName]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return list(found.value)


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        raise ConfigError(f"{path} is not a certificate in PEM form") from None


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: no certificate can be made without it") from None
    except (ValueError, TypeError):
        raise ConfigError(f"{path} is not a private key in PEM form without a password") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path} is not the elliptic curve key that Keyfob made")
    return key


def _write(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)  # of one who was interrupted; its mode would stay
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


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
        _builder(_name("Keyfob server"), authority.subject, key, now, _SERVER_DAYS)
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
