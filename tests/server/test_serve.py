# SPDX-License-Identifier: Apache-2.0
"""The server as it runs: TLS, curl, httpx, a raw socket, signals."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from keyfob.errors import ConfigError
from keyfob.server.audit import TokenEvent
from keyfob.server.register import Register
from keyfob.server.serve import HttpServer, Listen, make_server
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.place import Place
from keyfob.server.wishes import DeviceWish, Rights
from tests.free_ports import free_port
from tests.server.certificates import Authority
from tests.server.databases import written
from tests.server.world import claims_of


@dataclass
class Running:
    """A server in a thread."""

    server: HttpServer
    thread: threading.Thread
    authority: Authority
    listen: Listen
    database: Path
    events: list[TokenEvent]

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server.port}"

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority.ca)

    def curl(self, *arguments: str) -> Any:
        """Run curl as a reader of the documentation would; return status and document."""
        command = ["curl", "--silent", "--show-error", "--cacert", str(self.authority.ca)]
        command += ["--write-out", "\n%{http_code}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def running(tmp_path: Path, database: Path) -> Iterator[Running]:
    authority = Authority(tmp_path)
    listen = Listen(
        host="localhost",
        port=0,
        certificate=tmp_path / "server.pem",
        private_key=tmp_path / "server.key",
    )
    authority.certify(tmp_path / "server.pem", tmp_path / "server.key")
    port = free_port()
    listen = Listen(
        host="localhost", port=port, certificate=listen.certificate, private_key=listen.private_key
    )
    events: list[TokenEvent] = []
    ready = threading.Event()
    settings = ServerSettings(
        issuer=f"https://localhost:{port}", audience="mqtt", database=database
    )
    server = make_server(settings, listen, audit=events.append, on_ready=ready.set)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert ready.wait(30)
    running = Running(server, thread, authority, listen, database, events)
    yield running
    running.stop()


def test_curl_gets_a_token_as_the_documentation_says(running: Running) -> None:
    with Register.open(running.database) as register:
        issued = register.add_device(DeviceWish("dev1", rights=Rights(publish=["a/{device}"])))
    status, document = running.curl(
        "-X", "POST", f"{running.url}/oauth2/token",
        "-H", "Content-Type: application/x-www-form-urlencoded",
        "-d", "grant_type=client_credentials",
        "-d", "client_id=dev1",
        "-d", f"client_secret={issued.secret}",
    )  # fmt: skip
    assert status == 200
    assert document["token_type"] == "Bearer"
    assert "mqtt.connect" in document["scope"].split()
    _, jwks = running.curl(f"{running.url}/oauth2/jwks")
    assert claims_of(document["access_token"], jwks)[1]["iss"] == running.url


def test_curl_with_a_user_is_http_basic(running: Running) -> None:
    with Register.open(running.database) as register:
        issued = register.add_device("dev1")
    arguments = ["--user", f"dev1:{issued.secret}", "-d", "grant_type=client_credentials"]
    status, document = running.curl(*arguments, f"{running.url}/oauth2/token")
    assert (status, document["expires_in"]) == (200, 3600)
    status, document = running.curl(
        "--user", "dev1:wrong", "-d", "grant_type=client_credentials", f"{running.url}/oauth2/token"
    )
    assert (status, document["error"]) == (401, "invalid_client")
    assert [event.outcome for event in running.events] == ["issued", "refused"]
    assert running.events[0].peer in ("127.0.0.1", "::1")


def test_a_body_over_the_cap_is_refused_before_it_was_sent(running: Running) -> None:
    """The answer comes while a client that never ends is still sending."""
    address = ("localhost", running.server.port)
    with (
        socket.create_connection(address, timeout=30) as raw,
        running.context().wrap_socket(raw, server_hostname="localhost") as secured,
    ):
        secured.sendall(
            b"POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: 100000000\r\n\r\n" + b"a" * 70_000
        )
        assert secured.recv(4_096).startswith(b"HTTP/1.1 413 ")


def test_several_addresses_of_one_name_are_all_listened_on(running: Running) -> None:
    found = socket.getaddrinfo("localhost", running.server.port, type=socket.SOCK_STREAM)
    for address in {str(info[4][0]) for info in found if info[0] == socket.AF_INET}:
        socket.create_connection((address, running.server.port), timeout=30).close()


def test_a_waiting_guard_does_not_hold_up_the_end(running: Running) -> None:
    with Register.open(running.database) as register:
        auth = httpx.BasicAuth("guard", register.ensure_guard_client("guard"))
    answers: list[httpx.Response] = []
    sent = threading.Event()

    def wait() -> None:
        def announce(request: httpx.Request) -> None:
            sent.set()

        hooks = {"request": [announce]}
        with httpx.Client(verify=running.context(), event_hooks=hooks, timeout=60) as http:
            answers.append(
                http.get(f"{running.url}/oauth2/revocations", params={"wait": 30}, auth=auth)
            )

    thread = threading.Thread(target=wait)
    with httpx.Client(verify=running.context()) as http:
        http.get(f"{running.url}/healthz")
    thread.start()
    assert sent.wait(30)
    threading.Event().wait(0.5)
    running.stop()
    thread.join(30)
    assert [answer.json()["revocations"] for answer in answers] == [[]]


def test_a_renewed_certificate_is_shown_without_a_restart(running: Running) -> None:
    certificate, private_key = running.listen.certificate, running.listen.private_key
    assert certificate is not None
    assert private_key is not None
    before = shown_serial(running)
    certificate.write_text("half a file")
    with pytest.raises(ConfigError):
        running.server.reload_certificate()
    assert shown_serial(running) == before
    serial = running.authority.certify(certificate, private_key)
    running.server.reload_certificate()
    assert shown_serial(running) == serial != before


def shown_serial(running: Running) -> int:
    with (
        socket.create_connection(("localhost", running.server.port), timeout=30) as raw,
        running.context().wrap_socket(raw, server_hostname="localhost") as secured,
    ):
        der = secured.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open(
    running: Running, tmp_path: Path
) -> None:
    settings = ServerSettings(
        issuer="https://localhost", audience="mqtt", database=tmp_path / "other.db"
    )
    with pytest.raises(ConfigError, match="cannot listen"):
        make_server(settings, running.listen)
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_is_not_here_is_an_error(settings: ServerSettings, host: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen"):
        make_server(settings, Listen(host=host, port=0))


@pytest.mark.sqlite
def test_a_register_that_cannot_be_used_leaves_the_port_free(database: Path) -> None:
    port = free_port()
    database.mkdir()
    settings = ServerSettings(issuer="https://localhost", audience="mqtt", database=database)
    with pytest.raises(ConfigError):
        make_server(settings, Listen(port=port))
    socket.create_server(("127.0.0.1", port)).close()


def test_a_certificate_that_is_none_is_an_error(settings: ServerSettings, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("x")
    listen = Listen(port=0, certificate=tmp_path / "x.pem", private_key=tmp_path / "none")
    with pytest.raises(ConfigError, match="certificate"):
        make_server(settings, listen)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_it_prints_nothing(
    tmp_path: Path, database: Place, ending: signal.Signals
) -> None:
    """The database is closed: nothing is left beside it."""
    code = (
        "import sys; from keyfob.server.stores.place import place_of;"
        "from keyfob.server.serve import Listen, serve;"
        "from keyfob.server.settings import ServerSettings;"
        "settings = ServerSettings(issuer='http://127.0.0.1:1', audience='mqtt',"
        " database=place_of(sys.argv[1]));"
        "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL);"
        "serve(settings, Listen(port=0), on_ready=lambda: open(sys.argv[2], 'w').close())"
    )
    mark = tmp_path / "ready"
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, written(database), str(mark)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not mark.exists() and process.poll() is None:
        threading.Event().wait(0.02)
    process.send_signal(ending)
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == -ending
    left = ["ready", "server.db"] if isinstance(database, Path) else ["ready"]
    assert sorted(file.name for file in tmp_path.iterdir()) == left
