# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``verify`` with odd claims under a good signature."""

from __future__ import annotations

import json
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fuzz import octets, trees
from fuzz.chance import Chance
from fuzz.target import Target, demand
from fuzz.token_texts import CLAIM_WORDS, HEADER_WORDS, decoded, encoded
from keyfob.errors import TokenError
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import VerifiedToken, verify

__all__ = ["ISSUERS", "KEY", "KEYS", "NOW", "TARGET", "signed"]

_INVARIANT: Final = (
    "Whatever a trusted key has signed, verify raises TokenError or returns a token that "
    "keeps each of its issuer's rules, read from the token by other means."
)

NOW: Final = 1_790_000_000
# No secret: a key that everybody can compute, so that a failing input fails tomorrow as well.
KEY: Final = SigningKey.from_pem(
    Ed25519PrivateKey.from_private_bytes(bytes(range(32))).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
)
_STRICT: Final = TrustedIssuer(
    name="strict",
    issuer="https://as.example",
    audiences=frozenset({"mqtt"}),
    algorithms=frozenset({"EdDSA"}),
)
_RELAXED: Final = TrustedIssuer(
    name="relaxed",
    issuer="https://other.example",
    audiences=frozenset({"mqtt", "broker"}),
    algorithms=frozenset({"Ed25519", "ES256"}),
    required_scopes=frozenset(),
    device_claim="act.device",
    types=frozenset({"JWT", ""}),
    expiry_leeway=30,
    max_lifetime=7_200,
)
ISSUERS: Final = {issuer.issuer: issuer for issuer in (_STRICT, _RELAXED)}
_KEY_SET: Final = KeySet.from_jwks({"keys": [KEY.public_jwk()]})
KEYS: Final = dict.fromkeys(ISSUERS, _KEY_SET)
_HEADERS: Final = (
    {"alg": "EdDSA", "kid": KEY.kid, "typ": "at+jwt"},
    {"alg": "Ed25519", "kid": KEY.kid, "typ": "JWT"},
)
_CLAIMS: Final = (
    {
        "iss": _STRICT.issuer,
        "sub": "dev1",
        "client_id": "dev1",
        "aud": "mqtt",
        "iat": NOW - 10,
        "exp": NOW + 1,
        "jti": "j",
        "scope": "mqtt.connect mqtt.publish:a/%23",
    },
    {
        "iss": _RELAXED.issuer,
        "aud": ["x", "broker"],
        "iat": NOW + 60,
        "nbf": NOW,
        "exp": NOW + 7_260,
        "act": {"device": "dev1"},
    },
)


def make(chance: Chance) -> bytes:
    """Sign claims that nobody should."""
    which = chance.randrange(2)
    header, claims = trees.planted(_HEADERS[which]), trees.planted(_CLAIMS[which])
    if chance.often(0.2):
        header = trees.changed(chance, header, HEADER_WORDS)
    if chance.often(0.95):
        claims = trees.changed(chance, claims, CLAIM_WORDS)
    payload = trees.spelled(chance, claims).encode("utf-8")
    if chance.often(0.05):
        payload = octets.changed(chance, payload)
    text = trees.spelled(chance, header).encode("utf-8")
    return signed(text, payload)


def signed(header: bytes, payload: bytes) -> bytes:
    """Sign any header and payload with the key that both issuers publish."""
    signing_input = encoded(header) + b"." + encoded(payload)
    return signing_input + b"." + encoded(KEY.signature(signing_input))


def check(data: bytes) -> str:
    """Verify one token, and hold what comes against its text."""
    try:
        outcome = verify(data, ISSUERS, KEYS, NOW)
    except TokenError as error:
        return error.code
    if not isinstance(outcome, VerifiedToken):
        return type(outcome).__name__
    header, claims = (json.loads(decoded(segment)) for segment in data.split(b".")[:2])
    issuer = ISSUERS[claims["iss"]]
    demand(outcome.issuer is issuer, "another issuer's rules")
    _demand_header(header, issuer)
    _demand_times(claims, issuer)
    demand(outcome.expires_at == claims["exp"] + issuer.expiry_leeway, "another end")
    demand(issuer.audiences & set(_texts(claims["aud"])), "for somebody else")
    demand(issuer.required_scopes <= set(_texts(claims.get("scope", ""))), "a scope is missing")
    demand(_device(claims, issuer) == outcome.device, "another device")
    demand(0 < len(outcome.device) <= 256 and outcome.device.isprintable() is not None, "no name")
    demand(not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in outcome.device), "a control in it")
    return f"verified {issuer.name}"


def _demand_header(header: dict[str, Any], issuer: TrustedIssuer) -> None:
    kind = (header.get("typ") or "").lower().removeprefix("application/")
    demand(kind in {known.lower() for known in issuer.types}, "a type that is not accepted")
    demand(header["alg"] in {"EdDSA", "Ed25519"}, "an algorithm that is not the key's")
    demand(header.get("kid") in (None, KEY.kid), "another key")
    demand("crit" not in header, "an extension that nobody understands")


def _demand_times(claims: dict[str, Any], issuer: TrustedIssuer) -> None:
    dates = [claims[name] for name in ("exp", "iat", "nbf") if name in claims]
    demand(all(type(date) in (int, float) for date in dates), "a time that is none")
    demand(claims["exp"] + issuer.expiry_leeway > NOW, "expired")
    for name in ("iat", "nbf"):
        demand(claims.get(name, 0) <= NOW + issuer.leeway, f"{name} is in the future")
        demand(claims.get(name, 0) < claims["exp"], f"ends before {name}")
    if issuer is _STRICT:
        texts = [claims[name] for name in ("sub", "client_id", "jti")]
        demand(all(isinstance(text, str) and text for text in texts), "a claim is missing")
        demand("iat" in claims, "iat is missing")
    else:
        demand(claims["exp"] - claims["iat"] <= 7_200, "lives too long")


def _texts(value: str | list[str]) -> list[str]:
    return value.split(" ") if isinstance(value, str) else value


def _device(claims: dict[str, Any], issuer: TrustedIssuer) -> object:
    if issuer is _STRICT:
        return claims["sub"]
    return claims["act.device"] if "act.device" in claims else claims["act"]["device"]


TARGET = Target.of("signed-claims", _INVARIANT, make, check)
