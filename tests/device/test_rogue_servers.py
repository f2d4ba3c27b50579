# SPDX-License-Identifier: Apache-2.0
"""A server that is broken, or means harm: it is named, costs a request, and learns nothing."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import socket
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from keyfob.device import ClientSecretPost, Freshness, Password, RefreshToken, TokenSource, driving
from keyfob.errors import KeyfobError, TokenRequestError, TokenUnavailableError
from tests.device.world import SECRET, Behaviour, Rogue, SetClock, good, rogue, sends

TOKEN = {"access_token": "abc", "token_type": "Bearer", "expires_in": 60}


def raw(data: bytes) -> Behaviour:
    return lambda _, connection: connection.sendall(data)


def endless_body(_: bytes, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def endless_headers(_: bytes, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: " + b"y" * 4096 + b"\r\n")


def endless_interim_answers(_: bytes, connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
        time.sleep(0.01)


def dripping(data: bytes) -> Behaviour:
    def behave(_: bytes, connection: socket.socket) -> None:
        for byte in data * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(0.01)

    return behave


def silent(_: bytes, connection: socket.socket) -> None:
    connection.recv(1)  # until the other side gives up


def compressed(*, bomb: bool) -> Behaviour:
    body = gzip.compress(b" " * 100_000_000 if bomb else json.dumps(TOKEN).encode())
    return sends(body, headers="Content-Encoding: gzip\r\n")


def echo(request: bytes, connection: socket.socket) -> None:
    said = {"error": SECRET, "error_description": request.decode("latin-1"), "error_uri": SECRET}
    sends(said, f"400 {SECRET}", f"X: {SECRET}\r\n")(request, connection)


def echo_as_json_that_is_none(request: bytes, connection: socket.socket) -> None:
    sends(request + b"\xff")(request, connection)


def echo_as_status(request: bytes, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 " + SECRET.encode() + b"\r\n" + request)


ROGUES: dict[str, tuple[Behaviour, str]] = {
    "an error": (sends({}, "500 Internal Server Error"), "cannot answer now (500)"),
    "an error in HTML": (sends(b"<html>", "502 Bad Gateway"), "cannot answer now (502)"),
    "no JSON": (sends(b"<html>"), "answered with no JSON"),
    "a JSON list": (sends(b"[1]"), "answered with no JSON object"),
    "members twice": (sends(b'{"access_token":"a","access_token":"b"}'), "answered with no JSON"),
    "nothing": (sends(b""), "answered with no JSON"),
    "no content": (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "answered with status 204"),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "no answer (RemoteProtocolError)"),
    "a connection that ends": (lambda _, __: None, "no answer (RemoteProtocolError)"),
    "half a body": (
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
        "no answer (RemoteProtocolError)",
    ),
    "an endless body": (endless_body, f"more than {driving.MAX_BODY} bytes"),
    "endless headers": (endless_headers, "no answer (RemoteProtocolError)"),
    "endless interim answers": (endless_interim_answers, "no complete answer in"),
    "dripping headers": (dripping(b"HTTP/1.1 200 OK\r\nA: b"), "no complete answer in"),
    "a dripping body": (
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + b" " * 900),
        "no complete answer in",
    ),
    "silence": (silent, "no complete answer in"),
    "a compressed answer": (compressed(bomb=False), "a compressed body unasked"),
    "a compressed bomb": (compressed(bomb=True), "a compressed body unasked"),
    "an echo": (echo, "answered with status 400"),
    "an echo without form": (echo_as_json_that_is_none, "answered with no JSON"),
    "an echo for a status": (echo_as_status, "no answer (RemoteProtocolError)"),
    "a lifetime of 0": (sends({**TOKEN, "expires_in": 0}), "expires_in"),
    "a lifetime of -1": (sends({**TOKEN, "expires_in": -1}), "expires_in"),
    "a lifetime of 10^12": (sends({**TOKEN, "expires_in": 10**12}), "expires_in"),
    "a lifetime of nothing": (sends({**TOKEN, "expires_in": 1e-9}), "expires_in"),
    "a lifetime of NaN": (sends(b'{"access_token":"a","expires_in":NaN}'), "no JSON"),
    "a lifetime in words": (sends({**TOKEN, "expires_in": "an hour"}), "expires_in"),
    "a huge token": (sends({**TOKEN, "access_token": "a" * 70_000}), "access_token"),
    "control characters": (sends({**TOKEN, "access_token": "a\r\nX: b"}), "access_token"),
}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that a test can wait for."""
    monkeypatch.setattr(driving, "DEADLINE", 0.5)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def server() -> Iterator[Rogue]:
    with rogue(good()) as server:
        yield server


def made(server: Rogue, clock: SetClock, **changes: Any) -> TokenSource:
    auth = ClientSecretPost(client_id="dev1", client_secret=SECRET)
    values: dict[str, Any] = {"auth": auth, "clock": clock} | changes
    return TokenSource(server.url, **values)


