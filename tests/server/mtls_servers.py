# SPDX-License-Identifier: Apache-2.0
"""Real servers that clients show certificates to: directly, and with nginx in front."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from keyfob.http.proxy import CertificateHeader, Proxies
from keyfob.server.audit import TokenEvent
from keyfob.server.mutual_tls import MutualTls
from keyfob.server.register import Register
from keyfob.server.serve import Listen, make_server
from keyfob.server.settings import ServerSettings
from tests.free_ports import free_port
from tests.server.client_certificates import SERVER, Shown, named, signed

EXAMPLE = Path(__file__).parents[2] / "examples" / "nginx" / "keyfob.conf"
HEADER = CertificateHeader(name="x-client-cert", verification="x-client-verify")
LOOPBACK = ("localhost", "127.0.0.1")
LOCALHOST = [x509.DNSName("localhost")]


@dataclass
class Place:
    """A folder with two authorities: for the server, and for clients."""

    folder: Path
    root: Shown = field(default_factory=lambda: signed(named("root"), authority=True))
    clients: Shown = field(default_factory=lambda: signed(named("clients"), authority=True))

    def __post_init__(self) -> None:
        (self.folder / "ca.pem").write_bytes(self.root.pem)
        (self.folder / "clients.pem").write_bytes(self.clients.pem)
        server = signed(named("x"), issuer=self.root, names=list(LOCALHOST), usage=SERVER)
        server.files(self.folder, "server")

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")


@dataclass
class Served:
    """Where a server is reached, and what it said."""

    place: Place
    url: str
    database: Path
    events: list[TokenEvent]
    direct: str = ""

    def curl(self, form: dict[str, str], *more: str, at: str = "") -> Any:
        """Run curl as a reader of the documentation would; return status and document."""
        command = ["curl", "--silent", "--show-error", "--cacert", self.place.ca]
        command += ["--write-out", "\n%{http_code}", *more]
        for name, value in form.items():
            command += ["--data-urlencode", f"{name}={value}"]
        done = subprocess.run(
            [*command, f"{at or self.url}/oauth2/token"],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body)

    @contextlib.contextmanager
    def register(self) -> Iterator[Register]:
        with Register.open(self.database) as register:
            yield register


@contextlib.contextmanager
def serving(
    place: Place, mutual_tls: MutualTls, *, issuer: str = "", client_ca: bool = False
) -> Iterator[Served]:
    """Run the server over TLS."""
    port, ready = free_port(), threading.Event()
    events: list[TokenEvent] = []
    database = place.folder / "server.db"
    settings = ServerSettings(
        issuer=issuer or f"https://localhost:{port}",
        audience="mqtt",
        database=database,
        mutual_tls=mutual_tls,
        limits=None,  # these tests ask more often than anybody may
    )
    listen = Listen(
        host="localhost",
        port=port,
        certificate=place.folder / "server.pem",
        private_key=place.folder / "server.key",
        client_ca=place.folder / "clients.pem" if client_ca else None,
    )
    made = make_server(settings, listen, audit=events.append, on_ready=ready.set)
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        assert ready.wait(30)
        url = f"https://localhost:{port}"
        yield Served(place, issuer or url, database, events, url)
    finally:
        made.should_exit = True
        thread.join(30)


@contextlib.contextmanager
def direct(folder: Path, **options: Any) -> Iterator[Served]:
    """Run the server so that it asks for certificates itself."""
    with serving(Place(folder), MutualTls(asked=True, **options), client_ca=True) as served:
        yield served


@contextlib.contextmanager
def behind_nginx(folder: Path, *, trusted: tuple[str, ...] = ("127.0.0.1",)) -> Iterator[Served]:
    """Run the server behind nginx, as examples/nginx/keyfob.conf says."""
    place, port = Place(folder), free_port()
    proxies = Proxies.at(trusted, certificate=HEADER)
    issuer = f"https://localhost:{port}"
    with serving(place, MutualTls(proxies=proxies), issuer=issuer) as served:
        text = EXAMPLE.read_text(encoding="utf-8")
        for old, new in {
            "127.0.0.1:8443": served.direct.removeprefix("https://").replace(*LOOPBACK),
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "/etc/nginx/keyfob/": f"{folder}/",
        }.items():
            assert old in text, f"the example has no {old!r} any more"
            text = text.replace(old, new)
        with _nginx(folder, port, text):
            yield served


@contextlib.contextmanager
def _nginx(folder: Path, port: int, server: str) -> Iterator[None]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program is not None, "there is no nginx: scripts/setup installs it"
    kept = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"{'user root;' if os.geteuid() == 0 else ''}\n"
        f"events {{}}\nhttp {{ access_log off;\n{kept}{server}}}\n"
    )
    log = folder / "error.log"
    process = subprocess.Popen(
        [program, "-c", str(configuration), "-p", str(folder), "-e", str(log)]
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(ConnectionError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(20)
