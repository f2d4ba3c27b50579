# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``device.token_answers``: what an authorization server answers to a token request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fuzz import octets, trees
from fuzz.chance import Chance
from fuzz.target import Target, demand
from keyfob.device.clock import Moment
from keyfob.device.flow import Answer
from keyfob.device.kept import decode_token, encode_token
from keyfob.device.token import is_token_text
from keyfob.device.token_answers import LONGEST_LIFETIME, SHORTEST_LIFETIME, read_token
from keyfob.errors import TokenRequestError, TokenUnavailableError

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "An answer is a token that can be shown and kept, a refusal in the standards' words, or no "
    "answer (TokenUnavailableError); no error quotes it."
)
_GOOD: Final[Mapping[str, Any]] = {
    "access_token": "eyJhbGciOiJFUzI1NiJ9.eyJpYXQiOjEsImV4cCI6MzYwMX0.c2ln",
    "token_type": "Bearer",
    "expires_in": 3600,
    "scope": "mqtt.connect",
    "refresh_token": "kfr_abc",
}
_ANSWERS: Final[tuple[Mapping[str, Any], ...]] = (
    _GOOD,
    {name: value for name, value in _GOOD.items() if name != "expires_in"},
    {**_GOOD, "token_type": "DPoP", "expires_in": "3600", "refresh_token": None},
    {"error": "invalid_grant", "error_description": "SECRET"},
    {"error": "slow_down"},
)
_WORDS: Final = trees.words(
    "access_token token_type expires_in scope refresh_token error error_description Bearer DPoP"
    " invalid_client use_dpop_nonce temporarily_unavailable SECRET 0 -1 a.e30.b"
)
_BYTES_WORDS: Final = (b'"expires_in":0,', b'"access_token":""', b"1e999", b"NaN", b"null", b"{")
_STATUSES: Final = (200, 200, 200, 400, 401, 429, 503, 302)
_OBTAINED: Final = Moment(boot="boot", elapsed=1.0, wall=1_800_000_000.0)
_URL: Final = "https://as.example/token"


def make(chance: Chance) -> bytes:
    """Draw a status, in the first byte, and a body."""
    tree = trees.planted(dict(chance.one(_ANSWERS)))
    if chance.often(0.8):
        tree = trees.changed(chance, tree, _WORDS)
    body = trees.spelled(chance, tree).encode("utf-8")
    if chance.often(0.2):
        body = octets.changed(chance, body, _BYTES_WORDS)
    return bytes([chance.one(range(len(_STATUSES)))]) + body


def check(data: bytes) -> str:
    """Read one answer."""
    status = _STATUSES[data[0] % len(_STATUSES)] if data else 200
    answer = Answer(status=status, headers={}, body=data[1:])
    try:
        token = read_token(_URL, answer, obtained=_OBTAINED, scope="asked")
    except (TokenRequestError, TokenUnavailableError) as error:
        demand("SECRET" not in str(error), "an echo")
        demand(str(error).isprintable(), "a message that breaks a log")
        return error.code
    demand(status == 200, "a token by another status")
    demand(is_token_text(token.access_token), "no token")
    demand(SHORTEST_LIFETIME <= token.lifetime <= LONGEST_LIFETIME, "no lifetime")
    demand(decode_token(encode_token(token)) == token, "it cannot be kept")
    return "token"


TARGET = Target.of("token-answers", _INVARIANT, make, check)
