# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``verify_event_token``: security events that a trusted transmitter has signed."""

from __future__ import annotations

import json
from typing import Final

from fuzz import octets, security_event_texts, trees
from fuzz.chance import Chance
from fuzz.signed_tokens import TOKENS
from fuzz.target import Target, demand
from fuzz.targets.signed_claims import ISSUERS, KEY, KEYS, NOW, signed
from fuzz.token_texts import HEADER_WORDS, changed, decoded
from keyfob.errors import TokenError
from keyfob.tokens.security_events import MAX_EVENTS, SecurityEventToken, verify_event_token

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "Whatever is pushed, it is refused with TokenError or is a security event token: of its type, "
    "for us, by a trusted transmitter, of the past; an access token never is one."
)
_US: Final = dict.fromkeys(ISSUERS, "https://guard.example")


def make(chance: Chance) -> bytes:
    """Sign events, or hand in an access token."""
    if chance.often(0.05):
        return chance.one(TOKENS) if chance.often(0.5) else changed(chance)
    header = trees.planted({**security_event_texts.HEADER, "kid": KEY.kid})
    if chance.often(0.1):
        header = trees.changed(chance, header, HEADER_WORDS)
    payload = trees.spelled(chance, security_event_texts.drawn(chance)).encode("utf-8")
    if chance.often(0.05):
        payload = octets.changed(chance, payload)
    return signed(trees.spelled(chance, header).encode("utf-8"), payload)


def check(data: bytes) -> str:
    """Verify one, and hold what comes against its text."""
    try:
        outcome = verify_event_token(data, ISSUERS, _US, KEYS, NOW)
    except TokenError as error:
        return error.code
    if not isinstance(outcome, SecurityEventToken):
        return type(outcome).__name__
    header, claims = (json.loads(decoded(segment)) for segment in data.split(b".")[:2])
    demand(header["typ"].lower().removeprefix("application/") == "secevent+jwt", "another type")
    demand("sub" not in claims, "it names its subject as an access token does")
    audience = [claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"]
    demand("https://guard.example" in audience, "for somebody else")
    told = outcome.claims
    demand((told.issuer, told.token_id) == (claims["iss"], claims["jti"]), "another token")
    demand([event.type for event in told.events] == list(claims["events"]), "other events")
    demand(0 < len(told.events) <= MAX_EVENTS, "no events, or too many")
    latest = NOW + outcome.issuer.leeway
    demand(all(event.happened_at <= latest for event in told.events), "of the future")
    return f"{len(told.events)} events"


TARGET = Target.of("security-events", _INVARIANT, make, check)
