# SPDX-License-Identifier: Apache-2.0
"""Certificates of clients at a real listener: verified by OpenSSL, renewed without a restart."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from keyfob.errors import ConfigError
from keyfob.http.client_certificate import shown_certificate
from keyfob.http.listen import Listen, bind
from keyfob.http.server import HttpServer
from keyfob.http.tls import check_tls
from tests.server.client_certificates import SERVER, Shown, named, signed

DAY = datetime.timedelta(days=1)


async def _who(request: Request) -> JSONResponse:
    shown = shown_certificate(request.scope)
    return JSONResponse(None if shown is None else [shown.der.hex(), shown.verified])


@contextlib.contextmanager
def serving(listen: Listen) -> Iterator[HttpServer]:
    ready = threading.Event()
    app = Starlette(routes=[Route("/", _who)])
    made = HttpServer(app, listen, bind(listen), on_ready=ready.set)
    thread = threading.Thread(target=made.run)
    thread.start()
    assert ready.wait(30)
    try:
        yield made
    finally:
        made.should_exit = True
        thread.join(30)


class Place:
    """A listener, its own authority, and one for clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = signed(named("root"), authority=True)
        localhost = [x509.DNSName("localhost")]
        server = signed(named("localhost"), issuer=self.root, names=list(localhost), usage=SERVER)
        certificate, key = server.files(folder, "server")
        self.clients = signed(named("clients"), authority=True)
        self.ca = folder / "clients.pem"
        self.ca.write_bytes(self.clients.pem)
        (folder / "root.pem").write_bytes(self.root.pem)
        self.listen = Listen(
            port=0, certificate=Path(certificate), private_key=Path(key), client_ca=self.ca
        )

    def context(self, shown: Shown | None = None, *, newest: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "root.pem"))
        if not newest:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if shown is not None:
            context.load_cert_chain(*shown.files(self.folder, "client"))
        return context

    def ask(self, server: HttpServer, context: ssl.SSLContext) -> Any:
        with httpx.Client(verify=context, trust_env=False) as http:
            return http.get(f"https://localhost:{server.port}/").json()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_certificate_reaches_the_application_and_none_is_allowed(place: Place) -> None:
    client = signed(named("dev1"), issuer=place.clients)
    with serving(place.listen) as server:
        for newest in (True, False):
            assert place.ask(server, place.context(newest=newest)) is None
            shown = place.ask(server, place.context(client, newest=newest))
            assert shown == [client.der.hex(), True]


def test_without_authorities_nobody_is_asked_for_a_certificate(place: Place) -> None:
    listen = Listen(
        port=0, certificate=place.listen.certificate, private_key=place.listen.private_key
    )
    with serving(listen) as server:
        client = signed(named("dev1"), issuer=place.clients)
        assert place.ask(server, place.context(client)) is None


BAD: dict[str, Callable[[Place], Shown]] = {
    "by itself": lambda _: signed(named("dev1")),
    "of another authority": lambda _: signed(
        named("dev1"), issuer=signed(named("clients"), authority=True)
    ),
    "expired": lambda place: signed(
        named("dev1"), issuer=place.clients, begins=-2 * DAY, ends=-DAY
    ),
    "not yet": lambda place: signed(named("dev1"), issuer=place.clients, begins=DAY, ends=2 * DAY),
    "of a server": lambda place: signed(named("dev1"), issuer=place.clients, usage=SERVER),
    "by one that is no authority": lambda place: signed(
        named("dev2"), issuer=signed(named("dev1"), issuer=place.clients)
    ),
    "of the server's authority": lambda place: signed(named("dev1"), issuer=place.root),
}


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("what", BAD)
def test_a_certificate_that_is_no_good_ends_the_handshake(
    place: Place, what: str, newest: bool
) -> None:
    with serving(place.listen) as server:
        # Not told as "none": the client would not learn why it is refused.
        with pytest.raises((httpx.HTTPError, ssl.SSLError)):
            place.ask(server, place.context(BAD[what](place), newest=newest))
        assert place.ask(server, place.context()) is None


