# SPDX-License-Identifier: Apache-2.0
"""A server that is told to stop under load: a whole answer for each request, or none at all."""

from __future__ import annotations

import base64
import gc
import http.client
import json
import signal
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest

from keyfob.cli.initialising import initialise
from keyfob.cli.installation import Installation
from keyfob.cli.local_registers import open_register
from keyfob.cli.ports import Ports
from tests.cli.commands import started, wait_for

# CPython leaves the socket of a handshake to its collector when a reset comes between connect() and
# SSLSocket._create(), which is where a server's end under load meets some of these clients.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
    pytest.mark.usefixtures("_no_other_test_finds_them"),
]

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CLIENTS = 8


@pytest.fixture
def _no_other_test_finds_them() -> Iterator[None]:
    yield
    gc.collect()


@dataclass
class Load:
    """Clients that ask for tokens as fast as they can, half of them on kept connections."""

    installation: Installation
    body: str
    stop: threading.Event = field(default_factory=threading.Event)
    tokens: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def client(self, *, keeps: bool) -> None:
        context = ssl.create_default_context(cafile=self.installation.directory / "ca.pem")
        connection: http.client.HTTPSConnection | None = None
        while not self.stop.is_set():
            if connection is None:
                port = self.installation.settings.server.port
                connection = http.client.HTTPSConnection("localhost", port, context=context)
            try:
                connection.request("POST", "/oauth2/token", self.body, FORM)
                answer = connection.getresponse()
            except OSError as error:  # refused, reset or closed, before a byte of an answer
                self.refused.append(type(error).__name__)
                connection.close()
                connection = None
                continue
            self.read(answer)
            if not keeps or answer.will_close:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def read(self, answer: http.client.HTTPResponse) -> None:
        try:
            document = json.loads(answer.read())
        except (http.client.HTTPException, ValueError, OSError) as error:
            self.broken.append(repr(error))
            return
        if answer.status == 200:
            self.tokens.append(document["access_token"])
        else:
            self.broken.append(f"{answer.status} {document}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_every_request_has_a_whole_answer_or_a_refused_connection(
    tmp_path: Path, number: signal.Signals
) -> None:
    """And no token was issued whose answer did not arrive: the audit counts as many."""
    load, code = loaded(tmp_path, number)
    assert code == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert load.broken == []
    assert load.refused
    assert sorted(audited(load)) == sorted(map(token_id, load.tokens))


def test_a_killed_server_has_a_line_in_its_audit_for_each_answer_that_arrived(
    tmp_path: Path,
) -> None:
    load, code = loaded(tmp_path, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert set(map(token_id, load.tokens)) <= set(audited(load))


def loaded(tmp_path: Path, number: signal.Signals) -> tuple[Load, int]:
    """Send a signal to a server under load; return what became of the load and of the server."""
    installation = initialise(tmp_path / "data", ports=Ports(server=0, mqtt=0, plain=0))
    path = installation.settings.path
    path.write_text(path.read_text() + "\n[server.limits]\nenabled = false\n")
    with open_register(installation) as register:
        secret = register.add_device("dev1").secret
    form = {"grant_type": "client_credentials", "client_id": "dev1", "client_secret": secret}
    load = Load(installation, urlencode(form))
    threads = [
        threading.Thread(target=load.client, kwargs={"keeps": place % 2 == 0})
        for place in range(CLIENTS)
    ]
    with started(tmp_path / "log", "server", "--dir", str(installation.directory)) as program:
        program.until("ready at")
        for thread in threads:
            thread.start()
        try:
            wait_for("some load", lambda: len(load.tokens) > 300)
            program.process.send_signal(number)
            code = program.wait()
        finally:
            load.stop.set()
            for thread in threads:
                thread.join(30)
    return load, code


def audited(load: Load) -> list[str]:
    """The identifiers of the tokens that the audit says were issued."""
    lines = load.installation.settings.server.audit.read_text().splitlines()
    return [event["token_id"] for event in map(json.loads, lines) if event["outcome"] == "issued"]


def token_id(token: str) -> str:
    payload = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"])


def test_a_request_whose_body_trickles_gets_a_whole_answer_within_the_bound(
    tmp_path: Path,
) -> None:
    installation = initialise(tmp_path / "data", ports=Ports(server=0, mqtt=0, plain=0))
    context = ssl.create_default_context(cafile=installation.directory / "ca.pem")
    with started(tmp_path / "log", "server", "--dir", str(installation.directory)) as program:
        program.until("ready at")
        port = installation.settings.server.port
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
        connection.putrequest("POST", "/oauth2/token")
        for name, value in (FORM | {"Content-Length": "1000"}).items():
            connection.putheader(name, value)
        connection.endheaders(b"grant_type=")
        other = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
        other.request("GET", "/healthz")  # the first request is in there by now
        assert other.getresponse().read()
        program.process.send_signal(signal.SIGTERM)
        answer = connection.getresponse()
        document = json.loads(answer.read())
        assert (answer.status, document["error"]) == (503, "temporarily_unavailable")
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert program.wait() == 0
        assert "Traceback" not in program.output()
        connection.close()
        other.close()
