# SPDX-License-Identifier: Apache-2.0
"""Certificates of clients under test, by an authority or by themselves."""

from __future__ import annotations

import base64
import datetime
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
_HOUR = datetime.timedelta(hours=1)


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Shown:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def thumbprint(self) -> str:
        """x5t#S256, by means that are not ours."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.der).digest()).decode().rstrip("=")

    @property
    def jwk(self) -> dict[str, Any]:
        numbers = self.key.public_key().public_numbers()
        x, y = (
            base64.urlsafe_b64encode(number.to_bytes(32)).decode().rstrip("=")
            for number in (numbers.x, numbers.y)
        )
        chain = [base64.b64encode(self.der).decode()]
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "x5c": chain}

    def files(self, folder: Path, name: str) -> tuple[str, str]:
        """Write both and return their paths."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(certificate), str(key)


def signed(
    subject: x509.Name,
    *,
    issuer: Shown | None = None,
    names: list[x509.GeneralName] | None = None,
    usage: x509.ObjectIdentifier | None = CLIENT,
    authority: bool = False,
    begins: datetime.timedelta = -_HOUR,
    ends: datetime.timedelta = _HOUR,
    now: datetime.datetime | None = None,
) -> Shown:
    """Make a certificate; without an issuer it is signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = now or datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usage is not None and not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Shown(builder.sign(key if issuer is None else issuer.key, hashes.SHA256()), key)
