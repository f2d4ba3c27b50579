# SPDX-License-Identifier: Apache-2.0
"""What of a CONNECT is the token: what its method came to, the username, or the password."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from keyfob.authorization.decision import ConnectRequest, DenyReason
from keyfob.tokens import base64url
from keyfob.tokens.opaque import looks_opaque

__all__ = ["TokenField", "choose_token", "has_token_shape"]

TokenField = Literal["password", "username"]

# Three segments of base64url (RFC 7515 section 7.1), the first of which begins a JSON object: its
# first octet is "{". So a username such as `sensor.plant.eu` beside a token is only a username.
_TOKEN_SHAPE: Final = re.compile(rb"e[w-z0-9_-][A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")

# RFC 9431 section 6.1, for MQTT 3.1.1: the username is this, and the base64url of a token.
_ACE: Final = b"ace"


def has_token_shape(credential: bytes) -> bool:
    """Tell whether a credential looks like a JWT, as the plugin for Mosquitto does, too.

    Args:
        credential: A username or a password, as presented.
    """
    return _TOKEN_SHAPE.fullmatch(credential) is not None


def choose_token(request: ConnectRequest, fields: Sequence[TokenField]) -> bytes | DenyReason:
    """Find the token of a CONNECT.

    A field that looks like a token is the token; a username beside it is ignored. Where no field
    looks like one, what is there is handed on, so that it is refused for what is wrong with it.
    With an authentication method the token is what its exchange came to, and nothing else.

    Args:
        request: The CONNECT.
        fields: The fields that may carry a token.

    Returns:
        What to verify, or why there is nothing to.
    """
    username, password = request.username or b"", request.password or b""
    if request.authentication_method is not None:
        return request.authentication_data or DenyReason.TOKEN_MISSING
    if _is_ace(username):
        # In the password is a proof over a TLS exporter. Nothing of it may pass for a token.
        return DenyReason.EXPORTER_PROOF_UNSUPPORTED
    if has_token_shape(username):
        if has_token_shape(password):
            return DenyReason.CREDENTIALS_AMBIGUOUS
        if "username" in fields:
            return username
    if password and "password" in fields:
        return password
    if username and "username" in fields:
        return username
    return DenyReason.CREDENTIALS_MISSING


def _is_ace(username: bytes) -> bool:
    """Tell whether a username has ACE's form: also one whose JWT was not encoded a second time."""
    if not username.startswith(_ACE):
        return False
    rest = username.removeprefix(_ACE)
    if has_token_shape(rest):
        return True
    try:
        token = base64url.decode(rest)
    except ValueError:
        return False
    return has_token_shape(token) or looks_opaque(token)
