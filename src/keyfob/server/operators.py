# SPDX-License-Identifier: Apache-2.0
"""Operators: people who sign in with a password, in a browser, to approve devices."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Operator", "Session"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator.

    Args:
        name: As devices may be called (``names``), but in no namespace with them.
        created_at: When the account was made, in Unix seconds.
        changed_at: When it got its password; the same where it has none.
        openid_subject: Who he is at the other OpenID issuer; None: he signs in by password.
    """

    name: str
    created_at: float
    changed_at: float
    openid_subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One sign-in of an operator.

    Args:
        operator: Whose.
        created_at: When it began, in Unix seconds.
        seen_at: When it was used last, as far as written down.
    """

    operator: str
    created_at: float
    seen_at: float
