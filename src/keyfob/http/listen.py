# SPDX-License-Identifier: Apache-2.0
"""Listen: where HTTP is served, and the sockets that do so."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyfob.errors import ConfigError
from keyfob.http.protocol import HEAD_SECONDS

__all__ = ["BACKLOG", "Listen", "bind", "close"]

BACKLOG: Final = 2_048  # a fleet that comes back after an outage comes at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where to listen, and the certificate to show.

    Args:
        host: A name or address; every address that it stands for is listened on.
        port: A port; 0 takes a free one.
        certificate: PEM, the whole chain; None serves without TLS, for the loopback address and
            behind a proxy on the same machine.
        private_key: PEM.
        client_ca: PEM, the authorities by which certificates of clients are verified; a client may
            show one. None asks for none.
        head_seconds: How long the head of a request may take.
        strict_transport: Browsers are told to come over TLS only (RFC 6797); not for the loopback
            address, where other programs of the same machine are served without.
    """

    host: str = "127.0.0.1"
    port: int = 8443
    certificate: Path | None = None
    private_key: Path | None = None
    client_ca: Path | None = None
    head_seconds: float = HEAD_SECONDS
    strict_transport: bool = False


def bind(listen: Listen) -> list[socket.socket]:
    """Listen on every address; connections wait until somebody accepts them.

    Raises:
        ConfigError: There is no such address here, or the port is taken.
    """
    host, port = listen.host, listen.port
    bound: list[socket.socket] = []
    failure = OSError(errno.EADDRNOTAVAIL, "no address")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            # Of several addresses the first chooses the port where it is free to choose.
            chosen = bound[0].getsockname()[1] if bound else port
            try:
                bound.append(_listener(family, str(address[0]), chosen))
            except OSError as error:
                # A machine without IPv6 still resolves localhost to ::1 as well.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                failure = error
        if not bound:
            raise failure
    except OSError as error:
        close(bound)
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return bound


def close(sockets: list[socket.socket]) -> None:
    """Listen no longer."""
    for each in sockets:
        each.close()


def _listener(family: int, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
