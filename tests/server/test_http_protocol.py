# SPDX-License-Identifier: Apache-2.0
"""A connection that sends too long a head, or too slowly, or nothing, is closed; others go on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from keyfob.server.http_protocol import MAX_HEAD_BYTES
from keyfob.server.serve import HttpServer, Listen, make_server
from keyfob.server.settings import ServerSettings

PATIENCE = 30.0


@pytest.fixture
def server(database: Path) -> Iterator[HttpServer]:
    ready = threading.Event()
    settings = ServerSettings(issuer="http://127.0.0.1", audience="mqtt", database=database)
    made = make_server(settings, Listen(port=0, head_seconds=0.5), on_ready=ready.set)
    thread = threading.Thread(target=made.run)
    thread.start()
    assert ready.wait(PATIENCE)
    yield made
    made.should_exit = True
    thread.join(PATIENCE)
    assert not thread.is_alive()


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)


def closed(connection: socket.socket) -> bool:
    """Whether the server ends the connection; a timeout of the test means that it does not."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("first", [b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_end_is_given_up(server: HttpServer, first: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(first)
        assert closed(connection)


def test_a_head_that_trickles_after_a_first_request_is_given_up(server: HttpServer) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert closed(connection)


@pytest.mark.parametrize(
    ("line", "unit"),
    [
        (b"GET /", b"x"),
        (b"GET / HTTP/1.1\r\nX: ", b"x"),
        (b"GET / HTTP/1.1\r\n", b"A: b\r\n"),
    ],
    ids=["target", "one header", "many headers"],
)
def test_a_head_beyond_its_bound_is_given_up_before_it_is_all_there(
    server: HttpServer, line: bytes, unit: bytes
) -> None:
    sent = 0
    with connect(server) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(line)
        while sent < 64 << 20:
            sent += connection.send(unit * (MAX_HEAD_BYTES // len(unit)))
    assert sent < 64 << 20
    response = httpx.get(f"http://127.0.0.1:{server.port}/healthz", trust_env=False)
    assert response.status_code == 200


def test_a_head_within_the_bound_and_a_long_body_are_answered(server: HttpServer) -> None:
    response = httpx.post(
        f"http://127.0.0.1:{server.port}/oauth2/token",
        headers={"X-Long": "x" * (MAX_HEAD_BYTES // 2)},
        data={"grant_type": "client_credentials", "padding": "x" * 30_000},
        trust_env=False,
    )
    assert response.status_code in (400, 401)
    assert response.json()["error"] in ("invalid_request", "invalid_client")
