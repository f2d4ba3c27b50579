# SPDX-License-Identifier: Apache-2.0
"""How a CONNECT carries a token: in which field of MQTT, or in which header of WebSocket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from keyfob.device.methods import Exchange, Method, bearer, begun
from keyfob.device.token import Token
from keyfob.errors import ConfigError, ProtocolError, TokenUnavailableError

__all__ = ["LONGEST_FIELD", "Carry", "Credentials", "Field", "carried"]

LONGEST_FIELD: Final = 65_535
"""Bytes that a field of MQTT can hold: its length has two bytes (5.0 section 1.5.4)."""

DEFAULT_USERNAME: Final = "device"
"""Stands beside the password of a client without a name: 3.1.1 has no password alone."""


class Field(Enum):
    """Where a token travels."""

    PASSWORD = "password"  # noqa: S105 - the name of a field
    USERNAME = "username"
    AUTH = "auth"
    HEADER = "header"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carry:
    """Where a token travels, and under which authentication method.

    Attributes:
        field: Where.
        method: The method's name (MQTT 5.0 section 4.12), for ``Field.AUTH``.
    """

    field: Field
    method: str = ""

    @classmethod
    def parse(cls, text: str) -> Carry:
        """Read ``password``, ``username``, ``header`` or ``auth:METHOD``.

        Raises:
            ConfigError: It is none of these.
        """
        name, colon, method = text.partition(":")
        if name == "auth" and method:
            return cls(field=Field.AUTH, method=method)
        if colon or name not in {"password", "username", "header"}:
            said = f"carry={text!r}: write password, username, header or auth:METHOD"
            raise ConfigError(f"{said}, such as auth:OAUTH2-JWT")
        return cls(field=Field(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What the next CONNECT shows; its repr shows no secret.

    Attributes:
        token: The token in it.
        username: For the username; None: no such field.
        password: For the password; None: no such field.
        headers: More headers for the WebSocket handshake.
        method: The Authentication Method property; empty: none.
        data: The Authentication Data property, where there is a method.
        exchange: Answers the broker's AUTH packets, where there is a method.
    """

    token: Token
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    method: str = ""
    data: bytes = field(default=b"", repr=False)
    exchange: Exchange | None = field(default=None, repr=False)


def carried(
    token: Token,
    carry: Carry,
    *,
    client_id: str = "",
    username: str | None = None,
    password: str | None = None,
    method: Method = bearer,
) -> Credentials:
    """Say what a CONNECT with this token shows.

    Args:
        token: What is shown.
        carry: Where.
        client_id: The MQTT client identifier.
        username: What the client's own settings say; it stays, unless the token goes there.
        password: The same.
        method: Begins an exchange of the authentication method.

    Raises:
        TokenUnavailableError: The token does not fit there (``token_too_long``), or its
            method cannot begin.
    """
    text = token.access_token
    size = len(text.encode())
    if size > LONGEST_FIELD and carry.field is not Field.HEADER:
        said = f"the token has {size} bytes: a field of MQTT takes {LONGEST_FIELD}"
        raise TokenUnavailableError(f"{said}, and brokers often less", code="token_too_long")
    match carry.field:
        case Field.PASSWORD:
            beside = username if username is not None else client_id or DEFAULT_USERNAME
            return Credentials(token=token, username=beside, password=text)
        case Field.USERNAME:
            return Credentials(token=token, username=text, password=password)
        case Field.HEADER:
            headers = {"Authorization": f"Bearer {text}"}
            return Credentials(token=token, username=username, password=password, headers=headers)
        case Field.AUTH:
            exchange, data = _begun(token, carry.method, method)
            return Credentials(
                token=token,
                username=username,
                password=password,
                method=carry.method,
                data=data,
                exchange=exchange,
            )


def _begun(token: Token, name: str, method: Method) -> tuple[Exchange, bytes]:
    """Begin a method's exchange: it and its first authentication data."""
    try:
        return begun(method, token)
    except ProtocolError as error:  # no OSError: it would end paho's network thread
        code = error.code if error.code == "token_too_long" else ""
        raise TokenUnavailableError(f"{name}: {error.message}", code=code) from None
