# SPDX-License-Identifier: Apache-2.0
"""The signature algorithms: one table, straight on cryptography (RFC 7518, RFC 8037, RFC 9864).

Asymmetric algorithms only. A resource server that holds a shared secret can mint the tokens it
checks, and a library that takes a public key for such a secret is the oldest hole of JWT
(RFC 8725 section 2.1), so HS256 and its kin have no entry here at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256

__all__ = [
    "ALGORITHMS",
    "MIN_RSA_BITS",
    "Algorithm",
    "Check",
    "PrivateKey",
    "PublicKey",
    "Sign",
]

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Check: TypeAlias = Callable[[bytes, bytes], bool]
Sign: TypeAlias = Callable[[bytes], bytes]

MIN_RSA_BITS: Final = 2048  # RFC 7518 section 3.3

_P256_ORDER: Final = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551
_ECDSA: Final = ec.ECDSA(SHA256())
_SHA256: Final = SHA256()
_PKCS1: Final = padding.PKCS1v15()
# RFC 7518 section 3.5: MGF1 with the same hash, a salt as long as the digest.
_PSS: Final = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=SHA256.digest_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """One JWS algorithm.

    Attributes:
        name: The canonical name. ``EdDSA`` and ``Ed25519`` are two names of one algorithm here
            (RFC 9864 section 2.2), so a key for one is a key for the other.
        key_type: The ``kty`` of its keys.
        checker: From a public key to ``check(signing_input, signature)``, which never raises
            over a wrong signature.
        signer: From a private key to ``sign(signing_input)``.
        generate: Makes a private key.
    """

    name: str
    key_type: str
    checker: Callable[[Any], Check]
    signer: Callable[[Any], Sign]
    generate: Callable[[], PrivateKey]


def _es256_checker(key: ec.EllipticCurvePublicKey) -> Check:
    verify = key.verify

    def check(signing_input: bytes, signature: bytes) -> bool:
        # Exactly R || S (RFC 7518 section 3.4), so that DER is no second spelling of it.
        if len(signature) != 64:
            return False
        r = int.from_bytes(signature[:32], "big")
        s = int.from_bytes(signature[32:], "big")
        if not (0 < r < _P256_ORDER and 0 < s < _P256_ORDER):
            return False
        try:
            verify(encode_dss_signature(r, s), signing_input, _ECDSA)
        except InvalidSignature:
            return False
        return True

    return check


def _es256_signer(key: ec.EllipticCurvePrivateKey) -> Sign:
    def sign(signing_input: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(signing_input, _ECDSA))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign


def _ed25519_checker(key: ed25519.Ed25519PublicKey) -> Check:
    def check(signing_input: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, signing_input)
        except InvalidSignature:
            return False
        return True

    return check


def _rsa_checker(scheme: padding.AsymmetricPadding) -> Callable[[rsa.RSAPublicKey], Check]:
    def checker(key: rsa.RSAPublicKey) -> Check:
        length = (key.key_size + 7) // 8

        def check(signing_input: bytes, signature: bytes) -> bool:
            # RFC 8017 sections 8.1.2 and 8.2.2, step 1.
            if len(signature) != length:
                return False
            try:
                key.verify(signature, signing_input, scheme, _SHA256)
            except InvalidSignature:
                return False
            return True

        return check

    return checker


def _rsa_signer(scheme: padding.AsymmetricPadding) -> Callable[[rsa.RSAPrivateKey], Sign]:
    return lambda key: lambda signing_input: key.sign(signing_input, scheme, _SHA256)


def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=MIN_RSA_BITS)


_ED25519: Final = Algorithm(
    name="Ed25519",
    key_type="OKP",
    checker=_ed25519_checker,
    signer=lambda key: key.sign,
    generate=ed25519.Ed25519PrivateKey.generate,
)

ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType(
    {
        "ES256": Algorithm(
            name="ES256",
            key_type="EC",
            checker=_es256_checker,
            signer=_es256_signer,
            generate=lambda: ec.generate_private_key(ec.SECP256R1()),
        ),
        "RS256": Algorithm(
            name="RS256",
            key_type="RSA",
            checker=_rsa_checker(_PKCS1),
            signer=_rsa_signer(_PKCS1),
            generate=_rsa_key,
        ),
        "PS256": Algorithm(
            name="PS256",
            key_type="RSA",
            checker=_rsa_checker(_PSS),
            signer=_rsa_signer(_PSS),
            generate=_rsa_key,
        ),
        "Ed25519": _ED25519,
        "EdDSA": _ED25519,
    }
)
"""Every algorithm that an issuer may be trusted with, by its name in ``alg``."""
