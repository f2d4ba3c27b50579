# SPDX-License-Identifier: Apache-2.0
"""An installation for one simulation: made, run as ``keyfob up`` runs one, and removed."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from keyfob.cli.children import children
from keyfob.cli.failures import without_secrets
from keyfob.cli.initialising import initialise
from keyfob.cli.installation import Installation
from keyfob.cli.local_registers import open_register
from keyfob.cli.ports import Ports
from keyfob.cli.supervisor import Supervisor
from keyfob.errors import UpstreamError
from keyfob.server.fleet_rows import RowReader
from keyfob.server.private_file import PrivateFile
from keyfob.simulation.credentials import read_credentials
from keyfob.simulation.plan import Credential

__all__ = ["Place", "temporary"]

_NAME: Final = "simulated-{:05}"
_LAST_LINES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a fleet is run.

    Attributes:
        issuer: Whom it asks for tokens.
        broker: Its broker's URL.
        ca: Certificates to trust both by; None: the system's.
        devices: Who they are.
    """

    issuer: str
    broker: str
    ca: Path | None
    devices: tuple[Credential, ...]


@asynccontextmanager
async def temporary(
    devices: int, lifetime: int, topic: str, stop: asyncio.Event
) -> AsyncIterator[Place]:
    """Run a server, a guard and Mosquitto with some devices, on free ports of this machine.

    Args:
        devices: How many.
        lifetime: Seconds that their tokens live.
        topic: What each may publish and subscribe to, with ``{device}``.
        stop: Is set when it is not wanted any more.

    Raises:
        ConfigError: Mosquitto or a C compiler is missing.
        UpstreamError: A part does not start; the message has what it said last.
        typer.Abort: It was not wanted any more before all of it ran.
    """
    with tempfile.TemporaryDirectory(prefix="keyfob-simulate-") as name:
        folder = Path(name)
        free = Ports(server=0, mqtt=0, plain=0)
        installation = await asyncio.to_thread(initialise, folder / "data", ports=free)
        made = await asyncio.to_thread(_register, installation, folder, devices, lifetime, topic)
        lines: deque[str] = deque(maxlen=_LAST_LINES)
        supervisor = Supervisor(children(installation), lines.append)
        starting = asyncio.create_task(supervisor.start())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                supervisor.request_stop()
            await starting
            if stop.is_set():  # before there was anything to report
                raise typer.Abort
            settings = installation.settings
            yield Place(
                issuer=settings.server.issuer,
                broker=f"mqtts://{installation.name}:{settings.mosquitto.port}",
                ca=installation.directory / "ca.pem",
                devices=made,
            )
        except UpstreamError as error:
            if starting.done() and starting.exception() is error and lines:
                said = without_secrets(" / ".join(lines))
                raise UpstreamError(f"{error.message}: {said}") from None
            raise
        finally:
            stopped.cancel()
            await supervisor.stop()


def _register(
    installation: Installation, folder: Path, devices: int, lifetime: int, topic: str
) -> tuple[Credential, ...]:
    rows = "".join(
        json.dumps(
            {
                "device": _NAME.format(number),
                "publish": [topic],
                "subscribe": [topic],
                "lifetime": lifetime,
            }
        )
        + "\n"
        for number in range(devices)
    )
    file = folder / "secrets.csv"
    with (
        open_register(installation) as register,
        PrivateFile(folder / "rejects.csv") as rejects,
        PrivateFile(file) as secrets,
    ):
        reader = RowReader(io.BytesIO(rows.encode()), "jsonl")
        register.fleet.import_devices(reader, rejects=rejects, secrets=secrets)
    return read_credentials(file, devices)