def test_a_certificate_for_any_purpose_is_allowed(place: Place) -> None:
    client = signed(named("dev1"), issuer=place.clients, usage=None)
    with serving(place.listen) as server:
        assert place.ask(server, place.context(client)) == [client.der.hex(), True]


def raw(place: Place, server: HttpServer, context: ssl.SSLContext, session: Any) -> tuple[Any, Any]:
    """Ask on a connection of one's own; return the answer's end and the session."""
    with (
        socket.create_connection(("localhost", server.port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as secured,
    ):
        secured.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b""
        while piece := secured.recv(65_536):
            received += piece
        if not received:  # TLS 1.3 tells a client of the end after its own handshake is over
            raise ConnectionError
        body = json.loads(received.partition(b"\r\n\r\n")[2])
        return (body, secured.session_reused), secured.session


@pytest.mark.parametrize("newest", [True, False])
def test_an_authority_that_is_taken_away_is_gone_for_resumed_sessions_too(
    place: Place, newest: bool
) -> None:
    client = signed(named("dev1"), issuer=place.clients)
    other = signed(named("others"), authority=True)
    context = place.context(client, newest=newest)
    with serving(place.listen) as server:
        (body, _), session = raw(place, server, context, None)
        assert body == [client.der.hex(), True]
        (body, reused), session = raw(place, server, context, session)
        assert (body, reused) == ([client.der.hex(), True], True)  # a resumed one still has it
        place.ca.write_bytes(b"half a file")
        with pytest.raises(ConfigError):
            server.reload_certificate()
        assert raw(place, server, context, session)[0][0] == [client.der.hex(), True]
        place.ca.write_bytes(other.pem)
        server.reload_certificate()
        with pytest.raises(OSError):  # noqa: PT011 - SSLError or a reset
            raw(place, server, context, session)
        renewed = signed(named("dev1"), issuer=other)
        assert place.ask(server, place.context(renewed)) == [renewed.der.hex(), True]


def test_an_authority_that_is_taken_away_is_gone_for_open_connections_too(place: Place) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    client = signed(named("dev1"), issuer=place.clients)
    with serving(place.listen) as server, contextlib.ExitStack() as open_ones:
        certified, other = (
            open_ones.enter_context(
                context.wrap_socket(
                    open_ones.enter_context(
                        socket.create_connection(("localhost", server.port), timeout=30)
                    ),
                    server_hostname="localhost",
                )
            )
            for context in (place.context(client), place.context())
        )
        for connection, end in ((certified, b"true]"), (other, b"null")):
            connection.sendall(request)
            received = b""
            while not received.endswith(end):
                received += connection.recv(65_536)
        place.ca.write_bytes(signed(named("others"), authority=True).pem)
        server.reload_certificate()
        assert certified.recv(1) == b""
        other.sendall(request)
        assert other.recv(65_536).startswith(b"HTTP/1.1 200")


def test_an_authority_that_is_taken_away_is_gone_for_begun_handshakes_too(place: Place) -> None:
    """Its last flight waits at the client until the file was read again."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = place.context(signed(named("dev1"), issuer=place.clients))
    secured = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with serving(place.listen) as server:
        with socket.create_connection(("localhost", server.port), timeout=30) as plain:
            while True:
                try:
                    secured.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65_536))
            place.ca.write_bytes(signed(named("others"), authority=True).pem)
            server.reload_certificate()
            secured.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            plain.sendall(outgoing.read())
            with contextlib.suppress(ConnectionError):
                while received := plain.recv(65_536):
                    incoming.write(received)
                    with contextlib.suppress(ssl.SSLError):
                        assert b"true" not in secured.read(65_536)
        assert place.ask(server, place.context()) is None


def test_files_that_hold_no_authority_are_refused_before_anything_listens(place: Place) -> None:
    for content in (b"", b"x", signed(named("dev1")).pem):
        place.ca.write_bytes(content)
        with pytest.raises(ConfigError):
            check_tls(place.listen)
    with pytest.raises(ConfigError):
        check_tls(Listen(port=0, client_ca=place.ca))
    place.ca.unlink()
    with pytest.raises(ConfigError):
        check_tls(place.listen)
