# SPDX-License-Identifier: Apache-2.0
"""Compact JWS changed part by part: header, claims, signature, spelling, number of segments."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Final

from fuzz import octets, trees
from fuzz.chance import Chance
from fuzz.signed_tokens import TOKENS

__all__ = ["CLAIM_WORDS", "HEADER_WORDS", "changed", "decoded", "encoded", "negated"]

HEADER_WORDS: Final = trees.words(
    "alg kid typ cty crit b64 enc zip jku jwk x5u x5c x5t none HS256 ES256 RS256 PS256 EdDSA"
    " Ed25519 ES384 JWT at+jwt AT+JWT application/at+jwt jwt JWE"
)
CLAIM_WORDS: Final = trees.words(
    "iss sub aud exp iat nbf jti client_id scope cnf azp realm_access roles act"
    " mqtt mqtt.connect dev1 https://as.example https://other.example"
)
_P256_ORDER: Final = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551
_BYTES_WORDS: Final = (
    b".",
    b"..",
    b"=",
    b"\n",
    b" ",
    b"Bearer ",
    b"e30",
    b"eyJ",
    b"[",
    b'"',
    b'\\"',
)
_LONGEST_CLAIMS: Final = 12_000  # bytes; base64url makes a token of just under 16,384 of them

_Parts = list[bytes]


def encoded(data: bytes) -> bytes:
    """Return base64url without padding, by the standard library."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def decoded(segment: bytes) -> bytes:
    """Return what a canonical segment holds, by the standard library."""
    return base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))


def negated(signature: bytes) -> bytes:
    """Return the other ES256 signature (r, n - s) over the same bytes, which anybody can compute.

    It verifies too: ECDSA itself does not tell them apart (FIPS 186-5 section 6.4.2).
    """
    r, s = signature[:32], int.from_bytes(signature[32:], "big")
    return r + (_P256_ORDER - s).to_bytes(32, "big")


def changed(chance: Chance) -> bytes:
    """Return a good token after one to three changes."""
    token = chance.one(TOKENS)
    for _ in range(chance.few(3)):
        if chance.often(0.3):
            token = octets.changed(chance, token, _BYTES_WORDS)
            continue
        parts = token.split(b".")
        chance.one(_EDITS)(chance, parts)
        token = b".".join(parts)
    return bytes(token[: octets.LONGEST])


def _object(chance: Chance, segment: bytes, words: tuple[str, ...]) -> bytes:
    try:
        tree = trees.planted(json.loads(decoded(segment)))
    except (ValueError, RecursionError):
        return segment
    text = trees.spelled(chance, trees.changed(chance, tree, words))
    data = text.encode("utf-8")
    return encoded(octets.changed(chance, data) if chance.often(0.1) else data)


def _header(chance: Chance, parts: _Parts) -> None:
    parts[0] = _object(chance, parts[0], HEADER_WORDS)


def _claims(chance: Chance, parts: _Parts) -> None:
    if len(parts) > 1 and chance.often(0.02):
        parts[1] = encoded(octets.heavy(chance, _LONGEST_CLAIMS))
    elif len(parts) > 1:
        parts[1] = _object(chance, parts[1], CLAIM_WORDS)


def _signature(chance: Chance, parts: _Parts) -> None:
    try:
        signature = decoded(parts[-1])
    except ValueError:
        return
    half = len(signature) // 2
    choices = [
        octets.changed(chance, signature),
        signature[half:] + signature[:half],
        b"\0" + signature,
        signature + b"\0",
        signature[:-1],
        signature.lstrip(b"\0"),
        bytes(len(signature)),
        b"",
        signature * 2,
        signature[:half] + _P256_ORDER.to_bytes(32, "big"),
    ]
    if len(signature) == 64 and 0 < int.from_bytes(signature[32:], "big") < _P256_ORDER:
        choices += [negated(signature)] * 3
    parts[-1] = encoded(chance.one(choices))


def _spelling(chance: Chance, parts: _Parts) -> None:
    """Write a segment otherwise, with the same meaning to a lenient decoder."""
    at = chance.randrange(len(parts))
    segment = parts[at]
    last = segment[-1:] or b"A"
    parts[at] = chance.one(
        (
            segment + b"=" * (-len(segment) % 4),
            segment[:-1] + bytes((last[0] ^ 1,)),
            segment.replace(b"-", b"+").replace(b"_", b"/"),
            b" " + segment,
            segment + b"\n",
            segment[: len(segment) // 2] + b"\r\n" + segment[len(segment) // 2 :],
            segment + b"A",
            segment[:-1],
        )
    )


def _mixed(chance: Chance, parts: _Parts) -> None:
    other = chance.one(TOKENS).split(b".")
    at = chance.randrange(3)
    parts[at : at + 1] = other[at : at + 1]


def _number(chance: Chance, parts: _Parts) -> None:
    match chance.randrange(4):
        case 0 if len(parts) > 1:
            del parts[chance.randrange(len(parts))]
        case 1:
            parts.insert(chance.place(len(parts)), chance.one(parts))
        case 2:
            parts[chance.randrange(len(parts))] = b""
        case _:
            parts += chance.one(TOKENS).split(b".")[1:]


_EDITS: Final[tuple[Callable[[Chance, _Parts], None], ...]] = (
    _header,
    _header,
    _claims,
    _claims,
    _signature,
    _signature,
    _spelling,
    _mixed,
    _number,
)