def everything_shown(error: BaseException) -> str:
    """What somebody sees who logs an error with all that Python has about it."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(shown.format()) + repr(error) + str(error) + repr(error.__dict__)


@pytest.mark.parametrize("name", ROGUES)
def test_it_is_named_costs_one_request_and_learns_and_spoils_nothing(
    name: str, server: Rogue, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "keyfob")
    server.token, fault = ROGUES[name]
    source = made(server, clock)
    for _ in range(20):
        with pytest.raises(TokenUnavailableError) as caught:
            source.get()
        assert fault in caught.value.message
        assert SECRET not in everything_shown(caught.value)
    assert server.asked == 1
    assert SECRET not in caplog.text + repr(source)


@pytest.mark.parametrize("name", ["an error", "no JSON", "an endless body", "silence", "an echo"])
def test_the_old_token_serves_until_its_end(name: str, server: Rogue, clock: SetClock) -> None:
    source = made(server, clock)
    old = source.get()
    server.token, _ = ROGUES[name]
    clock.pass_by(3000)
    for _ in range(100):
        assert source.get() is old
    with contextlib.suppress(TokenUnavailableError):
        source.renew().result(20)
    assert source.get() is old
    assert server.asked <= 4
    clock.pass_by(600)
    assert source.state is Freshness.EXPIRED


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 Other", "307 T", "308 P"])
def test_a_redirect_takes_the_secret_nowhere(status: str, server: Rogue, clock: SetClock) -> None:
    with rogue(good()) as elsewhere:
        server.token = sends(b"", status, f"Location: {elsewhere.url}/token\r\n")
        with pytest.raises(TokenUnavailableError, match="redirects are not followed"):
            made(server, clock).get()
        assert elsewhere.requests == []


def test_no_cookie_comes_back(server: Rogue, clock: SetClock) -> None:
    server.token = sends(TOKEN, headers="Set-Cookie: a=b\r\nSet-Cookie: c=d; Domain=localhost\r\n")
    source = made(server, clock)
    source.get()
    source.renew().result(10)
    assert len(server.requests) == 3
    assert not any(b"cookie" in request.lower() for request in server.requests)


def test_no_refusal_repeats_a_secret(
    server: Rogue, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "keyfob")
    server.token = sends({"error": "invalid_client", "error_description": SECRET}, "401 No")
    for grant in (
        None,
        Password(username="u", password=SECRET),
        RefreshToken(refresh_token=SECRET),
    ):
        with pytest.raises(TokenRequestError) as caught:
            made(server, clock, grant=grant).get()
        assert SECRET not in everything_shown(caught.value)
    assert SECRET not in caplog.text


def test_a_future_that_fails_repeats_no_secret(server: Rogue, clock: SetClock) -> None:
    server.token = echo
    error = made(server, clock).renew().exception(10)
    assert isinstance(error, KeyfobError)
    assert SECRET not in everything_shown(error)


def test_what_a_program_raises_while_it_makes_a_grant_is_named_and_not_repeated(
    server: Rogue, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def parameters(self) -> dict[str, str]:
            raise ValueError(SECRET)

    source = made(server, clock, grant=Broken())
    with pytest.raises(TokenUnavailableError, match="ValueError") as caught:
        source.get()
    assert SECRET not in everything_shown(caught.value) + caplog.text


def test_a_port_where_nobody_listens_is_named(clock: SetClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    source = TokenSource(f"http://127.0.0.1:{port}", client_id="dev1", clock=clock)
    with pytest.raises(TokenUnavailableError, match=r"no connection \(.*refused"):
        source.get()


@pytest.mark.parametrize("scheme", ["foo", "socks5"])
def test_a_proxy_that_cannot_be_used_is_named_and_not_repeated(
    scheme: str,
    clock: SetClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://u:{SECRET}@proxy:1")
    source = TokenSource("https://as.example", client_id="dev1", clock=clock)
    with pytest.raises(TokenUnavailableError, match="names a proxy that cannot be used") as caught:
        source.get()
    assert SECRET not in everything_shown(caught.value) + caplog.text


def test_through_a_proxy_a_secret_goes_by_tls_or_not_at_all(
    clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked to CONNECT, and what it says instead of the server is believed by nobody."""
    with rogue(good()) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", f"://u:{SECRET}@"))
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        source = made(Rogue(1, good()), clock, token_endpoint="https://as.example/token")
        with pytest.raises(TokenUnavailableError) as caught:
            source.get()
        assert [request.split(b"\r\n")[0] for request in proxy.requests] == [
            b"CONNECT as.example:443 HTTP/1.1"
        ]
        assert SECRET.encode() not in b"".join(proxy.requests)
        assert SECRET not in everything_shown(caught.value)


def test_no_proxy_is_asked_for_this_machine(
    server: Rogue, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert made(server, clock).get().access_token == "token-1"


def test_no_log_of_any_library_shows_a_secret(
    server: Rogue, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "asyncio", "paho", "keyfob"):
        caplog.set_level(logging.DEBUG, name)
    server.token = good(access_token=SECRET, refresh_token=SECRET)
    source = made(server, clock)
    source.get()
    source.renew().result(10)
    server.token = sends({"error": "invalid_grant"}, "400 Bad")
    assert isinstance(source.renew().exception(10), TokenRequestError)
    assert "httpcore" in {record.name.split(".")[0] for record in caplog.records}
    assert SECRET not in caplog.text
