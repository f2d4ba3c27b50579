# SPDX-License-Identifier: Apache-2.0
"""What a revocation says as a security event token (RFC 8417, CAEP 1.0, SSF 1.0).

    revoked             sub_id                                       event_timestamp
    all of a device's   iss_sub: the device                          the second up to which
    one token           complex: the device, and jwt_id as session   -

``session-revoked`` is the one type that is sent: a device that is disabled, removed, or whose
token was revoked. A new secret, or a device that is enabled again, ends nothing: no event.

``jti`` is made of what the revocation says, so that it is the same whenever, by whichever process
and with whichever key the event is signed, and no place has to remember it.
"""

from __future__ import annotations

import hashlib

import msgspec

from keyfob.server.events.receiver import PendingEvent
from keyfob.tokens import base64url
from keyfob.tokens.security_events import EventType

__all__ = ["claims_of", "token_id_of"]

# CAEP 1.0 section 2: who began it. A client ends its own token; the rest the operator does.
_INITIATORS = {"revoked": "user"}


def token_id_of(event: PendingEvent, issuer: str) -> str:
    """Return the ``jti`` of the SET that tells of a revocation; the same at every delivery.

    A database that was restored from a copy gives numbers out again. The same name is then given
    only to what says the same, so that no receiver takes a new event for one that came before.

    Args:
        event: The revocation.
        issuer: Whose it is.
    """
    told = (
        issuer,
        event.number,
        event.subject,
        event.issued_before,
        event.until,
        event.token_id,
    )
    return base64url.encode(hashlib.sha256(msgspec.json.encode(told)).digest()).decode("ascii")


def claims_of(event: PendingEvent, *, issuer: str, audience: str, now: float) -> dict[str, object]:
    """Return the claims set of the SET that tells of a revocation (RFC 8417 section 2.2).

    Args:
        event: The revocation.
        issuer: This server.
        audience: What the receiver is called.
        now: When it is signed, in Unix seconds.
    """
    device = {"format": "iss_sub", "iss": issuer, "sub": event.subject}
    told: dict[str, object] = {
        "initiating_entity": _INITIATORS.get(event.reason, "admin"),
        "reason_admin": {"en": event.reason},
    }
    subject: dict[str, object] = dict(device)
    if event.token_id is None:
        told["event_timestamp"] = event.issued_before
    else:
        session = {"format": "jwt_id", "iss": issuer, "jti": event.token_id}
        subject = {"format": "complex", "device": device, "session": session}
    return {
        "iss": issuer,
        "jti": token_id_of(event, issuer),
        "iat": int(now),
        "aud": audience,
        "sub_id": subject,
        "events": {EventType.SESSION_REVOKED.value: told},
    }
