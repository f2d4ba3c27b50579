# SPDX-License-Identifier: Apache-2.0
"""A certificate, taken apart: only what a client may be known by."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from cryptography import x509

from keyfob.errors import ConfigError
from keyfob.http.client_certificate import MAX_CERTIFICATE_BYTES
from keyfob.server.certificates.distinguished_names import DistinguishedName, subject_of

__all__ = ["CertificateFacts", "read_certificate", "thumbprint"]

_MAX_NAMES: Final = 256
_NO_NAMES: Final = (
    ValueError,
    TypeError,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_Textual: TypeAlias = (
    type[x509.DNSName] | type[x509.UniformResourceIdentifier] | type[x509.RFC822Name]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """What a certificate says.

    Args:
        thumbprint: As ``thumbprint`` gives it.
        subject: Its subject; None where that is no text.
        dns: Its dNSName entries, lower case (RFC 5280 section 7.2).
        uris: Its uniformResourceIdentifier entries.
        ips: Its iPAddress entries, in network order.
        emails: Its rfc822Name entries.
        not_before: In Unix seconds.
        not_after: In Unix seconds.
    """

    thumbprint: str
    subject: DistinguishedName | None
    dns: frozenset[str]
    uris: frozenset[str]
    ips: frozenset[bytes]
    emails: frozenset[str]
    not_before: float
    not_after: float


def thumbprint(der: bytes) -> str:
    """Return ``x5t#S256``: the SHA-256 of the DER, in base64url (RFC 8705 section 3.1)."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode("ascii")


def read_certificate(der: bytes) -> CertificateFacts:
    """Take a certificate apart; its signature is not looked at.

    Args:
        der: The certificate.

    Raises:
        ConfigError: It is none, or too large.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise ConfigError(f"a certificate has {MAX_CERTIFICATE_BYTES} bytes at most")
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = _alternative_names(certificate)
        return CertificateFacts(
            thumbprint=thumbprint(der),
            subject=subject_of(certificate.subject),
            dns=frozenset(name.lower() for name in _ascii(names, x509.DNSName)),
            uris=frozenset(_ascii(names, x509.UniformResourceIdentifier)),
            ips=frozenset(
                address.packed
                for address in names.get_values_for_type(x509.IPAddress)
                if hasattr(address, "packed")  # a network is no address
            ),
            emails=frozenset(_ascii(names, x509.RFC822Name)),
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
        )
    # The library says TypeError of a subject with a value of a kind that its type cannot have.
    except (ValueError, TypeError, OverflowError, x509.InvalidVersion):
        raise ConfigError("this is no certificate") from None


def _ascii(names: x509.SubjectAlternativeName, kind: _Textual) -> Iterator[str]:
    """Return the entries of a kind that are what they have to be, an IA5String.

    Without case some other letters become these: U+212A, the sign for kelvin, a k.
    """
    return (name for name in names.get_values_for_type(kind) if name.isascii())


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    """Return the names beside the subject; none where they cannot be read, or are too many.

    A name that is not well formed spoils all of them: what a parser makes of such a name is a
    guess.
    """
    nothing = x509.SubjectAlternativeName([])
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _NO_NAMES:
        return nothing
    return found if len(found) <= _MAX_NAMES else nothing
