# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``server.dpop.proof``: the proof in a request for a token."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fuzz import octets, trees
from fuzz.chance import Chance
from fuzz.target import Target, demand
from fuzz.token_texts import decoded, encoded
from keyfob.server.dpop.proof import (
    CLOCK_SKEW,
    PROOF_SECONDS,
    check_proof,
    check_signature,
    read_proof,
)
from keyfob.server.oauth_errors import OAuthError

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "A proof is refused as invalid_dpop_proof, or another decoder finds in it a public key that "
    "has signed it, for this endpoint and of this time; no error shows it."
)
_NOW: Final = 1_800_000_000
_ENDPOINT: Final = "https://as.example/oauth2/token"
# Ed25519 signs without randomness, so that a seed tells every input.
_KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_JWK: Final = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": encoded(_KEY.public_key().public_bytes_raw()).decode(),
}
_HEADER: Final = trees.planted({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": _JWK})
_CLAIMS: Final = trees.planted({"jti": "1", "htm": "POST", "htu": _ENDPOINT, "iat": _NOW})
_HEADER_WORDS: Final = trees.words(
    "typ alg jwk kid crit b64 jku x5c d k use key_ops kty crv x y OKP EC oct none HS256 ES256"
    " EdDSA Ed25519 dpop+jwt at+jwt JWT application/dpop+jwt"
)
_CLAIM_WORDS: Final = trees.words(
    "jti htm htu iat exp nbf nonce ath POST post GET https://as.example/oauth2/token?a#b"
    " HTTPS://AS.EXAMPLE:443/oauth2/token https://as.example/oauth2/%74oken https://as.example"
    " https://as.example@evil.example/oauth2/token //as.example/oauth2/token"
)


def make(chance: Chance) -> bytes:
    """Draw a proof that is nearly one, most of them signed by the key that was in it."""
    header, claims = _HEADER, _CLAIMS
    if chance.often(0.6):
        header = trees.changed(chance, header, _HEADER_WORDS)
    if chance.often(0.7):
        claims = trees.changed(chance, claims, _CLAIM_WORDS)
    parts = [encoded(trees.spelled(chance, tree).encode()) for tree in (header, claims)]
    signed = b".".join(parts)
    proof = signed + b"." + encoded(_KEY.sign(signed))
    if chance.often(0.15):
        proof = octets.changed(chance, proof, (b".", b"=", b",", b" ", b"e30"))
    return bytes(proof[: octets.LONGEST])


def check(data: bytes) -> str:
    """Look at one proof as the token endpoint does without nonces."""
    text = data.decode("latin-1")
    try:
        proof = read_proof([text])
        check_proof(proof, frozenset({_ENDPOINT}), _NOW, fresh=False)
        check_signature(proof)
    except OAuthError as error:
        demand(error.error == "invalid_dpop_proof", "another error")
        demand(len(text) < 20 or text not in f"{error} {error.description}", "it is shown")
        return error.reason
    header, claims = (json.loads(decoded(part)) for part in data.split(b".")[:2])
    demand(header["alg"] in ("EdDSA", "Ed25519"), "another algorithm")
    demand(header["typ"].lower().removeprefix("application/") == "dpop+jwt", "another kind")
    _demand_signed(header["jwk"], data)
    _demand_for_us(claims)
    demand(text.rpartition(".")[2] not in repr(proof), "the repr shows the signature")
    return "good"


def _demand_signed(jwk: dict[str, Any], data: bytes) -> None:
    demand(not {"d", "k", "p", "q"} & set(jwk), "a key that is not public")
    signed, _, signature = data.rpartition(b".")
    try:
        key = Ed25519PublicKey.from_public_bytes(decoded(jwk["x"].encode()))
        key.verify(decoded(signature), signed)
    except InvalidSignature:
        demand(False, "not signed by the key in it")


def _demand_for_us(claims: dict[str, Any]) -> None:
    url = urlsplit(claims["htu"])
    demand((url.scheme, url.hostname, url.port or 443) == ("https", "as.example", 443), "a host")
    demand(unquote(url.path) == "/oauth2/token" and "@" not in url.netloc, "another endpoint")
    demand(claims["htm"] == "POST" and isinstance(claims["jti"], str), "another request")
    age = _NOW - claims["iat"]
    demand(-CLOCK_SKEW <= age <= PROOF_SECONDS + CLOCK_SKEW, "of another time")


TARGET = Target.of("dpop-proofs", _INVARIANT, make, check)
