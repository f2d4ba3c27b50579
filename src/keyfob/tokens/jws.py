# SPDX-License-Identifier: Apache-2.0
"""Compact JWS, taken apart strictly (RFC 7515 section 7.1); nothing here is verified yet.

Three segments of canonical base64url, nothing else: no whitespace, no padding, no JSON
serialisation, no encryption. Of the header only ``alg``, ``kid`` and ``typ`` are ever used;
``jku``, ``jwk``, ``x5u`` and ``x5c`` are never followed (RFC 8725 section 3.10), ``crit`` and
``b64`` refused (RFC 7515 section 4.1.11, RFC 7797 section 7), the rest ignored.

An issuer's tokens share a handful of headers, so parsed headers are kept by their exact
encoded segment. A header is public and holds no part of a signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from keyfob.errors import MalformedTokenError, UntrustedTokenError
from keyfob.tokens import base64url, json_strict

__all__ = [
    "MAX_HEADER_CHARS",
    "MAX_KID_CHARS",
    "MAX_TOKEN_BYTES",
    "CompactJws",
    "Header",
    "json_object",
    "media_type",
    "octets",
    "parse_compact",
    "segments",
]

# An MQTT field holds 65,535 bytes, but a token that no HTTP server would accept in a header
# (8 to 16 KiB) is of no use to its bearer and only costs us.
MAX_TOKEN_BYTES: Final = 16_384
# Room for an x5c chain, which some issuers send and we ignore.
MAX_HEADER_CHARS: Final = 8_192
# A SHA-256 thumbprint has 43 characters, a cloud key's resource name about 150.
MAX_KID_CHARS: Final = 256

_TOKEN_ALPHABET: Final = base64url.ALPHABET + b"."


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A JOSE header (RFC 7515 section 4).

    ``typ`` is normalised as a media type: ``Application/AT+JWT`` is ``at+jwt``; empty if absent.
    """

    alg: str
    kid: str | None
    typ: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactJws:
    """The parts of a compact JWS; the payload is bytes until somebody has checked the signature."""

    header: Header
    payload: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def parse_compact(token: str | bytes) -> CompactJws:
    """Take a compact JWS apart.

    Raises:
        MalformedTokenError: Not a compact JWS; ``code`` says in which way.
        UntrustedTokenError: ``critical_header_refused``.
    """
    header, payload, signature, signing_input = segments(token)
    return CompactJws(
        header=_header(header),
        payload=octets(payload, "payload"),
        signing_input=signing_input,
        signature=octets(signature, "signature"),
    )


def segments(token: str | bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Split into header, payload and signature as written, and the signing input.

    Raises:
        MalformedTokenError: Missing, too long, encrypted, or not three segments of base64url.
    """
    if not token:
        raise MalformedTokenError("there is no token", code="token_missing")
    if len(token) > MAX_TOKEN_BYTES:
        raise MalformedTokenError(
            f"the token is longer than {MAX_TOKEN_BYTES} bytes", code="token_too_long"
        )
    if isinstance(token, str):
        if not token.isascii():
            raise MalformedTokenError("the token holds characters that no token has")
        token = token.encode("ascii")
    if token.translate(None, _TOKEN_ALPHABET):
        raise MalformedTokenError("the token holds characters that no token has")
    parts = token.split(b".")
    if len(parts) == 5:
        raise MalformedTokenError(
            "the token is encrypted (JWE); only signed tokens are accepted", code="token_encrypted"
        )
    if len(parts) != 3:
        raise MalformedTokenError(
            f"a token has three parts separated by dots; this has {len(parts)}"
        )
    header, payload, signature = parts
    return header, payload, signature, token[: len(header) + 1 + len(payload)]


def octets(segment: bytes, part: str) -> bytes:
    """Decode a segment.

    Args:
        segment: base64url as written.
        part: What to call it in the error.

    Raises:
        MalformedTokenError: Not canonical base64url.
    """
    try:
        return base64url.decode(segment)
    except ValueError as error:
        raise MalformedTokenError(f"the token's {part}: {error}") from None


def json_object(data: bytes, part: str) -> dict[str, Any]:
    """Parse bytes that must be a JSON object (RFC 7519 section 7.2).

    Args:
        data: A decoded segment.
        part: What to call it in the error.

    Raises:
        MalformedTokenError: They are not; ``duplicate_member`` if a member stands twice in it.
    """
    try:
        members = json_strict.loads(data)
    except json_strict.DuplicateMemberError as error:
        raise MalformedTokenError(f"the token's {part}: {error}", code="duplicate_member") from None
    except json_strict.JsonError as error:
        raise MalformedTokenError(f"the token's {part}: {error}") from None
    if not isinstance(members, dict):
        raise MalformedTokenError(f"the token's {part} is not a JSON object")
    return members


def media_type(typ: str) -> str:
    """Normalise a ``typ`` (RFC 7515 section 4.1.9): no case, no ``application/``."""
    lowered = typ.lower() if typ.isascii() else typ
    return lowered.removeprefix("application/") if lowered.count("/") == 1 else lowered


@lru_cache(maxsize=256)
def _header(segment: bytes) -> Header:
    if len(segment) > MAX_HEADER_CHARS:
        raise MalformedTokenError("the token's header is too long", code="token_too_long")
    members = json_object(octets(segment, "header"), "header")
    for name in ("crit", "b64"):
        if name in members:
            raise UntrustedTokenError(
                f"the token's header asks for an extension ({name}); none is supported",
                code="critical_header_refused",
            )
    if "enc" in members or media_type(_text(members, "cty") or "") == "jwt":
        raise MalformedTokenError("the token's header says that it is encrypted or nested")
    alg, kid = _text(members, "alg"), _text(members, "kid")
    if not alg:
        raise MalformedTokenError("the token's header names no algorithm (alg)")
    if kid is not None and not 0 < len(kid) <= MAX_KID_CHARS:
        raise MalformedTokenError("the token's header has an empty or overlong key id (kid)")
    return Header(alg=alg, kid=kid, typ=media_type(_text(members, "typ") or ""))


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedTokenError(f"the token's header: {name} is not a string")
    return value
