# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``tokens.introspected``: what an authorization server answers about a token."""

from __future__ import annotations

import json
from typing import Final

from fuzz import introspection_texts
from fuzz.chance import Chance
from fuzz.target import Target, demand
from fuzz.targets.signed_claims import ISSUERS, NOW
from keyfob.errors import TokenError, UpstreamError
from keyfob.tokens.introspected import active_members
from keyfob.tokens.verify import verify_introspected

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "An answer is none (UpstreamError), refuses the token (TokenError), or vouches for one that "
    "keeps its issuer's rules; nothing but the boolean true ever makes a token active."
)
_ISSUER: Final = ISSUERS["https://as.example"]


def make(chance: Chance) -> bytes:
    """Draw a body."""
    return introspection_texts.drawn(chance)


def check(data: bytes) -> str:
    """Read one body, and judge what it vouches for."""
    try:
        members = active_members(data)
    except (UpstreamError, TokenError) as error:
        return error.code
    answer = json.loads(data)
    demand(answer["active"] is True, "active although it does not say so")
    demand("active" not in members, "active is no claim")
    try:
        token = verify_introspected(members, _ISSUER, NOW)
    except TokenError as error:
        return error.code
    demand(token.issuer is _ISSUER and token.claims.issuer == _ISSUER.issuer, "another issuer")
    demand(_ISSUER.audiences & set(token.claims.audience), "for somebody else")
    demand(token.expires_at > NOW, "expired")
    demand(_ISSUER.required_scopes <= set(token.claims.scope), "a scope is missing")
    demand(token.device, "nobody")
    return "vouched for"


TARGET = Target.of("introspection-answers", _INVARIANT, make, check)
