# SPDX-License-Identifier: Apache-2.0
"""What an operator, or a client that registers itself, may say of its certificate: checked.

Whoever registers it is there to be told, so all of it has to be good.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.errors import ConfigError
from keyfob.server.certificates.distinguished_names import parse_name
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.certificates.reading import read_certificate, thumbprint
from keyfob.tokens import base64url, json_strict

__all__ = ["MAX_CERTIFICATES", "MAX_FILE_BYTES", "checked_identity", "pinned_certificates"]

# One of now, one that comes and one that goes, with room.
MAX_CERTIFICATES: Final = 8
MAX_FILE_BYTES: Final = 131_072
_MAX_SAN_CHARS: Final = 512
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_DNS: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_MAIL: Final = re.compile(rf"[!-?A-~]{{1,64}}@({_LABEL}(?:\.{_LABEL})*)", re.ASCII)
_VISIBLE: Final = re.compile(r"[!-~]+", re.ASCII)
_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_ONE: Final = (
    "a client has one of: a subject, a DNS name, a URI, an address, a mail address, or certificates"
)


def checked_identity(identity: CertificateIdentity) -> CertificateIdentity:
    """Return an identity that a client may be registered with.

    Raises:
        ConfigError: It is none, more than one, or not well formed.
    """
    names = (identity.subject_dn, identity.san_dns, identity.san_uri, identity.san_ip)
    given = sum(bool(one) for one in (*names, identity.san_email, identity.thumbprints))
    if given != 1:
        raise ConfigError(_ONE)
    if identity.subject_dn:
        parse_name(identity.subject_dn)
    _check_names(identity)
    if identity.san_ip:
        return replace(identity, san_ip=_address(identity.san_ip))
    if identity.thumbprints:
        _check_thumbprints(identity.thumbprints)
    return identity


def pinned_certificates(document: bytes) -> CertificateIdentity:
    """Read the certificates that a client authenticates by without an authority.

    Args:
        document: PEM, one or more certificates; or a JWK Set, or one JWK, whose keys have ``x5c``
            (RFC 8705 section 2.2, RFC 7517 section 4.7): the first of each is the client's.

    Raises:
        ConfigError: Not that, a private key among them, too large, too many, or a certificate
            that is not of the key beside it.
    """
    if len(document) > MAX_FILE_BYTES:
        raise ConfigError(f"certificates of a client have {MAX_FILE_BYTES} bytes at most")
    if b"PRIVATE KEY" in document:
        raise ConfigError("there is a private key in the file: give the certificates alone")
    of_json = document.lstrip()[:1] == b"{"
    found = list(_in_jwks(document) if of_json else _in_pem(document))
    for der in found:
        read_certificate(der)
    thumbprints = tuple(dict.fromkeys(map(thumbprint, found)))
    return checked_identity(CertificateIdentity(thumbprints=thumbprints))


def _check_names(identity: CertificateIdentity) -> None:
    for text in (identity.san_dns, identity.san_uri, identity.san_ip, identity.san_email):
        if len(text) > _MAX_SAN_CHARS:
            raise ConfigError(f"a name in a certificate has {_MAX_SAN_CHARS} characters at most")
    if identity.san_dns and not (len(identity.san_dns) < 254 and _DNS.fullmatch(identity.san_dns)):
        raise ConfigError(
            f"{identity.san_dns!r} is no DNS name: letters, digits and hyphens between dots (a name"
            " in other letters by its A-labels, xn--...), without a wildcard"
        )
    if identity.san_uri and not _is_uri(identity.san_uri):
        raise ConfigError(f"{identity.san_uri!r} is no absolute URI (RFC 3986)")
    if identity.san_email and not _MAIL.fullmatch(identity.san_email):
        raise ConfigError(f"{identity.san_email!r} is no mail address")


def _is_uri(text: str) -> bool:
    try:
        return bool(_VISIBLE.fullmatch(text) and urlsplit(text).scheme)
    except ValueError:
        return False


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text if "%" not in text else ""))
    except ValueError:
        raise ConfigError(f"{text!r} is no IPv4 or IPv6 address") from None


def _check_thumbprints(thumbprints: tuple[str, ...]) -> None:
    if len(thumbprints) > MAX_CERTIFICATES:
        raise ConfigError(f"a client has {MAX_CERTIFICATES} certificates at most")
    for one in thumbprints:
        if not _THUMBPRINT.fullmatch(one):
            raise ConfigError("a thumbprint is the SHA-256 of a certificate in base64url")


def _in_pem(document: bytes) -> Iterable[bytes]:
    try:
        certificates = x509.load_pem_x509_certificates(document)
    except (ValueError, x509.InvalidVersion):
        raise ConfigError("there is no certificate in the file (PEM)") from None
    return [certificate.public_bytes(Encoding.DER) for certificate in certificates]


def _in_jwks(document: bytes) -> Iterable[bytes]:
    try:
        parsed = json_strict.loads(document)
    except json_strict.JsonError as error:
        raise ConfigError(f"the certificates are no JWK Set: {error}") from None
    entries = [parsed] if "kty" in parsed else parsed.get("keys")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_CERTIFICATES:
        raise ConfigError(f"a client has 1 to {MAX_CERTIFICATES} keys with certificates (x5c)")
    return [_of_jwk(entry) for entry in entries]


def _of_jwk(jwk: Any) -> bytes:  # noqa: ANN401 - whatever JSON holds
    chain = jwk.get("x5c") if isinstance(jwk, Mapping) else None
    if not isinstance(chain, list) or not chain or not isinstance(chain[0], str):
        raise ConfigError("a key has no certificate (x5c, RFC 7517 section 4.7)")
    try:
        der = base64.b64decode(chain[0], validate=True)
        theirs = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, binascii.Error, x509.InvalidVersion, UnsupportedAlgorithm):
        raise ConfigError(
            "the first x5c of a key is no certificate, or its key is of a kind that is not known"
        ) from None
    if {"d", "p", "q", "k"} & set(jwk):
        raise ConfigError("there is a private key among the keys: give the public half alone")
    if any(jwk.get(name) != value for name, value in _members(theirs).items()):
        raise ConfigError("the first x5c of a key is the certificate of another key")
    return der


def _members(key: CertificatePublicKeyTypes) -> Mapping[str, str]:
    """Return what a JWK of a key has to say (RFC 7518 section 6, RFC 8037 section 2)."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        size, point = (key.key_size + 7) // 8, key.public_numbers()
        curve = _CURVES.get(key.curve.name, "")
        x, y = (_text(number.to_bytes(size)) for number in (point.x, point.y))
        return {"kty": "EC", "crv": curve, "x": x, "y": y}
    if isinstance(key, rsa.RSAPublicKey):
        n, e = key.public_numbers().n, key.public_numbers().e
        return {"kty": "RSA", "n": _number(n), "e": _number(e)}
    if isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        curve = "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "Ed448"
        return {"kty": "OKP", "crv": curve, "x": _text(key.public_bytes_raw())}
    raise ConfigError("a certificate has a key of a kind that is not known")


def _number(value: int) -> str:
    return _text(value.to_bytes((value.bit_length() + 7) // 8))


def _text(data: bytes) -> str:
    return base64url.encode(data).decode("ascii")
