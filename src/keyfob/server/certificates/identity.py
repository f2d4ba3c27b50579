# SPDX-License-Identifier: Apache-2.0
"""What a client's certificate has to be, and whether the one that is shown is it (RFC 8705).

    tls_client_auth              an authority vouches for one name: the subject, or one entry of
                                 subjectAltName (section 2.1.2). Exactly one of the five is
                                 registered; a subject's CN is never taken for an entry.
    self_signed_tls_client_auth  it is one of those certificates, byte for byte (section 2.2).

The validity is looked at each time: a connection, or a session that is resumed, may outlive it.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Final

from keyfob.errors import ConfigError
from keyfob.server.certificates.distinguished_names import parse_name
from keyfob.server.certificates.reading import CertificateFacts

__all__ = ["DECOY", "CertificateIdentity", "fault_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateIdentity:
    """What is registered; one of these, or nothing.

    Args:
        subject_dn: In the form of RFC 4514.
        san_dns: A DNS name, as A-labels.
        san_uri: A URI.
        san_ip: An IPv4 or IPv6 address.
        san_email: A mail address.
        thumbprints: Of certificates, self-signed or not.
    """

    subject_dn: str = ""
    san_dns: str = ""
    san_uri: str = ""
    san_ip: str = ""
    san_email: str = ""
    thumbprints: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.thumbprints) or self.names

    @property
    def names(self) -> bool:
        """Whether it is a name, for which an authority has to vouch."""
        return bool(
            self.subject_dn or self.san_dns or self.san_uri or self.san_ip or self.san_email
        )


DECOY: Final = CertificateIdentity(subject_dn="CN=nobody")
"""Of nobody: what is compared where nothing is registered, so that it costs the same."""


def fault_of(
    expected: CertificateIdentity, facts: CertificateFacts, *, verified: bool, now: float
) -> str | None:
    """Say in a word why a certificate is not the expected one; None where it is.

    Every comparison is made, whatever is registered.

    Args:
        expected: What is registered.
        facts: What the certificate says.
        verified: Whether an authority that is trusted vouches for it.
        now: Unix seconds.
    """
    found = any(
        [
            _has_subject(expected.subject_dn, facts),
            # What is not registered is empty, and a certificate may have an empty entry.
            bool(expected.san_dns) & (expected.san_dns.lower() in facts.dns),
            bool(expected.san_uri) & (expected.san_uri in facts.uris),
            bool(expected.san_ip) & (_packed(expected.san_ip) in facts.ips),
            bool(expected.san_email) & _has_mail(expected.san_email, facts),
        ]
    )
    pins = [hmac.compare_digest(one, facts.thumbprint) for one in expected.thumbprints or ("",)]
    pinned = any(pins)
    if not facts.not_before <= now <= facts.not_after:
        return "certificate_expired" if now > facts.not_after else "certificate_not_yet_valid"
    if not expected.names:
        return None if pinned else "certificate_wrong"
    if not verified:
        return "certificate_unverified"
    return None if found else "certificate_wrong"


def _has_subject(text: str, facts: CertificateFacts) -> bool:
    try:
        name = parse_name(text or DECOY.subject_dn)
    except ConfigError:  # the register holds what was never checked
        return False
    return bool(text) and name == facts.subject


def _packed(address: str) -> bytes:
    try:
        return ipaddress.ip_address(address).packed
    except ValueError:
        return b""


def _has_mail(address: str, facts: CertificateFacts) -> bool:
    """Compare the part before the @ as it is, the host without case (RFC 5280 section 7.5)."""
    return _folded(address) in {_folded(one) for one in facts.emails}


def _folded(address: str) -> str:
    local, at, host = address.rpartition("@")
    return local + at + host.lower()
