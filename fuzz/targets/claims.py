# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``Claims.parse`` and ``Claims.get``."""

from __future__ import annotations

import json
from typing import Any, Final

from fuzz import introspection_texts, pieces, rights_claims, trees
from fuzz.chance import Chance
from fuzz.target import Target, demand
from fuzz.token_texts import CLAIM_WORDS
from keyfob.errors import ClaimError
from keyfob.tokens.claims import MAX_TEXT_CHARS, Claims

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "Claims.parse raises nothing but ClaimError, what it returns has the types it promises, "
    "and asking for any path raises nothing."
)

_SAMPLE: Final = trees.planted(
    {
        "iss": "https://as.example",
        "sub": "dev1",
        "aud": ["mqtt"],
        "exp": 1_790_003_600,
        "iat": 1_790_000_000.5,
        "nbf": 0,
        "jti": "j",
        "client_id": "c",
        "scope": "mqtt.connect a b",
        "cnf": {"x5t#S256": "AAAA"},
        "realm_access": {"roles": ["a", "b"]},
        "https://a.example/roles": ["c"],
    }
)
_PATHS: Final = (
    *CLAIM_WORDS,
    "realm_access.roles",
    "https://a.example/roles",
    "aud.0",
    "..",
    ".",
    "realm_access.",
    "cnf.x5t#S256",
    "iss.a",
)


def make(chance: Chance) -> bytes:
    """Draw a claims set, or an answer to introspection, as JSON text, and a path to ask for."""
    draw = chance.random()
    if draw < 0.6:
        tree = trees.changed(chance, _SAMPLE, CLAIM_WORDS)
    elif draw < 0.8:
        tree = rights_claims.drawn(chance)
    else:
        tree = introspection_texts.drawn_tree(chance)
    return pieces.pack(trees.spelled(chance, tree), chance.one(_PATHS))


def check(data: bytes) -> str:
    """Parse one claims set."""
    text, path = pieces.unpack(data)
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        return "no JSON"
    if not isinstance(members, dict):
        return "no object"
    try:
        claims = Claims.parse(members)
    except ClaimError as error:
        demand(error.claim in str(error), "the error does not name the claim")
        return error.code
    _demand_types(claims)
    _demand_names(claims, members)
    claims.get(path)
    repr(claims)
    return "parsed"


def _demand_types(claims: Claims) -> None:
    texts = (claims.issuer, claims.subject, claims.token_id, claims.client_id)
    for text in texts:
        demand(type(text) is str and len(text) <= MAX_TEXT_CHARS, "no text, or too long")
        demand(text.encode("utf-8").isascii() is not None, "a text without a UTF-8 form")
        demand(not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text), "a control character")
    for date in (claims.expires_at, claims.issued_at, claims.not_before):
        demand(date is None or (type(date) is float and 0 <= date < 2**53), "no date")
    for entries in (claims.audience, claims.scope):
        demand(all(type(entry) is str for entry in entries), "an entry that is no text")
    demand(claims.confirmation is None or isinstance(claims.confirmation, dict), "cnf")


def _demand_names(claims: Claims, members: dict[str, Any]) -> None:
    demand(claims.issuer == members["iss"], "another iss")
    demand(claims.subject == members.get("sub", ""), "another sub")
    demand(claims.expires_at == members["exp"], "another exp")
    for name in ("sub", "jti", "client_id"):
        demand(members.get(name) != "", f"an empty {name} is taken for none")


TARGET = Target.of("claims", _INVARIANT, make, check)
