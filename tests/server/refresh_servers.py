# SPDX-License-Identifier: Apache-2.0
"""Authorization servers as processes of their own, over one database."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.running import free_port, until

_SERVER = """
import sys
from pathlib import Path
from keyfob.server.serve import Listen, serve
from keyfob.server.settings import ServerSettings

port, database, grace = int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
settings = ServerSettings(
    issuer=f"http://127.0.0.1:{port}", audience="mqtt", database=database, refresh_grace=grace
)
serve(settings, Listen(port=port))
"""


@dataclass
class ServerProcess:
    """One server; it can be killed and started again."""

    database: Path
    grace: float
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill_and_restart(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self.process = _run(self.port, self.database, self.grace)


@contextlib.contextmanager
def server_process(database: Path, *, grace: float = 600.0) -> Iterator[ServerProcess]:
    """Run a server; the grace is long unless the test is about it, for machines that are slow."""
    port = free_port()
    server = ServerProcess(database, grace, port, _run(port, database, grace))
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait(30)


def _run(port: int, database: Path, grace: float) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(port), str(database), str(grace)]
    )

    def answers() -> bool:
        assert process.poll() is None
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        return False

    until("a server that answers", answers)
    return process
