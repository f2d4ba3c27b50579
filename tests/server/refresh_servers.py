# SPDX-License-Identifier: Apache-2.0
"""Authorization servers as processes of their own, over one database."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from keyfob.server.stores.place import Place
from tests.free_ports import free_port
from tests.running import until
from tests.server.databases import written

_SERVER = """
import sys
from keyfob.server.stores.place import place_of
from keyfob.server.serve import Listen, serve
from keyfob.server.limits import DEFAULT_LIMITS
from keyfob.server.settings import ServerSettings

port, database, grace = int(sys.argv[1]), place_of(sys.argv[2]), float(sys.argv[3])
settings = ServerSettings(
    issuer=f"http://127.0.0.1:{port}",
    audience="mqtt",
    database=database,
    refresh_grace=grace,
    limits=DEFAULT_LIMITS if sys.argv[4] == "limited" else None,
)
serve(settings, Listen(port=port))
"""


@dataclass
class ServerProcess:
    """One server; it can be killed and started again."""

    database: Place
    grace: float
    limited: bool
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill_and_restart(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self.process = _run(self.port, self.database, self.grace, self.limited)


@contextlib.contextmanager
def server_process(
    database: Place, *, grace: float = 600.0, limited: bool = True
) -> Iterator[ServerProcess]:
    """Run a server; the grace is long unless the test is about it, for machines that are slow."""
    port = free_port()
    server = ServerProcess(database, grace, limited, port, _run(port, database, grace, limited))
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait(30)


def _run(port: int, database: Place, grace: float, limited: bool) -> subprocess.Popen[bytes]:
    how = "limited" if limited else "free"
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(port), written(database), str(grace), how]
    )

    def answers() -> bool:
        assert process.poll() is None
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        return False

    until("a server that answers", answers)
    return process
