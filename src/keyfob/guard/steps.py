# SPDX-License-Identifier: Apache-2.0
"""What was looked at on the way to a decision, told check by check when somebody asks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from keyfob.authorization.decision import Step
from keyfob.guard.verified_tokens import CachedToken
from keyfob.tokens.confirmation import bound_to
from keyfob.tokens.verify import VerifiedToken

__all__ = ["CHECKS", "steps"]

CHECKS: Final = (
    "credentials",
    "token",
    "confirmation",
    "revocation",
    "device",
    "session",
    "permissions",
)
"""The checks in the order in which ``judge`` makes them."""


def steps(
    *, failed: str = "", detail: str = "", entry: CachedToken | None, client_id: str
) -> tuple[Step, ...]:
    """Tell every check up to the one that failed.

    Args:
        failed: That check; empty: none failed.
        detail: What was wrong.
        entry: The verified token, if it came to that.
        client_id: The client identifier.
    """
    passed = CHECKS[: CHECKS.index(failed)] if failed else CHECKS
    told: list[Step] = []
    for check in passed:
        told.append(Step(check=check, ok=True, detail=_passed(check, entry, client_id)))
        if check == "token" and entry is not None:
            told.extend(_token_steps(entry.token))
    if failed:
        told.append(Step(check=failed, ok=False, detail=detail))
    elif entry is not None and entry.granted is not None:
        told.extend(entry.granted.steps)
    return tuple(told)


def _token_steps(token: VerifiedToken) -> tuple[Step, ...]:
    """Tell what verifying the token looked at, with what it found."""
    claims, issuer = token.claims, token.issuer
    key = f"signed with {token.key_id!a}" if token.key_id else "signed by nobody: mere claims"
    if token.introspected:
        key = f"signed with {token.key_id!a}, and active" if token.key_id else "opaque, and active"
    audience = ", ".join(sorted(issuer.audiences.intersection(claims.audience)))
    scopes = " ".join(sorted(issuer.required_scopes)) or "none is required"
    return (
        Step(check="issuer", ok=True, detail=ascii(issuer.issuer)[1:-1]),
        Step(check="key", ok=True, detail=key),
        Step(check="audience", ok=True, detail=ascii(audience)[1:-1]),
        Step(check="time", ok=True, detail=f"until {_moment(token.expires_at)}"),
        Step(check="scope", ok=True, detail=ascii(scopes)[1:-1]),
    )


def _moment(seconds: float) -> str:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return "the end of all days"
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _passed(check: str, entry: CachedToken | None, client_id: str) -> str:
    if entry is None:
        return "one field holds a token"
    token = entry.token
    rules = len(entry.granted.permissions.rules) if entry.granted else 0
    bound = bound_to(token.claims.confirmation)
    return {
        "credentials": "one field holds a token",
        "token": f"of {token.issuer.name}, for {token.device!a}",
        "confirmation": f"bound to {bound!a}, which was proven" if bound else "a bearer token",
        "revocation": "not revoked",
        "device": f"{token.device!a} may be {client_id!a}",
        "session": "nobody else has a session under this client identifier",
        "permissions": f"{rules} rules",
    }[check]
