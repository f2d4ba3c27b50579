# SPDX-License-Identifier: Apache-2.0
"""Security events (RFC 8417) about subjects of every format (RFC 9493), changed a little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fuzz import trees
from fuzz.chance import Chance

__all__ = ["HEADER", "SUBJECTS", "WORDS", "drawn"]

HEADER: Final[Mapping[str, str]] = {"alg": "EdDSA", "typ": "secevent+jwt"}

_CAEP: Final = "https://schemas.openid.net/secevent/caep/event-type/"
_RISC: Final = "https://schemas.openid.net/secevent/risc/event-type/"
_ISS_SUB: Final = {"format": "iss_sub", "iss": "https://as.example", "sub": "dev1"}
# RFC 9493 section 3.2, and the complex ones of the Shared Signals Framework.
SUBJECTS: Final[tuple[Mapping[str, Any], ...]] = (
    _ISS_SUB,
    {**_ISS_SUB, "iss": "https://other.example"},
    {"format": "opaque", "id": "dev1"},
    {"format": "account", "uri": "acct:dev1@as.example"},
    {"format": "email", "email": "dev1@as.example"},
    {"format": "phone_number", "phone_number": "+12065550100"},
    {"format": "did", "url": "did:example:123456"},
    {"format": "uri", "uri": "urn:uuid:4e851e98-83c4-4743-a5da-150ecb53042f"},
    {"format": "jwt_id", "iss": "https://as.example", "jti": "j"},
    {"format": "aliases", "identifiers": [_ISS_SUB, {"format": "opaque", "id": "x"}]},
    {"format": "complex", "user": _ISS_SUB, "device": _ISS_SUB, "tenant": {"format": "opaque"}},
    {"user": _ISS_SUB, "session": {"format": "opaque", "id": "s"}},
)
_EVENTS: Final[tuple[Mapping[str, Any], ...]] = (
    {f"{_CAEP}session-revoked": {"event_timestamp": 1_790_000_000}},
    {
        f"{_CAEP}token-claims-change": {
            "event_timestamp": 1_790_000_000.5,
            "claims": {"scope": "mqtt.connect"},
            "reason_admin": {"en": "moved"},
            "initiating_entity": "admin",
        }
    },
    {f"{_CAEP}session-revoked": {}, f"{_CAEP}credential-change": {"change_type": "revoke"}},
    {f"{_RISC}account-disabled": {"reason": "hijacking"}},
    {"https://schemas.openid.net/secevent/ssf/event-type/verification": {"state": "x"}},
    {},
)
WORDS: Final = trees.words(
    "iss aud iat jti exp sub sub_id events txn toe format iss_sub opaque account email aliases"
    f" identifiers user device session tenant subject event_timestamp {_CAEP}session-revoked"
    f" {_CAEP}token-claims-change https://as.example dev1"
)


def drawn(chance: Chance) -> trees.Tree:
    """Draw the claims of a security event token."""
    subject, events = chance.one(SUBJECTS), dict(chance.one(_EVENTS))
    claims: dict[str, Any] = {
        "iss": "https://as.example",
        "aud": chance.one(("mqtt", ["https://guard.example", "mqtt"])),
        "iat": 1_790_000_000,
        "jti": "set-1",
        "events": events,
    }
    if chance.often(0.8):
        claims["sub_id"] = subject
    else:  # as early drafts of CAEP had it: within the event
        claims["events"] = {name: {**body, "subject": subject} for name, body in events.items()}
    if chance.often(0.2):
        claims |= {
            "sub": "dev1",
            "exp": 1_790_003_600,
            "client_id": "dev1",
            "scope": "mqtt.connect",
        }
    tree = trees.planted(claims)
    return trees.changed(chance, tree, WORDS) if chance.often(0.9) else tree
