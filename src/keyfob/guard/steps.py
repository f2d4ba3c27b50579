# SPDX-License-Identifier: Apache-2.0
"""What was looked at on the way to a decision, told check by check when somebody asks."""

from __future__ import annotations

from typing import Final

from keyfob.authorization.decision import Step
from keyfob.guard.verified_tokens import CachedToken

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
    told = [Step(check=check, ok=True, detail=_passed(check, entry, client_id)) for check in passed]
    if failed:
        told.append(Step(check=failed, ok=False, detail=detail))
    elif entry is not None and entry.granted is not None:
        told.extend(entry.granted.steps)
    return tuple(told)


def _passed(check: str, entry: CachedToken | None, client_id: str) -> str:
    if entry is None:
        return "one field holds a token"
    token = entry.token
    rules = len(entry.granted.permissions.rules) if entry.granted else 0
    bound = "bound to the client's certificate" if token.claims.confirmation else "a bearer token"
    return {
        "credentials": "one field holds a token",
        "token": f"of {token.issuer.name}, for {token.device!a}, key {token.key_id!a}",
        "confirmation": bound,
        "revocation": "not revoked",
        "device": f"{token.device!a} may be {client_id!a}",
        "session": "nobody else has a session under this client identifier",
        "permissions": f"{rules} rules",
    }[check]
