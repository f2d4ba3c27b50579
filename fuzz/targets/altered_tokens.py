# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``verify`` with good tokens that somebody has altered."""

from __future__ import annotations

from typing import Final

from fuzz.signed_tokens import ISSUERS, KEYS, NOW, TOKENS
from fuzz.target import Target, demand
from fuzz.token_texts import changed, decoded, encoded, negated
from keyfob.errors import TokenError
from keyfob.tokens.verify import VerifiedToken, verify

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "verify accepts no token that differs in a byte from the one that was signed (but for the "
    "second form that every ES256 signature has), raises nothing but TokenError, and no error "
    "repeats the token."
)


def _twin(token: bytes) -> bytes:
    signing_input, _, signature = token.rpartition(b".")
    return signing_input + b"." + encoded(negated(decoded(signature)))


_SIGNED: Final = frozenset(TOKENS)
_TWINS: Final = frozenset(
    _twin(token) for token in TOKENS if len(decoded(token.split(b".")[2])) == 64
)


def check(data: bytes) -> str:
    """Verify one token."""
    try:
        outcome = verify(data, ISSUERS, KEYS, NOW)
    except TokenError as error:
        text = str(error).encode("utf-8", "replace")
        repeated = [part for part in data.split(b".") if len(part) > 24 and part in text]
        demand(not repeated, "the error repeats a part of the token")
        return error.code
    if not isinstance(outcome, VerifiedToken):
        return type(outcome).__name__
    if data in _TWINS:
        return "twin verified"
    demand(data in _SIGNED, "a token verifies that nobody signed")
    return "verified"


TARGET = Target.of("altered-tokens", _INVARIANT, changed, check)
