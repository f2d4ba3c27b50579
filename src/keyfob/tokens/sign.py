# SPDX-License-Identifier: Apache-2.0
"""SigningKey: a private key that signs JWTs and never shows itself (RFC 7515, RFC 9068).

Only ``generate`` and the random part of some signatures draw on the system's randomness; both
happen inside the cryptographic library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from keyfob.errors import ConfigError
from keyfob.tokens import base64url
from keyfob.tokens.keys import thumbprint
from keyfob.tokens.signatures import ALGORITHMS, MIN_RSA_BITS, PrivateKey, PublicKey, Sign

__all__ = ["SigningKey"]

_DEFAULT_TYPE: Final = "at+jwt"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SigningKey:
    """A private key with one algorithm.

    Attributes:
        alg: What its tokens say in ``alg``.
        kid: Its name: the RFC 7638 thumbprint of its public key.
    """

    alg: str
    kid: str
    _private: PrivateKey = field(repr=False)
    _sign: Sign = field(repr=False)
    _prefix: bytes = field(repr=False)

    @classmethod
    def generate(cls, alg: str = "ES256") -> SigningKey:
        """Make a new key.

        Args:
            alg: One of ``ALGORITHMS``.

        Raises:
            ConfigError: Not one of them.
        """
        if alg not in ALGORITHMS:
            raise ConfigError(f"{alg!r} is not supported; these are: {', '.join(ALGORITHMS)}")
        return cls._of(ALGORITHMS[alg].generate(), alg)

    @classmethod
    def from_pem(
        cls, pem: bytes, *, alg: str | None = None, password: bytes | None = None
    ) -> SigningKey:
        """Read a private key.

        Args:
            pem: PEM, PKCS #8 or older.
            alg: One of ``ALGORITHMS``; by default what the type of key suggests: ES256, EdDSA
                or RS256.
            password: If the PEM is encrypted.

        Raises:
            ConfigError: No such key, a wrong password, or a key that does not fit ``alg``.
        """
        try:
            private = serialization.load_pem_private_key(pem, password)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The library's message may describe the contents: not passed on.
            raise ConfigError("not a private key in PEM, or its password is wrong") from None
        match private:
            case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()):
                return cls._of(private, alg or "ES256")
            case ed25519.Ed25519PrivateKey():
                return cls._of(private, alg or "EdDSA")
            case rsa.RSAPrivateKey() if private.key_size >= MIN_RSA_BITS:
                return cls._of(private, alg or "RS256")
        raise ConfigError(
            f"a signing key is P-256, Ed25519, or RSA of at least {MIN_RSA_BITS} bits"
        )

    @classmethod
    def _of(cls, private: PrivateKey, alg: str) -> SigningKey:
        jwk = _public_members(private.public_key())
        algorithm = ALGORITHMS.get(alg)
        if algorithm is None or algorithm.key_type != jwk["kty"]:
            raise ConfigError(f"{alg!r} is no algorithm for a key of type {jwk['kty']}")
        kid = thumbprint(jwk)
        return cls(
            alg=alg,
            kid=kid,
            _private=private,
            _sign=algorithm.signer(private),
            _prefix=_header_segment(alg, kid, _DEFAULT_TYPE),
        )

    def to_pem(self, password: bytes | None = None) -> bytes:
        """Write the private key as PKCS #8; encrypted if there is a password."""
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            encryption = serialization.BestAvailableEncryption(password)
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )

    def public_jwk(self) -> dict[str, str]:
        """Return the public key for a key set (RFC 7517 section 4)."""
        members = _public_members(self._private.public_key())
        return {**members, "use": "sig", "alg": self.alg, "kid": self.kid}

    def sign(self, claims: Mapping[str, object], typ: str = _DEFAULT_TYPE) -> str:
        """Sign a claims set as a compact JWS (RFC 7515 section 7.1).

        Args:
            claims: Exactly what the token will say.
            typ: What kind of JWT it is (RFC 8725 section 3.11).
        """
        prefix = self._prefix if typ == _DEFAULT_TYPE else _header_segment(self.alg, self.kid, typ)
        signing_input = prefix + base64url.encode(msgspec.json.encode(claims))
        signature = base64url.encode(self._sign(signing_input))
        return (signing_input + b"." + signature).decode("ascii")

    def signature(self, data: bytes) -> bytes:
        """Sign bytes; for what is not a claims set."""
        return self._sign(data)


def _header_segment(alg: str, kid: str, typ: str) -> bytes:
    header = msgspec.json.encode({"alg": alg, "kid": kid, "typ": typ})
    return base64url.encode(header) + b"."


def _public_members(key: PublicKey) -> dict[str, str]:
    """Write a public key as the members of RFC 7518 section 6 and RFC 8037 section 2."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        point = key.public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": _encoded(point.x, 32),
            "y": _encoded(point.y, 32),
        }
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {
            "kty": "RSA",
            "n": _encoded(numbers.n, (key.key_size + 7) // 8),
            "e": _encoded(numbers.e, (numbers.e.bit_length() + 7) // 8),
        }
    x = base64url.encode(key.public_bytes_raw()).decode("ascii")
    return {"kty": "OKP", "crv": "Ed25519", "x": x}


def _encoded(number: int, length: int) -> str:
    return base64url.encode(number.to_bytes(length, "big")).decode("ascii")
