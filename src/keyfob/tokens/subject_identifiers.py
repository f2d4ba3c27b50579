# SPDX-License-Identifier: Apache-2.0
"""Subject identifiers: whom or what a security event is about (RFC 9493, OpenID SSF 1.0).

A format that names nobody a token could name (an e-mail address, a telephone number, a format
that is not known here) is no error: it is kept by its name, so that the audit can tell. One that
is known and not well formed is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from keyfob.tokens.claims import MAX_TEXT_CHARS, invalid, text_fault

__all__ = [
    "MAX_IDENTIFIERS",
    "Identifier",
    "IssuerSubject",
    "OpaqueId",
    "OtherIdentifier",
    "Subject",
    "TokenId",
    "parse_subject",
]

# SSF names seven members of a complex subject; an alias list of more than a few is no use.
MAX_IDENTIFIERS: Final = 16

_MAX_FORMAT_CHARS: Final = 64
_COMPLEX: Final = "complex"
_ALIASES: Final = "aliases"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerSubject:
    """``iss_sub`` (RFC 9493 section 3.2.3): what an issuer's tokens say in ``iss`` and ``sub``."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenId:
    """``jwt_id`` (SSF 1.0): what a token says in ``iss`` and ``jti``."""

    issuer: str
    token_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaqueId:
    """``opaque`` (RFC 9493 section 3.2.4): an identifier that the transmitter gives a meaning."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherIdentifier:
    """An identifier of another format, of which only the format's name is kept."""

    format: str


Identifier = IssuerSubject | TokenId | OpaqueId | OtherIdentifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom an event is about.

    Attributes:
        members: Identifiers by the member of a complex subject (``user``, ``device``, ``session``,
            …) that they stand for; a simple subject has the one member ``""``. Several under one
            name are aliases.
    """

    members: Mapping[str, tuple[Identifier, ...]]


def parse_subject(value: object, claim: str) -> Subject:
    """Read a subject.

    Args:
        value: A parsed JSON value.
        claim: What to call it in errors.

    Raises:
        ClaimError: ``claim_invalid``.
    """
    name, members = _format(value, claim)
    if name != _COMPLEX:
        return Subject(members=MappingProxyType({"": _identifiers(members, claim)}))
    named = {role: part for role, part in members.items() if role != "format"}
    if not 0 < len(named) <= MAX_IDENTIFIERS:
        raise invalid(claim, f"is complex and has not one to {MAX_IDENTIFIERS} members")
    for role in named:
        if fault := text_fault(role, _MAX_FORMAT_CHARS):
            raise invalid(claim, f"has a member whose name {fault}")
    return Subject(
        members=MappingProxyType({role: _identifiers(part, claim) for role, part in named.items()})
    )


def _identifiers(value: object, claim: str) -> tuple[Identifier, ...]:
    """Read one simple identifier, or those that are aliases of each other (section 3.2.8)."""
    name, members = _format(value, claim)
    if name != _ALIASES:
        return (_identifier(name, members, claim),)
    aliases = members.get("identifiers")
    if not isinstance(aliases, list) or not 0 < len(aliases) <= MAX_IDENTIFIERS:
        raise invalid(claim, f"has not one to {MAX_IDENTIFIERS} aliases")
    simple = [_format(alias, claim) for alias in aliases]
    if any(name == _ALIASES for name, _ in simple):
        raise invalid(claim, "has aliases of aliases")
    return tuple(_identifier(name, members, claim) for name, members in simple)


def _format(value: object, claim: str) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(value, Mapping):
        raise invalid(claim, "is not an object")
    name = value.get("format")
    if fault := text_fault(name, _MAX_FORMAT_CHARS):
        raise invalid(claim, f"has a format that {fault}")
    return str(name), value


def _identifier(name: str, members: Mapping[str, Any], claim: str) -> Identifier:
    read = _READERS.get(name)
    return OtherIdentifier(format=name) if read is None else read(members, claim)


def _iss_sub(members: Mapping[str, Any], claim: str) -> Identifier:
    return IssuerSubject(issuer=_text(members, "iss", claim), subject=_text(members, "sub", claim))


def _jwt_id(members: Mapping[str, Any], claim: str) -> Identifier:
    return TokenId(issuer=_text(members, "iss", claim), token_id=_text(members, "jti", claim))


def _opaque(members: Mapping[str, Any], claim: str) -> Identifier:
    return OpaqueId(id=_text(members, "id", claim))


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], str], Identifier]]] = MappingProxyType(
    {"iss_sub": _iss_sub, "jwt_id": _jwt_id, "opaque": _opaque}
)


def _text(members: Mapping[str, Any], name: str, claim: str) -> str:
    value = members.get(name)
    if fault := text_fault(value, MAX_TEXT_CHARS):
        raise invalid(claim, f"has a member {name} that {fault}")
    return str(value)
