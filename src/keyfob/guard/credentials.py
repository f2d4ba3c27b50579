# SPDX-License-Identifier: Apache-2.0
"""What of a CONNECT is the token: what its method came to, the username, or the password."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from keyfob.authorization.decision import ConnectRequest, DenyReason

__all__ = ["TokenField", "choose_token"]

TokenField = Literal["password", "username"]

# Three segments of base64url (RFC 7515 section 7.1), the first of which begins a JSON object: its
# first octet is "{". So a username such as `sensor.plant.eu` beside a token is only a username.
_TOKEN_SHAPE: Final = re.compile(rb"e[w-z0-9_-][A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")


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
    if _TOKEN_SHAPE.fullmatch(username):
        if _TOKEN_SHAPE.fullmatch(password):
            return DenyReason.CREDENTIALS_AMBIGUOUS
        if "username" in fields:
            return username
    if password and "password" in fields:
        return password
    if username and "username" in fields:
        return username
    return DenyReason.CREDENTIALS_MISSING
