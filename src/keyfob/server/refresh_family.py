# SPDX-License-Identifier: Apache-2.0
"""A family of refresh tokens, and what a presented one means for it (RFC 9700 section 4.14.2).

One login begins a family; each use replaces its token by the next. Exactly one token is good at any
time. Who shows one that was replaced is a thief, or comes after a thief, and the server cannot tell
which: the family ends, and whoever is honest logs in again.

The one exception is a client that did not get its answer. For ``GRACE`` seconds after a use, and
until the successor is used itself, the token before it is answered with that same successor.
"""

from __future__ import annotations

import enum
import hmac
from dataclasses import dataclass, field
from typing import Final

from keyfob.server.authorization_details import Detail
from keyfob.server.refresh_token import RefreshToken

__all__ = ["GRACE", "Ended", "Family", "Seen", "Standing", "standing"]

GRACE: Final = 10.0


class Standing(enum.StrEnum):
    """What a presented token is; the value of a bad one is the reason in the audit."""

    CURRENT = "current"
    """The one that is good: it is replaced."""
    REPEATED = "repeated"
    """The one before, within its grace: it gets the same successor again."""
    UNKNOWN = "refresh_token_unknown"
    """None of ours, or of a family that is gone."""
    FOREIGN = "refresh_token_of_other_client"
    """Issued to another client (RFC 6749 section 6)."""
    ENDED = "refresh_family_ended"
    """Of a family that was ended: reuse, revocation, a client that was disabled."""
    EXPIRED = "refresh_token_expired"
    """Not used for too long, or the family's time is over."""
    REUSED = "refresh_token_reused"
    """Ours, and neither of the first two: the family has to end."""

    @property
    def good(self) -> bool:
        """Whether it is answered with a token."""
        return self in (Standing.CURRENT, Standing.REPEATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family, as it is kept.

    Args:
        family_id: Random.
        client_id: The application that its tokens were issued to.
        subject: The device that the access tokens are for.
        scopes: What was granted at the login; a refresh may narrow it for one access token.
        key: What its tokens are made with.
        counter: The number of the token that is good now.
        digest: Of that token's secret.
        previous: Of the token before it; None at the first.
        rotated_at: When that one was replaced, or the family began.
        expires_at: When it ends unless it is used before.
        ends_at: When it ends however often it is used.
        ended: Why it was ended; empty while it lives.
        certificate: ``x5t#S256`` of the one that has to be shown with its tokens; None: none has.
        jkt: The thumbprint of the key that its use takes a proof of; None: it takes none.
        audience: Whom its tokens are for; empty: what the server's setting says.
        details: What was granted beside the scopes.
    """

    family_id: bytes
    client_id: str
    subject: str
    scopes: tuple[str, ...]
    key: bytes = field(repr=False)
    counter: int
    digest: bytes = field(repr=False)
    previous: bytes | None = field(repr=False)
    rotated_at: float
    expires_at: float
    ends_at: float
    ended: str = ""
    certificate: str | None = None
    jkt: str | None = None
    audience: tuple[str, ...] = ()
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a token is, and its family; None where the token is none of ours."""

    standing: Standing
    family: Family | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The device of a family that somebody wanted to end, and whether he might."""

    subject: str
    done: bool


def standing(
    family: Family | None, token: RefreshToken, *, client_id: str, now: float, grace: float = GRACE
) -> Standing:
    """Say what a presented token is.

    Nothing depends on a token that the family's key did not make: knowing a family's identifier is
    not enough to end it.

    Args:
        family: The family that the token names; None where there is none.
        token: What was presented.
        client_id: Who presented it, authenticated.
        now: Unix seconds.
        grace: Seconds in which the token before the current one may come again.
    """
    if family is None or not token.made_with(family.key):
        return Standing.UNKNOWN
    if family.client_id != client_id:
        return Standing.FOREIGN
    if family.ended:
        return Standing.ENDED
    if now >= family.expires_at:
        return Standing.EXPIRED
    if token.counter == family.counter and hmac.compare_digest(token.digest, family.digest):
        return Standing.CURRENT
    if _is_previous(family, token) and now < family.rotated_at + grace:
        return Standing.REPEATED
    # Also a token that is ahead of the register, which was then set back to an earlier copy: its
    # holder can never use it again, and who holds an earlier one must not either.
    return Standing.REUSED


def _is_previous(family: Family, token: RefreshToken) -> bool:
    return (
        family.previous is not None
        and token.counter == family.counter - 1
        and hmac.compare_digest(token.digest, family.previous)
    )
