# SPDX-License-Identifier: Apache-2.0
"""A Mosquitto without the plugin beside an installation's own, alike in all else."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.free_ports import free_port
from tests.running import Installation, until

__all__ = ["Beside", "broker_beside"]


@dataclass(frozen=True, slots=True)
class Beside:
    """Where it runs and listens."""

    pid: int
    port: int
    tls_port: int


@contextlib.contextmanager
def broker_beside(
    running: Installation, folder: Path, access: Sequence[str] = ("allow_anonymous true",)
) -> Iterator[Beside]:
    """Start it.

    Args:
        running: The installation; its configuration is taken over up to the listeners.
        folder: For its files; it is made.
        access: The lines that say who may come in.
    """
    original = (running.settings.mosquitto.directory / "mosquitto.conf").read_text()
    port, tls_port = free_port(), free_port()
    dropped = ("plugin", "allow_anonymous", "persistence_location")
    lines = [
        line
        for line in original.partition("\nlistener ")[0].splitlines()
        if not line.startswith(dropped)
    ]
    folder.mkdir()
    lines += [f"persistence_location {folder}/", *access, f"listener {port} 127.0.0.1"]
    lines += [f"listener {tls_port} 127.0.0.1", f"certfile {running.directory}/server.pem"]
    lines += [f"keyfile {running.directory}/server.key"]
    configuration = folder / "mosquitto.conf"
    configuration.write_text("\n".join(lines) + "\n")
    program = (Path("/proc") / str(running.pid("mosquitto")) / "exe").resolve()
    process = subprocess.Popen(
        [str(program), "-c", str(configuration)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until("the broker beside", lambda: _reachable(port) and _reachable(tls_port))
        yield Beside(process.pid, port, tls_port)
    finally:
        process.terminate()
        process.wait(10)


def _reachable(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
