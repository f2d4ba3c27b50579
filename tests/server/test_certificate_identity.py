# SPDX-License-Identifier: Apache-2.0
"""Whether a certificate is the expected one: the attack table, and what fits."""

from __future__ import annotations

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from keyfob.errors import ConfigError
from keyfob.server.certificates.identity import DECOY, CertificateIdentity, fault_of
from keyfob.server.certificates.reading import read_certificate
from keyfob.server.certificates.registering import checked_identity
from tests.server.client_certificates import Shown, named, signed

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
DNS, URI, MAIL = x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name


def ip(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))


def shown(*names: x509.GeneralName, subject: str = "device") -> Shown:
    return signed(named(subject), names=list(names) or None, now=NOW)


def fault(
    identity: CertificateIdentity, certificate: Shown, *, verified: bool = True, at: float = 0.0
) -> str | None:
    facts = read_certificate(certificate.der)
    return fault_of(identity, facts, verified=verified, now=NOW.timestamp() + at)


FITTING = [
    (CertificateIdentity(subject_dn="CN=device"), shown()),
    (CertificateIdentity(subject_dn="cn=device"), shown(DNS("other.example"))),
    (CertificateIdentity(san_dns="dev1.example"), shown(DNS("dev1.example"))),
    (CertificateIdentity(san_dns="DEV1.Example"), shown(DNS("a.example"), DNS("dev1.EXAMPLE"))),
    (CertificateIdentity(san_dns="xn--bcher-kva.example"), shown(DNS("xn--bcher-kva.example"))),
    (CertificateIdentity(san_uri="urn:dev:1"), shown(URI("urn:dev:1"))),
    (CertificateIdentity(san_ip="192.0.2.1"), shown(ip("192.0.2.1"))),
    (CertificateIdentity(san_ip="2001:db8:0:0::1"), shown(ip("2001:db8::1"))),
    (CertificateIdentity(san_email="dev1@example.com"), shown(MAIL("dev1@EXAMPLE.com"))),
]


@pytest.mark.parametrize(("identity", "certificate"), FITTING)
def test_the_name_that_is_registered_fits_if_an_authority_vouches(
    identity: CertificateIdentity, certificate: Shown
) -> None:
    identity = checked_identity(identity)
    assert fault(identity, certificate) is None
    assert fault(identity, certificate, verified=False) == "certificate_unverified"


