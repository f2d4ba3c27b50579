# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``server.certificates.reading``: certificates that somebody has changed."""

from __future__ import annotations

import base64
import warnings
from typing import Final

from fuzz import octets
from fuzz.chance import Chance
from fuzz.target import Target, demand
from keyfob.errors import ConfigError
from keyfob.server.certificates.identity import DECOY, CertificateIdentity, fault_of
from keyfob.server.certificates.reading import read_certificate

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "Any octets are a certificate or no certificate and raise nothing else; what is nobody's "
    "name fits none, and a certificate with one changed octet is another one."
)
# Signed by itself, for the tests; its key was thrown away.
_DER: Final = base64.b64decode(
    "MIIBwTCCAWegAwIBAgIULTwJG0rJrskX6OT8P0ALtMpgbJQwCgYIKoZIzj0EAwIwLzENMAsGA1UECgwEQWNtZTEe"
    "MAsGA1UEAwwEZGV2MTAPBgoJkiaJk/IsZAEBDAE3MB4XDTI2MTEyNjE1MDUzNVoXDTI2MTEyNjE3MDUzNVowLzEN"
    "MAsGA1UECgwEQWNtZTEeMAsGA1UEAwwEZGV2MTAPBgoJkiaJk/IsZAEBDAE3MFkwEwYHKoZIzj0CAQYIKoZIzj0D"
    "AQcDQgAEm3Q51DZEO8VEiQWuw1cL9XQ2/Aj+aNgQoWlVR8EU4vObviJN1okBEJNlINGuE+SQXeEmFsDzMPlTNjNE"
    "PVG92KNhMF8wDAYDVR0TAQH/BAIwADA6BgNVHREEMzAxggxkZXYxLmV4YW1wbGWGCXVybjpkZXY6MYEQZGV2MUBl"
    "eGFtcGxlLmNvbYcEwAACATATBgNVHSUEDDAKBggrBgEFBQcDAjAKBggqhkjOPQQDAgNIADBFAiEA1CVjDEmDduX1"
    "HtKnc/DvfP0dRmv8qVy90FNOYKeEWE8CIDIWbueEr/+IiifmqZKlkg1sZBkBenSbAqIZII2dSRVQ"
)
_WORDS: Final = (
    *(b"\x00", b"*.", b"\x30\x80", b"\x06\x03\x55\x04\x03", b"\x0c\x04", b"\x13\x04", b"\x1e\x08"),
    *(b"\x82\x0cdev1.example", b"\x86\x09urn:dev:1", b"\x87\x04\xc0\x00\x02\x01", b"\xe2\x84\xaa"),
)
_NAMES: Final = (
    CertificateIdentity(san_dns="dev2.example"),
    CertificateIdentity(san_uri="urn:dev:2"),
    CertificateIdentity(san_ip="192.0.2.9"),
    CertificateIdentity(san_email="dev2@example.com"),
    DECOY,
)


def make(chance: Chance) -> bytes:
    """Draw a certificate; some are whole."""
    return octets.changed(chance, _DER, _WORDS) if chance.often(0.9) else _DER


def check(data: bytes) -> str:
    """Read one certificate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cryptography, about what it reads and will not later
        try:
            facts = read_certificate(data)
        except ConfigError:
            return "none"
    own = CertificateIdentity(thumbprints=(read_certificate(_DER).thumbprint,))
    now = facts.not_before
    if facts.not_after >= now:
        pinned = fault_of(own, facts, verified=True, now=now) is None
        demand(pinned == (data == _DER), "another certificate is taken for the one registered")
    for name in _NAMES:
        text = b"dev2" in data or b"dev:2" in data or b"nobody" in data or b"\x02\x09" in data
        fits = fault_of(name, facts, verified=True, now=now) is None
        demand(text or not fits, "a name fits that is not in it")
    return "read" if facts.subject is not None else "no subject"


TARGET = Target.of("client-certificates", _INVARIANT, make, check)
