# SPDX-License-Identifier: Apache-2.0
"""What the operator is told about requests for tokens and about tokens: never a secret or token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from keyfob.server.records import Record

__all__ = ["AuditSink", "RequestKind", "TokenEvent", "ignore"]

RequestKind: TypeAlias = Literal[
    "token",
    "revocations",
    "introspection",
    "revocation",
    "device_authorization",
    "sign_in",
    "approval",
    "admin",
    "registration",
]
"""What can be asked for."""


class TokenEvent(Record, frozen=True, kw_only=True):
    """A token was issued or revoked, or a request for one or about one refused.

    Also an operator signed in, or approved or denied a device.

    A guard that reads the revocations, or asks about a token, is no event: it does so all the time.

    Args:
        at: When, in Unix seconds.
        outcome: Which of these.
        peer: The address that the request came from.
        request: What was asked for.
        grant_type: What was asked for; empty where it is no grant of this server.
        client_id: Who claimed to ask; empty where unknown, ``?`` where it is not a name (people
            paste secrets into the wrong field).
        subject: The device, in the same form.
        error: The OAuth error that the client was told; empty unless refused.
        reason: Why it was refused, in one word; empty unless refused.
        token_id: The token's ``jti``; empty when refused.
        expires_at: The token's ``exp``; 0 when refused.
        operator: Who signed in, approved or denied, in the same form as the others; else empty.
    """

    at: float
    outcome: Literal["issued", "revoked", "refused", "signed_in", "approved", "denied"]
    peer: str
    request: RequestKind = "token"
    grant_type: str = ""
    client_id: str = ""
    subject: str = ""
    error: str = ""
    reason: str = ""
    token_id: str = ""
    expires_at: int = 0
    operator: str = ""


AuditSink = Callable[[TokenEvent], None]
"""Takes each event, in the event loop: it must neither block nor raise."""


def ignore(event: TokenEvent) -> None:
    """Be the sink of somebody who wants no audit."""