ATTACKS = {
    "CN is no dNSName": (
        CertificateIdentity(san_dns="dev1.example"),
        shown(subject="dev1.example"),
    ),
    "CN is no mail": (CertificateIdentity(san_email="a@b.example"), shown(subject="a@b.example")),
    "CN is no URI": (CertificateIdentity(san_uri="urn:dev:1"), shown(subject="urn:dev:1")),
    "CN is no address": (CertificateIdentity(san_ip="192.0.2.1"), shown(subject="192.0.2.1")),
    "dNSName is no CN": (CertificateIdentity(subject_dn="CN=dev1"), shown(DNS("dev1"))),
    "a wildcard in the certificate": (
        CertificateIdentity(san_dns="dev1.example"),
        shown(DNS("*.example")),
    ),
    "a name below": (CertificateIdentity(san_dns="example"), shown(DNS("dev1.example"))),
    "a name above": (CertificateIdentity(san_dns="dev1.example"), shown(DNS("example"))),
    "a dot at the end": (CertificateIdentity(san_dns="dev1.example"), shown(DNS("dev1.example."))),
    "an address as a dNSName": (CertificateIdentity(san_ip="192.0.2.1"), shown(DNS("192.0.2.1"))),
    "a dNSName as a URI": (
        CertificateIdentity(san_dns="dev1.example"),
        shown(URI("https://dev1.example")),
    ),
    "a URI in other letters": (
        CertificateIdentity(san_uri="https://dev1.example/a"),
        shown(URI("https://DEV1.example/a"), URI("https://dev1.example/A")),
    ),
    "a URI with more": (CertificateIdentity(san_uri="urn:dev:1"), shown(URI("urn:dev:11"))),
    "IPv4 within IPv6": (CertificateIdentity(san_ip="192.0.2.1"), shown(ip("::ffff:192.0.2.1"))),
    "another mailbox": (
        CertificateIdentity(san_email="dev1@example.com"),
        shown(MAIL("DEV1@example.com"), MAIL("dev1@sub.example.com"), MAIL("example.com")),
    ),
    "an empty dNSName": (CertificateIdentity(subject_dn="CN=dev1"), shown(DNS(""))),
    "an empty URI": (CertificateIdentity(san_dns="dev1.example"), shown(URI(""))),
    "nothing registered": (CertificateIdentity(), shown(DNS(""), URI(""), subject="x")),
    "nobody": (DECOY, shown(DNS("nobody"), subject="Nobody")),
    "what was never checked": (CertificateIdentity(subject_dn="device"), shown()),
    "no address": (CertificateIdentity(san_ip="x"), shown(ip("192.0.2.1"))),
    "the CN within a longer subject": (
        CertificateIdentity(subject_dn="CN=device"),
        signed(
            x509.Name(
                [
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Evil"),
                    x509.NameAttribute(NameOID.COMMON_NAME, "device"),
                ]
            ),
            now=NOW,
        ),
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_other_name_is_taken_for_it(attack: str) -> None:
    identity, certificate = ATTACKS[attack]
    assert fault(identity, certificate) == "certificate_wrong"


def test_a_certificate_is_pinned_byte_for_byte_whoever_signed_it() -> None:
    one, other = shown(), shown()
    identity = CertificateIdentity(thumbprints=(shown().thumbprint, one.thumbprint))
    assert fault(identity, one, verified=False) is None
    assert fault(identity, one, verified=True) is None
    assert fault(identity, other, verified=True) == "certificate_wrong"
    renewed = signed(named("device"), now=NOW)  # the same subject is not the same certificate
    assert fault(identity, renewed, verified=True) == "certificate_wrong"


@pytest.mark.parametrize("by_name", [True, False])
def test_its_time_counts_whatever_is_registered(by_name: bool) -> None:
    one = shown()
    identity = CertificateIdentity(
        subject_dn="CN=device" if by_name else "", thumbprints=() if by_name else (one.thumbprint,)
    )
    assert fault(identity, one, at=3_600) is None
    assert fault(identity, one, at=3_601) == "certificate_expired"
    assert fault(identity, one, at=-3_601) == "certificate_not_yet_valid"


KELVIN = "\u212a".encode()


def test_other_letters_are_not_taken_for_those_that_they_become_without_case() -> None:
    """The certificate is for the kelvin sign, whose small letter is an ordinary k."""
    der = shown(DNS("xyz.example"), MAIL("a@xyz.example")).der.replace(b"xyz", KELVIN)
    facts = read_certificate(der)
    assert KELVIN.decode().lower() == "k"
    for identity in (
        CertificateIdentity(san_dns="k.example"),
        CertificateIdentity(san_email="a@k.example"),
    ):
        found = fault_of(checked_identity(identity), facts, verified=True, now=NOW.timestamp())
        assert found == "certificate_wrong"


def test_names_that_cannot_be_read_are_none_and_the_subject_still_is() -> None:
    der = shown(DNS("dev1.example"), DNS("other.example")).der
    facts = read_certificate(der.replace(b"other", b"\xff\xfe\xc3\x28\x80"))
    assert facts.dns == frozenset()
    assert facts.subject == ((("2.5.4.3", "device"),),)


@pytest.mark.parametrize("name", [b"dev1.example\x00a.b", b"dev1.example\x00.com"])
def test_a_zero_byte_ends_no_name(name: bytes) -> None:
    placeholder = b"x" * (len(name) - 2) + b".x"
    der = shown(DNS(placeholder.decode())).der.replace(placeholder, name)
    facts = read_certificate(der)
    identity = CertificateIdentity(san_dns="dev1.example")
    assert fault_of(identity, facts, verified=True, now=NOW.timestamp()) == "certificate_wrong"


@pytest.mark.parametrize(
    "der", [b"", b"\x30", b"\x30\x80\x00\x00", b"-----BEGIN CERTIFICATE-----", b"\x00" * 9_000]
)
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(ConfigError):
        read_certificate(der)


@pytest.mark.parametrize("cut", range(0, 320, 23))
def test_a_certificate_that_is_cut_or_followed_by_something_is_none(cut: int) -> None:
    der = shown(DNS("a.example")).der
    for changed in (der[:cut], der[:-1], der + b"\x00"):
        with pytest.raises(ConfigError):
            read_certificate(changed)


def test_a_subject_with_a_value_that_its_type_cannot_have_is_an_ordinary_refusal() -> None:
    """Found by the fuzzer: the library raises TypeError, which would be a server error."""
    der = shown(subject="device").der
    changed = der.replace(b"\x0c\x06device", b"\x03\x06\x00evice")  # a BIT STRING as CN
    assert changed != der
    with pytest.raises(ConfigError):
        read_certificate(changed)
