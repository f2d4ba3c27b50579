# SPDX-License-Identifier: Apache-2.0
"""Connections through Mosquitto a second: tokens against no check at all and against password_file.

Each connection is made, answered and closed; eight at a time from one process, over TCP and over
TLS without resumption. A fresh token is one that the guard has never seen. CPU comes first: that of
the broker and that of the guard, per connection; the rate depends on the load generator, which
shares the machine.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from bench.beside import Beside, broker_beside
from bench.cpu import cpu_seconds
from bench.decisions import claims
from bench.messages import Credentials, connect_bytes
from bench.rounds import ROUNDS, interleave, print_table
from keyfob.cli.server_database import server_database
from keyfob.server.stores.store import open_store
from keyfob.tokens.sign import SigningKey
from tests.running import Installation, installation

COUNT: Final = 160  # connections of a variant in a round
AT_ONCE: Final = 8
DEVICES: Final = 16  # of those that come again
_PASSWORD: Final = "a-password-of-a-device"


def run(rounds: int = ROUNDS) -> None:
    """Measure and print."""
    with (
        tempfile.TemporaryDirectory() as name,
        installation(Path(name) / "data", plain=True) as running,
    ):
        folder = Path(name)
        access = _password_file(folder)
        with (
            broker_beside(running, folder / "anonymous") as anonymous,
            broker_beside(running, folder / "passwords", access) as passwords,
        ):
            settings = running.settings.mosquitto
            own = Beside(running.pid("mosquitto"), settings.plain_port, settings.port)
            guard = running.pid("guard")
            tls = ssl.create_default_context(cafile=running.ca)
            tls.check_hostname = False
            tokens = issued_tokens(running, 2 * (rounds + 1) * COUNT + DEVICES)
            repeated = [next(tokens) for _ in range(DEVICES)]
            nobody = [Credentials(f"device-{number}", "") for number in range(DEVICES)]
            known = [Credentials(f"device-{number}", _PASSWORD) for number in range(DEVICES)]
            who = {
                "token, fresh": (own, lambda: [next(tokens) for _ in range(COUNT)]),
                "token, repeated": (own, lambda: repeated * (COUNT // DEVICES)),
                "anonymous": (anonymous, lambda: nobody * (COUNT // DEVICES)),
                "password_file": (passwords, lambda: known * (COUNT // DEVICES)),
            }
            results = interleave(
                {
                    f"{name}, {way}": partial(_round, broker, guard, clients, context)
                    for name, (broker, clients) in who.items()
                    for way, context in (("TCP", None), ("TLS", tls))
                },
                rounds,
            )
    rows = [
        [name, *(f"{figures[key].median:,.0f} ({figures[key].spread})" for key in _FIGURES)]
        for name, figures in results.items()
    ]
    print_table(
        "Connections through Mosquitto: median (quartiles) of interleaved rounds",
        ["variant", "broker CPU us each", "guard CPU us each", "connections/s"],
        rows,
    )


_FIGURES: Final = ("broker", "guard", "rate")


def issued_tokens(running: Installation, count: int) -> Iterator[Credentials]:
    """Tokens as our server issues them, each of a device of its own; signed before the rounds."""
    store = open_store(server_database(running.settings))
    key = SigningKey.from_pem(store.keys.all()[0].private_key)
    store.close()
    issuer = running.settings.server.issuer
    return iter([Credentials(f"device-{n}", key.sign(claims(issuer, n))) for n in range(count)])


def _password_file(folder: Path) -> list[str]:
    path = folder / "passwords.txt"
    path.touch(0o600)
    for number in range(DEVICES):
        subprocess.run(
            ["mosquitto_passwd", "-b", str(path), f"device-{number}", _PASSWORD],
            check=True,
            capture_output=True,
        )
    return ["allow_anonymous false", f"password_file {path}"]


def _round(
    broker: Beside, guard: int, clients: Callable[[], list[Credentials]], tls: ssl.SSLContext | None
) -> Mapping[str, float]:
    packets = [connect_bytes(who) for who in clients()]
    before = cpu_seconds(broker.pid), cpu_seconds(guard)
    began = time.perf_counter()
    asyncio.run(_connect_all(broker, packets, tls))
    elapsed = time.perf_counter() - began
    time.sleep(0.15)  # the guard's audit follows in batches: it counts too
    used = [cpu_seconds(pid) - cpu for pid, cpu in zip((broker.pid, guard), before, strict=True)]
    return {
        "broker": used[0] / len(packets) * 1e6,
        "guard": used[1] / len(packets) * 1e6,
        "rate": len(packets) / elapsed,
    }


async def _connect_all(broker: Beside, packets: list[bytes], tls: ssl.SSLContext | None) -> None:
    left = iter(packets)

    async def client() -> None:
        for packet in left:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", broker.tls_port if tls else broker.port, ssl=tls
            )
            writer.write(packet)
            answer = await reader.readexactly(4)
            assert answer[3] == 0, f"refused with {answer[3]:#x}"
            writer.write(b"\xe0\x00")
            await writer.drain()
            writer.transport.abort()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(client())


if __name__ == "__main__":
    run()
