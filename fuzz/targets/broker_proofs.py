# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``guard.exchanges``: a token and a proof as ``ace`` and ``OAUTH2-DPOP`` bring them."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, Final, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fuzz import octets, pieces, trees
from fuzz.chance import Chance
from fuzz.target import Target, demand
from fuzz.token_texts import decoded, encoded
from keyfob.errors import TokenError
from keyfob.guard.exchanges.ace import AceMethod
from keyfob.guard.exchanges.dpop import PROOF_TYPE, DpopMethod
from keyfob.guard.exchanges.exchange import Challenge, ExchangeContext, Method, Presented
from keyfob.tokens.verify import TrustedIssuer, VerifiedToken, verify_introspected

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "A client that gets through has sent one token, and an answer that another implementation "
    "makes of the same key, nonce and token; everything else is a TokenError that repeats nothing."
)
_NOW: Final = 1_790_000_000
_NONCE: Final = bytes(range(32))
_TOKEN: Final = b"kfa_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
# Ed25519 and HMAC make no use of randomness, so that a seed tells every input.
_KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_SECRET: Final = bytes(range(32, 64))
_X: Final = encoded(_KEY.public_key().public_bytes_raw()).decode()
_JWK: Final = {"kty": "OKP", "crv": "Ed25519", "x": _X}
_JKT: Final = encoded(
    hashlib.sha256(json.dumps({"crv": "Ed25519", "kty": "OKP", "x": _X}, separators=(",", ":"))
                   .encode()).digest()
).decode()  # fmt: skip
_OCT: Final = {"kty": "oct", "k": encoded(_SECRET).decode()}
_ISSUER: Final = TrustedIssuer(
    name="as",
    issuer="https://as.example",
    audiences=frozenset({"mqtt"}),
    algorithms=frozenset({"EdDSA"}),
    required_scopes=frozenset(),
)
_DPOP_NONCE: Final = encoded(_NONCE[:18]).decode()
_HEADER: Final = trees.planted({"typ": PROOF_TYPE, "alg": "EdDSA", "jwk": _JWK})
_CLAIMS: Final = trees.planted(
    {
        "jti": "1",
        "iat": _NOW,
        "ath": encoded(hashlib.sha256(_TOKEN).digest()).decode(),
        "aud": "mqtt",
        "mqtt_client_id": "dev1",
        "nonce": _DPOP_NONCE,
    }
)
_HEADER_WORDS: Final = trees.words(
    "typ alg jwk kid crit b64 jku x5c d k use key_ops kty crv x y OKP EC oct none HS256 ES256"
    " EdDSA Ed25519 dpop-mqtt+jwt dpop+jwt at+jwt JWT application/dpop-mqtt+jwt"
)
_CLAIM_WORDS: Final = trees.words(
    "jti iat exp nbf nonce ath aud mqtt_client_id htm htu mqtt MQTT dev1 dev2 DEV1"
)


def _vouched(cnf: dict[str, Any]) -> VerifiedToken:
    answer = {"sub": "dev1", "aud": "mqtt", "exp": _NOW + 600, "cnf": cnf}
    return verify_introspected(answer, _ISSUER, _NOW)


_METHODS: Final[dict[str, tuple[Method, VerifiedToken]]] = {
    "mac": (AceMethod(), _vouched({"jwk": _OCT})),
    "signature": (AceMethod(), _vouched({"jwk": _JWK})),
    "dpop": (DpopMethod(), _vouched({"jkt": _JKT})),
}


def make(chance: Chance) -> bytes:
    """Draw what a client sends, nearly right and often quite."""
    way = chance.one(tuple(_METHODS))
    connect, answer = _dpop(chance) if way == "dpop" else _ace(chance, way)
    if chance.often(0.2):
        connect = octets.changed(chance, connect, (b"\0\0", b"\0/", b" "))
    if chance.often(0.3):
        answer = octets.changed(chance, answer, (b".", b"=", b" ", _TOKEN, _NONCE[:8]))
    return pieces.pack(way, connect.decode("latin-1"), answer.decode("latin-1"))


def _ace(chance: Chance, way: str) -> tuple[bytes, bytes]:
    client = chance.one((b"\1" * 8, _NONCE[:8], bytes(8), b"\xff" * 7, b""))
    signed = chance.one((_NONCE[:8] + client, client + _NONCE[:8], _NONCE[:16]))
    proof = hmac.digest(_SECRET, signed, "sha256") if way == "mac" else _KEY.sign(signed)
    return len(_TOKEN).to_bytes(2) + _TOKEN, client + proof


def _dpop(chance: Chance) -> tuple[bytes, bytes]:
    header, claims = _HEADER, _CLAIMS
    if chance.often(0.4):
        header = trees.changed(chance, header, _HEADER_WORDS)
    if chance.often(0.5):
        claims = trees.changed(chance, claims, _CLAIM_WORDS)
    parts = [encoded(trees.spelled(chance, tree).encode()) for tree in (header, claims)]
    signed = b".".join(parts)
    proof = signed + b"." + encoded(_KEY.sign(signed))
    return (b"", _TOKEN + b" " + proof) if chance.often(0.3) else (_TOKEN, proof)


def check(data: bytes) -> str:
    """Go through one exchange, and judge by other means what it lets through."""
    parts = pieces.unpack(data)
    if len(parts) != 3 or parts[0] not in _METHODS:
        return "no exchange"
    way = parts[0]
    connect, answer = (str(part).encode("latin-1", "replace") for part in parts[1:])
    method, token = _METHODS[way]
    try:
        presented = _presented(method, connect, answer)
        demand(presented.proof is not None, "no proof")
        if presented.proof is not None:
            presented.proof.check(token, _NOW)
    except TokenError as error:
        for sent in (connect, answer):
            demand(len(sent) < 20 or sent.decode("latin-1") not in str(error), "it is shown")
        return error.code
    if way == "dpop":
        _demand_dpop(presented.token, answer.rpartition(b" ")[2])
    else:
        demand(connect == len(presented.token).to_bytes(2) + presented.token, "another token")
        _demand_ace(way, answer)
    return f"{way} proven"


def _presented(method: Method, connect: bytes, answer: bytes) -> Presented:
    exchange = method.begin(
        ExchangeContext(
            client_id="dev1", broker="b", server_nonce=_NONCE, now=_NOW, reauthenticating=False
        )
    )
    challenge = exchange.step(connect)
    demand(isinstance(challenge, Challenge), "let in without a challenge")
    presented = exchange.step(answer)
    demand(isinstance(presented, Presented), "a challenge without end")
    return cast("Presented", presented)


def _demand_ace(way: str, answer: bytes) -> None:
    signed, proof = _NONCE[:8] + answer[:8], answer[8:]
    right = hmac.digest(_SECRET, signed, "sha256") if way == "mac" else _KEY.sign(signed)
    demand(proof == right, "not the answer of the key")


def _demand_dpop(token: bytes, proof: bytes) -> None:
    head, body, signature = proof.split(b".")
    demand(decoded(signature) == _KEY.sign(head + b"." + body), "not signed by the key")
    header, claims = json.loads(decoded(head)), json.loads(decoded(body))
    demand(header["typ"].lower().removeprefix("application/") == PROOF_TYPE, "another kind")
    demand(claims["ath"] == encoded(hashlib.sha256(token).digest()).decode(), "another token")
    told = (claims["aud"], claims["mqtt_client_id"], claims["nonce"])
    demand(told == ("mqtt", "dev1", _DPOP_NONCE), "about something else")


TARGET = Target.of("broker-proofs", _INVARIANT, make, check)
