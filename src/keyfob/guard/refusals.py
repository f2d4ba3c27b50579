# SPDX-License-Identifier: Apache-2.0
"""Refusals of CONNECTs, with what is known of the client, and words for the operator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from keyfob.authorization.decision import ConnectRequest, Decision, DenyReason, Step
from keyfob.guard.steps import steps
from keyfob.guard.verified_tokens import CachedToken
from keyfob.tokens.verify import VerifiedToken

__all__ = ["because", "binding_detail", "refuse"]


def refuse(
    reason: DenyReason,
    check: str,
    detail: str = "",
    *,
    entry: CachedToken | None = None,
    client_id: str = "",
) -> Decision:
    """Refuse a CONNECT.

    Args:
        reason: Why.
        check: Which check says so, one of ``steps.CHECKS``.
        detail: What exactly was wrong; empty: what the reason says of itself.
        entry: The verified token, if it came to that.
        client_id: The client identifier.
    """
    detail = detail or reason.explanation
    explain: Callable[[], tuple[Step, ...]] = partial(
        steps, failed=check, detail=detail, entry=entry, client_id=client_id
    )
    if entry is None:
        return Decision.refuse(reason, detail=detail, explain=explain)
    claims = entry.token.claims
    return Decision.refuse(
        reason,
        detail=detail,
        principal=entry.principal,
        issuer=claims.issuer,
        subject=entry.token.subject,
        token_id=claims.token_id,
        explain=explain,
    )


def binding_detail(reason: DenyReason, token: VerifiedToken, request: ConnectRequest) -> str:
    """Say why a client identifier and a token do not go together."""
    if reason is DenyReason.CLIENT_ID_MISMATCH:
        return f"The token is for device {token.device!a}."
    if not request.clean:
        return "A client without an identifier of its own must ask for a clean session."
    return "Clients without an identifier of their own are refused here."


def because(reason: str) -> str:
    """Say why a token was revoked, in its issuer's word."""
    return f"The token was revoked: {reason!a}." if reason else ""
