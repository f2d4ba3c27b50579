# SPDX-License-Identifier: Apache-2.0
"""Where an installation listens: ports that are free, and those that somebody else has."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from dataclasses import dataclass
from typing import Final

from keyfob.config import Settings
from keyfob.errors import ConfigError

__all__ = ["Ports", "refuse_taken"]

_LOOPBACK: Final = "127.0.0.1"
_SERVER, _MQTTS, _MQTT = 8443, 8883, 1883
_FIRST_FREE, _FIRST_OUTGOING = 10_000, 32_768  # the latter: Linux's ip_local_port_range
_TRIES: Final = 100
_RANDOM: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What was asked for: 0 is any free port, None the usual one.

    The usual port without TLS is 1883, or any free one where that is taken: Debian's own
    Mosquitto listens there from the moment it is installed.
    """

    server: int | None = None
    mqtt: int | None = None
    plain: int | None = None

    def chosen(self) -> tuple[int, int, int]:
        """Return three ports: the server's, and Mosquitto's with and without TLS."""
        plain = self.plain
        if plain is None:
            plain = _MQTT if self.mqtt != 0 and _is_free(_LOOPBACK, _MQTT) else 0
        wanted = (
            _SERVER if self.server is None else self.server,
            _MQTTS if self.mqtt is None else self.mqtt,
            plain,
        )
        with contextlib.ExitStack() as held:  # all at once, so that no two are the same
            server, mqtt, plain = (port or _hold_free(held) for port in wanted)
        return server, mqtt, plain


def refuse_taken(settings: Settings) -> None:
    """Refuse to start where another program has one of the ports, before anything starts.

    Raises:
        ConfigError: The message says which, and where to change it.
    """
    server, mosquitto = settings.server, settings.mosquitto
    for key, host, port in (
        ("server.port", server.host, server.port),
        ("mosquitto.port", mosquitto.host, mosquitto.port),
        ("mosquitto.plain_port", _LOOPBACK, mosquitto.plain_port),
        ("mosquitto.websockets_port", mosquitto.host, mosquitto.websockets_port),
    ):
        if port:
            _refuse(settings, key, host, port)


def _refuse(settings: Settings, key: str, host: str, port: int) -> None:
    try:
        _bind(host, port).close()
    except OSError as error:
        change = f"change {key} in {settings.path}"
        if error.errno == errno.EADDRINUSE:
            service = ""
            if key.startswith("mosquitto."):
                service = " (perhaps Debian's own Mosquitto: `systemctl disable --now mosquitto`)"
            raise ConfigError(
                f"port {port} is taken by another program{service}: stop that, or {change}"
            ) from None
        if error.errno == errno.EACCES:
            raise ConfigError(f"port {port} is for root only: {change}") from None
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}") from None


def _is_free(host: str, port: int) -> bool:
    try:
        _bind(host, port).close()
    except OSError:
        return False
    return True


def _hold_free(held: contextlib.ExitStack) -> int:
    """Hold a free port, below those that the system gives to outgoing connections.

    One of those may have it when the server comes to listen.
    """
    for _ in range(_TRIES):
        with contextlib.suppress(OSError):
            return _held(held, _RANDOM.randrange(_FIRST_FREE, _FIRST_OUTGOING))
    return _held(held, 0)


def _held(held: contextlib.ExitStack, port: int) -> int:
    return int(held.enter_context(_bind(_LOOPBACK, port)).getsockname()[1])


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    probe = socket.socket(family, kind, protocol)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
    except OSError:
        probe.close()
        raise
    return probe
