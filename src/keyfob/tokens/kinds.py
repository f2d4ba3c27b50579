# SPDX-License-Identifier: Apache-2.0
"""What a JWT is by its claims, where its ``typ`` does not say: other kinds are no access tokens.

RFC 8725 section 3.12 keeps kinds of JWT apart by ``typ``. An issuer that writes ``JWT`` into all
of them leaves only what the claims themselves give away: members that one kind of JWT has and an
access token never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["other_kind"]

_MEMBERS: Final = {
    "events": "a security event or logout token",  # RFC 8417 section 2.2, OIDC Back-Channel 2.4
    "token_introspection": "an introspection response",  # RFC 9701 section 5
    "status_list": "a status list",  # Token Status List section 5.1
    "htm": "a DPoP proof",  # RFC 9449 section 4.2
    "at_hash": "an ID token",  # OpenID Connect Core 1.0 section 3.1.3.6
    "c_hash": "an ID token",  # section 3.3.2.11
}
# What issuers themselves write into tokens of all kinds: Keycloak ``typ``, Cognito ``token_use``.
_VALUES: Final = {
    "typ": {
        "ID": "an ID token",
        "Refresh": "a refresh token",
        "Offline": "a refresh token",
        "Logout": "a logout token",
    },
    "token_use": {"id": "an ID token"},
}
_TELLING: Final = frozenset((*_MEMBERS, *_VALUES))


def other_kind(members: Mapping[str, Any]) -> str | None:
    """Say what else than an access token a claims set gives itself away as.

    Args:
        members: The claims set, as parsed.

    Returns:
        The kind, for people, or None: it may be an access token.
    """
    if _TELLING.isdisjoint(members):
        return None
    for name, kind in _MEMBERS.items():
        if name in members:
            return kind
    for name, kinds in _VALUES.items():
        value = members.get(name)
        if isinstance(value, str) and value in kinds:
            return kinds[value]
    return None
