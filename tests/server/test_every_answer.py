# SPDX-License-Identifier: Apache-2.0
"""No request to any route gives a 5xx, or an answer without the headers that every answer has."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.http.answer_headers import ALWAYS
from keyfob.server.register import Register
from keyfob.server.serve import Listen, make_server
from keyfob.server.settings import ServerSettings
from keyfob.server.wishes import ApplicationWish
from tests.free_ports import free_port

EVERY = {name.decode(): value.decode() for name, value in ALWAYS}
PATHS = (
    *(
        "/oauth2/token",
        "/oauth2/revocations",
        "/oauth2/jwks",
        "/oauth2/device_authorization",
        "/healthz",
        "/readyz",
        "/",
    ),
    *("/oauth2/register", "/oauth2/register/dev1"),
    *("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND")
QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    database: Path = tmp_path_factory.mktemp("server") / "server.db"
    number, ready = free_port(), threading.Event()
    made = make_server(
        ServerSettings(
            issuer=f"http://127.0.0.1:{number}", audience="mqtt", database=database, limits=None
        ),
        Listen(port=number, head_seconds=1.0),
        on_ready=ready.set,
    )
    with Register.open(database) as register:
        register.add_device("dev1")
        register.add_application(ApplicationWish("gateway", public=True))
    thread = threading.Thread(target=made.run)
    thread.start()
    assert ready.wait(30)
    yield number
    made.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


def checked(answer: http.client.HTTPResponse) -> None:
    """Check what holds for every answer."""
    assert answer.status < 500, answer.status
    headers = {name.lower(): value for name, value in answer.getheaders()}
    assert headers.items() >= EVERY.items()
    assert "cache-control" in headers
    assert "server" not in headers
    body = answer.read()
    if answer.status >= 400 and body:
        assert set(json.loads(body)) == {"error", "error_description"}
        assert headers["cache-control"] == "no-store"


# What may stand in a header's value (RFC 9110 section 5.5).
VALUES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60
).map(str.strip)
NAMES = st.sampled_from(
    [
        *("Authorization", "Content-Type", "Accept", "Cookie", "Expect", "Host", "Origin", "DPoP"),
        *("X-Forwarded-For", "Range", "If-None-Match", "Content-Encoding", "Upgrade"),
    ]
)
KNOWN = st.sampled_from(
    [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Authorization", "Basic ZGV2MTp4"),
        ("Authorization", "Basic !!!"),
        ("Authorization", "Bearer x"),
        ("Expect", "100-continue"),
    ]
)
FIELDS = st.sampled_from(
    ["grant_type", "client_id", "client_secret", "scope", "username", "password", "resource"]
)
CONTENTS = st.one_of(
    st.sampled_from(
        ["client_credentials", "password", "dev1", "gateway", "kfs_x", "mqtt.connect", "%", "%zz"]
    ),
    st.text(max_size=20),
)
FORMS = st.lists(st.tuples(FIELDS, CONTENTS), max_size=6).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode(errors="replace")
)
QUERIES = st.one_of(
    st.just(""),
    st.sampled_from(
        ["?cursor=0&wait=0", "?cursor=-1", "?wait=nan", "?cursor=1&cursor=2", "?a=%ff"]
    ),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20).map("?{}".format),
)
TAILS = st.one_of(
    st.just(""),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=15),
    st.sampled_from(["/", "//", "/..", "%00", "%ff", "%2f", "/../oauth2/token", ";x", "%"]),
)


@QUICK
@given(
    method=st.sampled_from(METHODS),
    path=st.tuples(st.sampled_from(PATHS), TAILS, QUERIES).map("".join),
    headers=st.lists(st.one_of(KNOWN, st.tuples(NAMES, VALUES)), max_size=5),
    body=st.one_of(st.just(b""), FORMS, st.binary(max_size=200)),
)
def test_no_request_to_any_route_fails_or_lacks_a_header(
    port: int, method: str, path: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head + body)
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        checked(answer)


VALID = (
    b"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
)
PIECES = st.sampled_from(
    [
        *(b"\r\n", b"\n", b"\r\n\r\n", b"GET / HTTP/1.1", b"HTTP/9.9", b"\x00", b"\xff" * 9, b" "),
        *(b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 9" * 20),
        *(b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n", b"zz\r\n", b"0\r\n\r\n"),
        *(b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        *(
            b"\x16\x03\x01\x02\x00\x01",
            b"OPTIONS * HTTP/1.1\r\n\r\n",
            b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        ),
    ]
)


@QUICK
@given(pieces=st.lists(st.one_of(st.just(VALID), PIECES, st.binary(max_size=40)), max_size=8))
def test_nonsense_on_the_socket_gets_such_an_answer_or_none(port: int, pieces: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=0.05) as connection:
        received = b""
        try:
            connection.sendall(b"".join(pieces))
            while piece := connection.recv(65_536):
                received += piece
        except (TimeoutError, ConnectionError):
            pass  # it waits for more, or there was nothing to wait for
    for status_line in received.split(b"HTTP/1.1 ")[1:]:
        if status_line.startswith(b"100 "):
            continue
        head, _, _ = status_line.partition(b"\r\n\r\n")
        assert status_line[:1] in b"234", status_line
        for name, value in ALWAYS:
            assert b"\r\n%s: %s" % (name, value) in head, status_line
    alive = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    alive.request("GET", "/healthz")
    assert alive.getresponse().status == 200
    alive.close()


@pytest.mark.parametrize(
    ("issuer", "strict"),
    [
        ("https://as.example", True),
        ("https://as.example:8443/tenant", True),
        ("https://localhost:8443", False),
        ("https://127.0.0.1", False),
        ("http://localhost", False),
    ],
)
def test_browsers_are_told_to_keep_to_tls_but_for_the_loopback_address(
    tmp_path: Path, issuer: str, strict: bool
) -> None:
    number, ready = free_port(), threading.Event()
    made = make_server(
        ServerSettings(issuer=issuer, audience="mqtt", database=tmp_path / "server.db"),
        Listen(port=number),
        on_ready=ready.set,
    )
    thread = threading.Thread(target=made.run)
    thread.start()
    assert ready.wait(30)
    try:
        for path in ("/healthz", "/nothing", "/" + "x" * 40_000):
            connection = http.client.HTTPConnection("127.0.0.1", number, timeout=30)
            connection.request("GET", path)
            answer = connection.getresponse()
            found = answer.getheader("Strict-Transport-Security")
            assert found == ("max-age=31536000" if strict else None)
            connection.close()
    finally:
        made.should_exit = True
        thread.join(30)
