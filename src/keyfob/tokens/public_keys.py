# SPDX-License-Identifier: Apache-2.0
"""From a JWK to a public key that is fit to verify with (RFC 7518 section 6, RFC 8037 section 2).

Every value is checked before a library sees it: exact lengths, canonical base64url, the point on
the curve, the modulus and exponent within bounds (RFC 8725 sections 3.4 and 3.5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from keyfob.tokens import base64url
from keyfob.tokens.signatures import MIN_RSA_BITS, PublicKey

__all__ = ["RefusedKeyError", "public_key"]

# A private member in a published set means that the whole world can sign with the key.
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_MAX_RSA_BITS: Final = 8192  # beyond, a single check takes milliseconds
# FIPS 186-5 section A.1.1 wants more than 2**16; OpenSSL stops at 64 bits for a large modulus.
_MIN_EXPONENT: Final = 65537
_MAX_EXPONENT: Final = 2**64

# The primes whose product the flawed generator of CVE-2017-15361 (ROCA) built its keys on.
_ROCA_PRIMES: Final = tuple(
    number for number in range(3, 168, 2) if all(number % low for low in range(3, number, 2))
)

# RFC 8032 section 5.1: the field. The y-coordinates of the eight points whose order divides 8
# (section 5.1.7's cofactor): with such a key, anybody signs anything.
_FIELD_25519: Final = 2**255 - 19
_ORDER_8_Y: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y: Final = frozenset({0, 1, _FIELD_25519 - 1, _ORDER_8_Y, _FIELD_25519 - _ORDER_8_Y})


class RefusedKeyError(Exception):
    """A JWK that is not used; the message says why."""


def public_key(jwk: Mapping[str, Any]) -> PublicKey:
    """Read a public signature key.

    Raises:
        RefusedKeyError: Not public, not for signatures, of an unknown kind, malformed or weak.
    """
    kty = jwk.get("kty")
    read = _READERS.get(kty) if isinstance(kty, str) else None
    if kty == "oct":
        raise RefusedKeyError("a shared secret, not a public key")
    if read is None:
        raise RefusedKeyError("a type of key that is not supported")
    if not _PRIVATE_MEMBERS.isdisjoint(jwk):
        raise RefusedKeyError("it is published with its private part")
    if jwk.get("use", "sig") != "sig":
        raise RefusedKeyError("it is not for signatures (use)")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise RefusedKeyError("it is not for verifying (key_ops)")
    try:
        return read(jwk)
    except (ValueError, UnsupportedAlgorithm):
        raise RefusedKeyError("its numbers make no such key") from None


def _ec(jwk: Mapping[str, Any]) -> PublicKey:
    if jwk.get("crv") != "P-256":
        raise RefusedKeyError("a curve that is not supported")
    x, y = _octets(jwk, "x"), _octets(jwk, "y")
    if len(x) != 32 or len(y) != 32:  # RFC 7518 section 6.2.1.2
        raise RefusedKeyError("its coordinates have the wrong length")
    return ec.EllipticCurvePublicNumbers(
        int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
    ).public_key()


def _okp(jwk: Mapping[str, Any]) -> PublicKey:
    if jwk.get("crv") != "Ed25519":
        raise RefusedKeyError("a curve that is not supported")
    octets = _octets(jwk, "x")
    key = ed25519.Ed25519PublicKey.from_public_bytes(octets)
    y = int.from_bytes(octets, "little") & (2**255 - 1)
    if y >= _FIELD_25519:  # RFC 8032 section 5.1.3, step 1; OpenSSL reduces it
        raise RefusedKeyError("its numbers make no such key")
    if y in _SMALL_ORDER_Y:
        raise RefusedKeyError("a point of small order, with which anybody can sign")
    return key


def _rsa(jwk: Mapping[str, Any]) -> PublicKey:
    modulus = int.from_bytes(_octets(jwk, "n"), "big")
    exponent = int.from_bytes(_octets(jwk, "e"), "big")
    if not MIN_RSA_BITS <= modulus.bit_length() <= _MAX_RSA_BITS:
        raise RefusedKeyError(f"an RSA key has {MIN_RSA_BITS} to {_MAX_RSA_BITS} bits")
    if not _MIN_EXPONENT <= exponent < _MAX_EXPONENT:
        raise RefusedKeyError(f"its public exponent is not between {_MIN_EXPONENT} and 2**64")
    if not modulus & exponent & 1:
        raise RefusedKeyError("its numbers make no such key")
    if _is_roca(modulus):
        raise RefusedKeyError("it comes from a generator whose keys can be factored (ROCA)")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _is_roca(modulus: int) -> bool:
    """Say whether the modulus is a power of 65537 modulo every small prime, as ROCA's are."""
    return all(
        modulus % prime in {pow(65537, power, prime) for power in range(prime - 1)}
        for prime in _ROCA_PRIMES
    )


def _octets(jwk: Mapping[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str) or not value.isascii():
        raise RefusedKeyError(f"its {name} is missing or not base64url")
    try:
        return base64url.decode(value.encode("ascii"))
    except ValueError:
        raise RefusedKeyError(f"its {name} is not canonical base64url") from None


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], PublicKey]]] = {
    "EC": _ec,
    "OKP": _okp,
    "RSA": _rsa,
}
