# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``verify`` with JWTs of a trusted issuer that are something else than access tokens."""

from __future__ import annotations

import json
from typing import Final

from fuzz import introspection_texts, security_event_texts, trees
from fuzz.chance import Chance
from fuzz.target import Target, demand
from fuzz.targets.signed_claims import ISSUERS, KEY, KEYS, NOW, signed
from fuzz.token_texts import decoded
from keyfob.errors import TokenError
from keyfob.tokens.verify import VerifiedToken, verify

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "No security event, logout token or signed introspection answer is ever an access token, "
    "whatever its type says, though its issuer signed it and it names every claim of one."
)
_GIVEAWAYS: Final = frozenset({"events", "token_introspection"})
_TYPES: Final = ("secevent+jwt", "logout+jwt", "token-introspection+jwt", "at+jwt", "JWT", "", None)
# What makes an access token of either issuer, if nothing gave it away.
_WHOLE: Final = (
    {"sub": "dev1", "client_id": "dev1", "jti": "j", "exp": NOW + 60, "scope": "mqtt.connect"},
    {"iss": "https://other.example", "aud": "broker", "exp": NOW + 60, "act": {"device": "dev1"}},
)


def make(chance: Chance) -> bytes:
    """Sign what is no access token, most of the time dressed up as one."""
    if chance.often(0.7):
        tree = security_event_texts.drawn(chance)
    else:
        tree = introspection_texts.drawn_tree(chance)
    which = chance.randrange(2)
    if isinstance(tree, trees.Members) and chance.often(0.8):
        kept = [(name, value) for name, value in tree if name not in _WHOLE[which]]
        tree = trees.Members([*kept, *trees.planted(_WHOLE[which])])
    header: dict[str, str | None]
    header = {"alg": "EdDSA", "kid": KEY.kid, "typ": ("at+jwt", "JWT")[which]}
    if chance.often(0.3):
        header["typ"] = chance.one(_TYPES)
    text = json.dumps({name: value for name, value in header.items() if value is not None})
    return signed(text.encode(), trees.spelled(chance, tree).encode("utf-8"))


def check(data: bytes) -> str:
    """Verify one, and see whether what was taken for an access token gives itself away."""
    try:
        outcome = verify(data, ISSUERS, KEYS, NOW)
    except TokenError as error:
        return error.code
    if not isinstance(outcome, VerifiedToken):
        return type(outcome).__name__
    claims = json.loads(decoded(data.split(b".")[1]))
    demand(_GIVEAWAYS.isdisjoint(claims), "another kind of JWT is taken for an access token")
    return "verified: nothing is left of what it was"


TARGET = Target.of("other-jwts", _INVARIANT, make, check)
