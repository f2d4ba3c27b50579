# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``server.req_cnf``: the key that a client asks its token to be bound to."""

from __future__ import annotations

import json
from typing import Final

from fuzz import octets, trees
from fuzz.chance import Chance
from fuzz.signed_tokens import JWKS
from fuzz.target import Target, demand
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.req_cnf import MAX_REQ_CNF_CHARS, confirmation_key, read_req_cnf
from keyfob.tokens.keys import KeySet, thumbprint

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "A req_cnf is refused as invalid_request or unsupported_pop_key, or it names a key, or what "
    "goes into the token is a public key and nothing beside it; no error shows it."
)
_WORDS: Final = trees.words(
    "jwk kid jkt jwe x5t#S256 kty crv x y n e d k p q use key_ops alg EC OKP RSA oct P-256 Ed25519"
    " X25519 sig enc verify ES256 EdDSA HS256 AQAB"
)
_SAMPLES: Final = (
    *(trees.planted({"jwk": {**jwk, "use": "sig"}}) for jwk in JWKS["keys"]),
    trees.planted({"kid": "the first key"}),
)
_KEPT: Final = {"kty", "crv", "x", "y", "n", "e", "alg"}


def make(chance: Chance) -> bytes:
    """Draw a wish that is nearly one."""
    tree = chance.one(_SAMPLES)
    if chance.often(0.8):
        tree = trees.changed(chance, tree, _WORDS)
    data = trees.spelled(chance, tree).encode("utf-8")
    return octets.changed(chance, data) if chance.often(0.2) else data


def check(data: bytes) -> str:
    """Read one wish."""
    text = data.decode("utf-8", "replace")
    try:
        asked = read_req_cnf(text)
        if "kid" in asked:
            return "a name"
        key = confirmation_key(asked["jwk"])
    except OAuthError as error:
        demand(error.error in ("invalid_request", "unsupported_pop_key"), "another error")
        demand(len(text) < 20 or text not in f"{error} {error.description}", "it is shown")
        return error.reason
    demand(len(text) <= MAX_REQ_CNF_CHARS, "too long")
    written = json.loads(text)["jwk"]
    demand(set(key) <= _KEPT & set(written), "more than the key")
    demand(all(key[name] == written[name] for name in key), "another key")
    demand(thumbprint(key) == KeySet.from_jwks({"keys": [key]}).keys[0].thumbprint, "unfit")
    return "a key"


TARGET = Target.of("requested-keys", _INVARIANT, make, check)
