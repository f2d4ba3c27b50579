# SPDX-License-Identifier: Apache-2.0
"""What may be registered of a certificate: all of it is good, or none of it is taken."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc.jwk import ECKey, OKPKey, RSAKey

from keyfob.errors import ConfigError
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.certificates.registering import checked_identity, pinned_certificates
from tests.server.client_certificates import Shown, named, signed


@pytest.mark.parametrize(
    "identity",
    [
        CertificateIdentity(),
        CertificateIdentity(subject_dn="CN=a", san_dns="a.example"),
        CertificateIdentity(san_ip="192.0.2.1", thumbprints=("a" * 43,)),
        CertificateIdentity(subject_dn="dev1"),
        CertificateIdentity(subject_dn="C = DE, O = Acme, CN = dev1"),
        *(
            CertificateIdentity(san_dns=name)
            for name in ("*.example", "*", "bücher.example", "a b")
        ),
        *(CertificateIdentity(san_dns=name) for name in ("a..b", ".a", "a.", "-a.b", "a" * 254)),
        *(CertificateIdentity(san_dns=name) for name in ("a\x00.b", "a\n", "a/b", "a:1", "")),
        *(
            CertificateIdentity(san_uri=uri)
            for uri in ("dev1", "//a", "urn:\x00", "a b:c", "http://[")
        ),
        *(CertificateIdentity(san_uri=uri) for uri in ("urn:ü", "urn:" + "a" * 600)),
        *(
            CertificateIdentity(san_ip=ip)
            for ip in ("dev1", "192.0.2.0/24", "1", "::1%eth0", "1.2.3")
        ),
        *(
            CertificateIdentity(san_email=mail)
            for mail in ("a", "a@", "@b", "a@b@c", "a b@c", "ü@b")
        ),
        *(CertificateIdentity(thumbprints=pins) for pins in (("a",), ("a" * 44,), ("=" * 43,))),
        CertificateIdentity(thumbprints=tuple(f"{number:043}" for number in range(9))),
    ],
)
def test_what_cannot_be_meant_is_refused(identity: CertificateIdentity) -> None:
    with pytest.raises(ConfigError):
        checked_identity(identity)


def test_a_subject_as_openssl_prints_it_by_itself_is_refused_with_how_to_write_it() -> None:
    with pytest.raises(ConfigError, match="-nameopt RFC2253"):
        checked_identity(CertificateIdentity(subject_dn="O = Acme, CN = dev1"))


def test_an_address_is_kept_in_its_one_form() -> None:
    kept = checked_identity(CertificateIdentity(san_ip="2001:DB8:0::1"))
    assert kept.san_ip == "2001:db8::1"


def test_certificates_are_read_from_pem_and_from_keys_alike() -> None:
    one, other = signed(named("a")), signed(named("b"))
    expected = CertificateIdentity(thumbprints=(one.thumbprint, other.thumbprint))
    assert pinned_certificates(one.pem + other.pem + one.pem) == expected
    keys = {"keys": [one.jwk, other.jwk]}
    assert pinned_certificates(json.dumps(keys).encode()) == expected
    single = pinned_certificates(b"\n" + json.dumps(one.jwk).encode())
    assert single.thumbprints == (one.thumbprint,)


@pytest.mark.parametrize("kind", ["P-256", "P-384", "P-521", "RSA", "Ed25519"])
def test_a_key_of_any_kind_is_found_to_be_its_certificates(kind: str) -> None:
    made: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    if kind == "RSA":
        made = rsa.generate_private_key(65_537, 2_048)
    elif kind == "Ed25519":
        made = ed25519.Ed25519PrivateKey.generate()
    else:
        made = ec.generate_private_key(
            {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}[kind]
        )
    template = signed(named("a")).certificate
    certificate = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.subject)
        .public_key(made.public_key())
        .serial_number(1)
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
        .sign(made, None if kind == "Ed25519" else hashes.SHA256())
    )
    pem = made.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    library = {"RSA": RSAKey, "Ed25519": OKPKey}.get(kind, ECKey)
    jwk = dict(library.import_key(pem).as_dict(private=False))  # type: ignore[attr-defined]
    shown = Shown(certificate, made)  # type: ignore[arg-type]
    jwk["x5c"] = [__import__("base64").b64encode(shown.der).decode()]
    assert pinned_certificates(json.dumps(jwk).encode()).thumbprints == (shown.thumbprint,)


def test_a_certificate_of_another_key_is_refused() -> None:
    mixed = signed(named("a")).jwk | {"x5c": signed(named("b")).jwk["x5c"]}
    with pytest.raises(ConfigError, match="another key"):
        pinned_certificates(json.dumps(mixed).encode())


@pytest.mark.parametrize(
    "document",
    [
        *(b"", b"x", b"{}", b"{", b"[]", b'{"keys":[]}', b'{"keys":[1]}', b'{"keys":{}}'),
        *(b'{"kty":"EC"}', b'{"kty":"EC","x5c":[]}', b'{"kty":"EC","x5c":["!"]}'),
        *(b'{"kty":"EC","x5c":"MII="}', b'{"kty":"EC","x5c":["AAAA"]}', b" " * 200_000),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_holds_no_certificate_is_refused(document: bytes) -> None:
    with pytest.raises(ConfigError):
        pinned_certificates(document)


P_256, OTHER_CURVE = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030177")
VERSION_3, VERSION_6 = bytes.fromhex("a003020102"), bytes.fromhex("a003020105")


@pytest.mark.parametrize("change", [(P_256, OTHER_CURVE), (VERSION_3, VERSION_6)])
def test_a_certificate_that_the_library_does_not_know_is_refused(
    change: tuple[bytes, bytes],
) -> None:
    one = signed(named("a"))
    assert change[0] in one.der
    text = base64.encodebytes(one.der.replace(*change)).decode()
    jwk = one.jwk | {"x5c": [text.replace("\n", "")]}
    with pytest.raises(ConfigError):
        pinned_certificates(json.dumps(jwk).encode())
    if change[0] == VERSION_3:
        pem = f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"
        with pytest.raises(ConfigError):
            pinned_certificates(pem.encode())


def test_a_private_key_is_refused_wherever_it_stands() -> None:
    one = signed(named("a"))
    with pytest.raises(ConfigError, match="private"):
        pinned_certificates(one.pem + b"-----BEGIN EC PRIVATE KEY-----\n")
    with pytest.raises(ConfigError, match="private"):
        pinned_certificates(json.dumps(one.jwk | {"d": "AAAA"}).encode())


def test_too_many_are_refused() -> None:
    one = signed(named("a"))
    with pytest.raises(ConfigError):
        pinned_certificates(json.dumps({"keys": [one.jwk] * 9}).encode())
    with pytest.raises(ConfigError):
        pinned_certificates(b"".join(signed(named("a")).pem for _ in range(9)))
