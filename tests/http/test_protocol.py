# SPDX-License-Identifier: Apache-2.0
"""A connection that sends too long a head, or too slowly, or nothing, is closed; others go on."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from keyfob.http.answer_headers import ALWAYS
from keyfob.http.listen import Listen
from keyfob.http.protocol import MAX_HEAD_BYTES, BoundedHttpProtocol, connection_limit
from keyfob.http.server import HttpServer
from tests.http.running import PATIENCE, running
from tests.server.certificates import Authority

EVERY = {name.decode(): value.decode() for name, value in ALWAYS}


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with running(Listen(port=0, head_seconds=0.5)) as made:
        yield made


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)


def closed(connection: socket.socket) -> bool:
    """Whether the server ends the connection; a timeout of the test means that it does not."""
    try:
        return connection.recv(1) == b""
    except (ConnectionError, ssl.SSLEOFError):
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


@pytest.mark.parametrize(
    ("request_bytes", "status", "told"),
    [
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n", 414, "target"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431, "head"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 6_000 + b"\r\n", 431, "head"),
        (b"hello\r\n\r\n", 400, "no HTTP"),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "no HTTP"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "no HTTP"),
    ],
    ids=["target", "one header", "many headers", "no HTTP", "CONNECT", "two lengths"],
)
def test_what_never_reaches_the_application_is_answered_like_everything_else(
    server: HttpServer, request_bytes: bytes, status: int, told: str
) -> None:
    with connect(server) as connection:
        connection.sendall(request_bytes)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        document = json.loads(answer.read())
        assert closed(connection)
    assert answer.status == status
    assert document["error"] == "invalid_request"
    assert told in document["error_description"]
    assert answer.getheader("Content-Type") == "application/json"
    assert answer.getheader("Cache-Control") == "no-store"
    assert {name.lower(): value for name, value in answer.getheaders()}.items() >= EVERY.items()


def test_nonsense_after_a_request_does_not_take_its_answer_away(server: HttpServer) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert (answer.status, answer.read()) == (200, b"ok")
        assert closed(connection)


def test_an_answers_own_value_of_such_a_header_stays(server: HttpServer) -> None:
    response = httpx.get(f"http://127.0.0.1:{server.port}/page", trust_env=False)
    assert response.headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "strict-transport-security" not in response.headers


def test_a_head_within_the_bound_and_a_long_body_are_answered(server: HttpServer) -> None:
    response = httpx.post(
        f"http://127.0.0.1:{server.port}/length",
        headers={"X-Long": "x" * (MAX_HEAD_BYTES // 2)},
        content=b"x" * 30_000,
        trust_env=False,
    )
    assert (response.status_code, response.text) == (200, "30000")


POST = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"


def test_a_trailer_that_does_not_end_is_given_up() -> None:
    """What follows the last chunk is neither head nor body, and must not be without a bound."""
    head = b"POST /length HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    patient = Listen(port=0, head_seconds=PATIENCE)  # so that only the size can end it
    with running(patient) as server, connect(server) as connection:
        connection.sendall(head + b"1\r\na\r\n0\r\nX: ")
        with pytest.raises(ConnectionError):
            connection.sendall(b"a" * 33_554_432)


def test_a_trailer_is_no_header(server: HttpServer) -> None:
    """Proxies that write a client's certificate into the head pass its trailers on as they are."""
    request = b"POST /names HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    trailer = b"X-Client-Cert: mine\r\nX-Forwarded-For: 192.0.2.1\r\n"
    with connect(server) as connection:  # twice: the second head is one again
        for last in (b"", b"Connection: close\r\n"):
            connection.sendall(request + last + b"\r\n1\r\na\r\n0\r\n" + trailer + b"\r\n")
            answer = connection.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 200")
            names = answer.rpartition(b"\r\n")[2].split()
            assert names == [b"host", b"transfer-encoding", *([b"connection"] if last else [])]


def test_a_body_that_trickles_after_its_answer_is_given_up(server: HttpServer) -> None:
    with connect(server) as connection:
        connection.sendall(POST)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404")
        with pytest.raises(ConnectionError):  # noqa: PT012 - which of the sends is the server's matter
            for _ in range(500):
                connection.sendall(b"x")
                threading.Event().wait(0.02)


def test_silence_after_a_body_that_was_answered_early_is_given_up(server: HttpServer) -> None:
    with connect(server) as connection:
        connection.sendall(POST)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404")
        connection.sendall(b"x" * 1_000)
        assert closed(connection)


def test_one_connection_too_many_is_closed_and_the_others_stay(server: HttpServer) -> None:
    protocol = server.config.http_protocol_class
    assert issubclass(protocol, BoundedHttpProtocol)
    protocol.most_connections, protocol.head_seconds = 2, 2 * PATIENCE
    with connect(server) as one, connect(server) as two:
        for _ in range(3):
            with connect(server) as three:
                assert closed(three)
        for each in (one, two):
            each.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert each.recv(65_536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "connections"),
    [
        (256, 1_024, 1_024, 896),
        (64, 100, 100, 50),
        (1_024, 1_000_000_000, 8_320, 8_192),
        (256, resource.RLIM_INFINITY, 8_320, 8_192),
        (20_000, 20_000, None, 8_192),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, 8_192),
    ],
)
def test_connections_leave_descriptors_for_everything_else(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int | None, connections: int
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert connection_limit() == connections
    assert asked == ([] if raised is None else [(raised, hard)])


def test_a_silent_connection_over_tls_is_given_up(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, private_key = tmp_path / "server.pem", tmp_path / "server.key"
    authority.certify(certificate, private_key)
    listen = Listen(port=0, certificate=certificate, private_key=private_key, head_seconds=0.5)
    context = ssl.create_default_context(cafile=authority.ca)
    with (
        running(listen) as server,
        connect(server) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as secured,
    ):
        assert closed(secured)
