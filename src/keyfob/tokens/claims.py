# SPDX-License-Identifier: Apache-2.0
"""Claims: a JWT's claims set with the types that RFC 7519 section 4.1 gives them.

Parsing checks types and shapes, and that ``iss``, ``aud`` and ``exp`` are there, without which
no token is ever good. What else is required, and of whom, is ``verify``'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from keyfob.errors import ClaimError

__all__ = [
    "MAX_TEXT_CHARS",
    "Claims",
    "audience_of",
    "date_of",
    "invalid",
    "missing",
    "text_fault",
    "text_of",
]

# Subjects and identifiers go into records, logs and the broker's user name; OpenID Connect
# stops at 255 (core section 2), the longest that issuers of the field send have about 100.
MAX_TEXT_CHARS: Final = 1024

# NumericDate: below 2**53 every whole second is exact in a double.
_DATE_END: Final = 2**53

_UNCLEAN: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """A claims set (RFC 7519 section 4, RFC 9068 section 2.2).

    Optional texts are empty and optional dates None where the claim is absent; a text that is
    present is never empty.

    Attributes:
        issuer: ``iss``.
        subject: ``sub``.
        audience: ``aud``, as a tuple whether it was a text or an array.
        expires_at: ``exp`` in seconds since 1970.
        issued_at: ``iat``.
        not_before: ``nbf``.
        token_id: ``jti``.
        client_id: ``client_id``.
        scope: ``scope``, its values in their order.
        confirmation: ``cnf`` (RFC 7800).
        members: Everything, as parsed.
    """

    issuer: str
    subject: str
    audience: tuple[str, ...]
    expires_at: float
    issued_at: float | None
    not_before: float | None
    token_id: str
    client_id: str
    scope: tuple[str, ...]
    confirmation: Mapping[str, Any] | None
    members: Mapping[str, Any]

    def __repr__(self) -> str:
        """Show whose claims they are, and not all that an issuer writes into them."""
        return f"Claims(issuer={self.issuer!r}, subject={self.subject!r})"

    @classmethod
    def parse(
        cls, members: Mapping[str, Any], *, audience_claim: str = "aud", scope_claim: str = "scope"
    ) -> Claims:
        """Give the registered claims their types.

        Args:
            members: The claims set.
            audience_claim: The claim that says whom the token is for, where that is not ``aud``.
                One that is also the ``scope_claim`` is read as scopes.
            scope_claim: The claim that holds the scopes, or what stands for them. Dots lead into
                nested claims, as in ``get``.

        Raises:
            ClaimError: ``claim_missing`` or ``claim_invalid``, naming the claim.
        """
        for name in ("iss", "exp"):
            if name not in members:
                raise missing(name)
        scope = _scope(members, scope_claim)
        named = scope if audience_claim == scope_claim else audience_of(members, audience_claim)
        confirmation = members.get("cnf")
        if "cnf" in members and not isinstance(confirmation, dict):
            raise invalid("cnf", "is not an object")
        return cls(
            issuer=text_of(members, "iss"),
            subject=text_of(members, "sub"),
            audience=named,
            expires_at=date_of("exp", members["exp"]),
            issued_at=date_of("iat", members["iat"]) if "iat" in members else None,
            not_before=date_of("nbf", members["nbf"]) if "nbf" in members else None,
            token_id=text_of(members, "jti"),
            client_id=text_of(members, "client_id"),
            scope=scope,
            confirmation=confirmation,
            members=MappingProxyType(members if isinstance(members, dict) else dict(members)),
        )

    def get(self, path: str) -> object:
        """Return a claim, or None where there is none.

        Args:
            path: The claim's name, or the names on the way to a nested one joined by dots:
                ``realm_access.roles``. A claim whose own name holds the dots, such as
                ``https://example.com/roles``, comes first. What begins with ``/`` is a JSON
                Pointer (RFC 6901) instead, for names on the way that hold dots themselves:
                ``/resource_access/my.app/roles``.
        """
        return _at(self.members, path)


def text_fault(value: object, longest: int) -> str | None:
    """Say what is wrong with a value that must be a text fit for names and logs.

    Args:
        value: A parsed JSON value.
        longest: How many characters it may have.

    Returns:
        The fault, or None: a non-empty text without control characters or lone surrogates.
    """
    if not isinstance(value, str):
        return "is not a string"
    if not value:
        return "is empty"
    if len(value) > longest:
        return f"is longer than {longest} characters"
    if not (value.isascii() and value.isprintable()) and _UNCLEAN.search(value):
        return "holds a control character"
    return None


def missing(name: str) -> ClaimError:
    """Make the error for a claim that has to be there."""
    return ClaimError(f"the token has no {name}", code="claim_missing", claim=name)


def invalid(name: str, fault: str) -> ClaimError:
    """Make the error for a claim whose value cannot be right."""
    return ClaimError(f"the claim {name} {fault}", claim=name)


def _at(members: Mapping[str, Any], path: str) -> object:
    if path.startswith("/"):
        names = [name.replace("~1", "/").replace("~0", "~") for name in path[1:].split("/")]
        return _walk(members, names)
    value: object = members.get(path)
    if value is None and "." in path and path not in members:
        return _walk(members, path.split("."))
    return value


def _walk(members: Mapping[str, Any], names: list[str]) -> object:
    value: object = members
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def text_of(members: Mapping[str, Any], name: str) -> str:
    """Read a claim that is a text; empty where it is absent.

    Raises:
        ClaimError: ``claim_invalid``: no text, an empty one, or one not fit for names and logs.
    """
    if name not in members:
        return ""
    value = members[name]
    if fault := text_fault(value, MAX_TEXT_CHARS):
        raise invalid(name, fault)
    return str(value)


def date_of(name: str, value: object) -> float:
    """Read a NumericDate (RFC 7519 section 2).

    Raises:
        ClaimError: ``claim_invalid``.
    """
    # bool is an int; NaN fails both comparisons.
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _DATE_END:
        return float(value)
    raise invalid(name, "is not a date in seconds since 1970")


def audience_of(members: Mapping[str, Any], claim: str = "aud") -> tuple[str, ...]:
    """Read a claim that says whom a token is for: one text or several (RFC 7519 section 4.1.3).

    Raises:
        ClaimError: It is missing, or neither a text nor an array of texts.
    """
    value = _at(members, claim)
    if value is None and claim not in members:
        raise missing(claim)
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise invalid(claim, "is neither a string nor an array of strings")
    return tuple(value)


def _scope(members: Mapping[str, Any], claim: str) -> tuple[str, ...]:
    """Read the scopes: one text by RFC 8693 section 4.2, an array as some issuers write it."""
    value = _at(members, claim)
    if value is None and claim not in members:
        return ()
    if isinstance(value, str):
        return tuple(filter(None, value.split(" ")))
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise invalid(claim, "is not a string of scopes separated by spaces")
    return tuple(value)
