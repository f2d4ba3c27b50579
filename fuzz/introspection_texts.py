# SPDX-License-Identifier: Apache-2.0
"""What an authorization server answers when it is asked about a token (RFC 7662 section 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fuzz import octets, rights_claims, trees
from fuzz.chance import Chance

__all__ = ["ANSWERS", "WORDS", "drawn", "drawn_tree"]

_ACTIVE: Final[Mapping[str, Any]] = {
    **rights_claims.BASE,
    "active": True,
    "token_type": "Bearer",
    "username": "dev1",
    "scope": "mqtt.connect mqtt.publish:up/dev1/%23",
    "nbf": 1_790_000_000,
}
ANSWERS: Final[tuple[Mapping[str, Any], ...]] = (
    _ACTIVE,
    _ACTIVE,
    {"active": False},
    {**_ACTIVE, "active": False},
    {**_ACTIVE, "cnf": {"x5t#S256": "A" * 43}, "token_type": "DPoP"},
    {"active": True, "client_id": "dev1", "sub": "dev1", "exp": 1_790_003_600},
    # RFC 9701 section 5: the same within a signed answer.
    {"iss": "https://as.example", "aud": "broker", "iat": 1, "token_introspection": _ACTIVE},
    {"error": "invalid_client", "error_description": "no"},
)
WORDS: Final = trees.words(
    "active true false iss sub aud exp iat nbf jti client_id username scope token_type cnf x5t#S256"
    " Bearer DPoP N_A https://as.example mqtt dev1 token_introspection error"
)
_BYTES_WORDS: Final = (b'"active":true,', b'"active"', b"true", b"1", b"{", b"[")


def drawn_tree(chance: Chance) -> trees.Tree:
    """Draw an answer as a value."""
    tree = trees.planted(dict(chance.one(ANSWERS)))
    return trees.changed(chance, tree, WORDS) if chance.often(0.9) else tree


def drawn(chance: Chance) -> bytes:
    """Draw an answer as a body, now and then spoilt as bytes."""
    body = trees.spelled(chance, drawn_tree(chance)).encode("utf-8")
    return octets.changed(chance, body, _BYTES_WORDS) if chance.often(0.2) else body
