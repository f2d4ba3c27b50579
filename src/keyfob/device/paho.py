# SPDX-License-Identifier: Apache-2.0
"""Keep a paho-mqtt client in tokens: two lines beside what one has.

    source = TokenSource("https://as.example", client_id="dev1", client_secret=secret)
    attach(client, source)

How: ``paho_session``. What is promised, and what is not: docs/device-mqtt.md.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Final

import paho.mqtt.client as mqtt

from keyfob.device import paho_internals as inside
from keyfob.device.carrying import Field
from keyfob.device.methods import Method, bearer
from keyfob.device.paho_public import PublicSession
from keyfob.device.paho_session import MARK, Session
from keyfob.device.presenting import Presenting
from keyfob.device.tokens import Tokens
from keyfob.errors import ConfigError

__all__ = ["Session", "attach"]

_log = logging.getLogger("keyfob.device")
_RANDOM: Final = random.SystemRandom()

RENEW: Final = ("auto", "reauthenticate", "reconnect", "expire")


def attach(
    client: mqtt.Client,
    source: Tokens,
    *,
    carry: str = "",
    renew: str = "auto",
    method: Method = bearer,
    chance: Callable[[], float] = _RANDOM.random,
) -> Session | PublicSession:
    """Let every CONNECT of a client show a good token, and every connection outlive its token.

    Args:
        client: As the user built it; best before it connects. Its callbacks stay the user's.
        source: Where the tokens come from: a ``TokenSource``, or what has its methods.
        carry: ``password``, ``username``, ``auth:METHOD`` or, over WebSocket, ``header``. Empty:
            the password; the username where the client has a token in it now and no password.
        renew: ``auto``, by re-authentication where the broker negotiated it, else by a planned
            reconnect; ``reauthenticate`` or ``reconnect``, one of them alone; ``expire``, nothing:
            the broker ends the connection with the token.
        method: The client's side of an authentication method that asks for more than the token.
        chance: Draws a number from 0 to 1.

    Raises:
        ConfigError: These do not fit together, or not this client.
    """
    if renew not in RENEW:
        raise ConfigError(f"renew={renew!r}: write one of {', '.join(RENEW)}")
    if hasattr(client, MARK):
        raise ConfigError("this client has a session already; close that first")
    presenting = Presenting(
        source, carry=carry or _usual(client, source), method=method, chance=chance
    )
    field = presenting.carry.field
    inner = vars(client)  # paho 2.0's own properties of these call themselves for ever
    if field is Field.AUTH and inner.get("_protocol") != mqtt.MQTTv5:
        raise ConfigError("carry=auth:… needs a client with protocol=MQTTv5")
    if renew == "reauthenticate" and field is not Field.AUTH:
        raise ConfigError("renew=reauthenticate needs carry=auth:… (MQTT 5.0 section 4.12.1)")
    if field is Field.HEADER and inner.get("_transport") != "websockets":
        raise ConfigError("carry=header needs a client with transport=websockets")
    lacking = inside.missing(client)
    if not lacking:
        return Session(client, presenting, renew)
    if field in {Field.AUTH, Field.HEADER} or renew in {"reauthenticate", "reconnect"}:
        said = f"this paho has no {', '.join(lacking)}: use carry=password or username"
        raise ConfigError(f"{said}, renew=auto, or paho-mqtt 2.0 to 2.2")
    _log.warning("this paho has no %s: connections end with their tokens", ", ".join(lacking))
    return PublicSession(client, presenting)


def _usual(client: mqtt.Client, source: Tokens) -> str:
    """Where this client has its token now."""
    username = client.username
    if not username or client.password:
        return "password"
    held = source.token
    is_token = username.count(".") == 2 and username.startswith("eyJ")
    return "username" if is_token or (held and held.access_token == username) else "password"
