# SPDX-License-Identifier: Apache-2.0
"""Servers that show a certificate, and nothing else."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.server.certificates import Authority

DAY = datetime.timedelta(days=1)
Behaviour = Callable[[socket.socket], object]


@contextlib.contextmanager
def listening(behave: Behaviour) -> Iterator[int]:
    """Run a server that does to each connection what it is told to; the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                behave(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@contextlib.contextmanager
def showing(authority: Authority, folder: Path, **changes: Any) -> Iterator[int]:
    """Run a server with a certificate of an authority; the port."""
    authority.certify(folder / "server.pem", folder / "server.key", **changes)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")

    def behave(connection: socket.socket) -> None:
        connection.settimeout(10)
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    with listening(behave) as port:
        yield port
