# SPDX-License-Identifier: Apache-2.0
"""What a token is that somebody shows to us: each kind of token has a lookup, tried in order.

A lookup knows one kind, finds a token of it that is good now, and can revoke it. Introspection
(RFC 7662) and revocation (RFC 7009) are the same look, with another question behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["FoundToken", "OtherTokenTypeError", "TokenLookup", "find_token"]


class OtherTokenTypeError(Exception):
    """A token of this server that is of no kind that can be looked up or revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundToken:
    """A token that is good now.

    Args:
        subject: The device that it is for.
        client_id: The OAuth client that it was issued to.
        token_id: Its ``jti``, or what else names it without being it.
        issued_at: When it was issued, in Unix seconds.
        expires_at: When it ends, in Unix seconds.
        members: What introspection says of it (RFC 7662 section 2.2), but for ``active``.
    """

    subject: str
    client_id: str
    token_id: str
    issued_at: int
    expires_at: int
    members: Mapping[str, object] = field(repr=False)


class TokenLookup(Protocol):
    """One kind of token."""

    @property
    def token_type(self) -> str:
        """The kind's name as a ``token_type_hint`` (RFC 7009 section 4.1.2)."""

    async def find(self, token: str, now: float) -> FoundToken | None:
        """Return the token if it is of this kind and good now.

        Raises:
            OtherTokenTypeError: It is one of this server's, but of no kind that is known.
        """

    async def revoke(self, found: FoundToken, now: float) -> bool:
        """End a token that ``find`` returned; it has ended for good when this returns.

        Returns:
            Whether it was; False: as many as can be remembered are revoked already.

        Raises:
            UpstreamError: It could not be written down.
        """


async def find_token(
    lookups: Sequence[TokenLookup], token: str, *, hint: str, now: float
) -> tuple[TokenLookup, FoundToken] | None:
    """Look for a token, and return it with the lookup that knows it.

    Args:
        lookups: The kinds of token there are.
        token: As presented.
        hint: The ``token_type_hint``: which kind to try first, no more than that (RFC 7009
            section 2.1, RFC 7662 section 2.1).
        now: Unix seconds.

    Raises:
        OtherTokenTypeError: It is one of this server's, but of no kind that is known.
    """
    other: OtherTokenTypeError | None = None
    for lookup in sorted(lookups, key=lambda each: each.token_type != hint):
        try:
            found = await lookup.find(token, now)
        except OtherTokenTypeError as error:  # of no kind that this lookup knows
            other = error
            continue
        if found is not None:
            return lookup, found
    if other is not None:
        raise other
    return None
