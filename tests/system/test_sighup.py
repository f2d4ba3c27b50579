# SPDX-License-Identifier: Apache-2.0
"""SIGHUP makes Mosquitto check every client again; nobody drops, and the guard is not asked."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from concurrent.futures import ThreadPoolExecutor

from tests.running import Installation, until
from tests.system.raw_mqtt import PINGREQ, PINGRESP, connect_packet

CLIENTS = 200


class RawClient:
    """The smallest MQTT 3.1.1 client: CONNECT, PING, and whether the connection lives."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(
        cls, running: Installation, device: str, username: str, password: str, *, tls: bool
    ) -> RawClient:
        context = ssl.create_default_context(cafile=running.ca) if tls else None
        port = running.port if tls else running.settings.mosquitto.plain_port
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
        writer.write(connect_packet(device, username, password, clean="keep" not in device))
        connack = await reader.readexactly(4)
        assert connack[3] == 0, f"{device} refused with {connack[3]}"
        return cls(reader, writer)

    async def alive(self) -> bool:
        try:
            self.writer.write(PINGREQ)
            return await asyncio.wait_for(self.reader.readexactly(2), 20) == PINGRESP
        except (OSError, asyncio.IncompleteReadError):
            return False


async def session(running: Installation, tokens: dict[str, str]) -> None:
    clients = []
    for number, (device, token) in enumerate(tokens.items()):
        username, password = (token, "") if number % 2 else (device, token)
        clients.append(
            await RawClient.connect(running, device, username, password, tls=bool(number % 4 < 2))
        )
    for client in clients[-20:]:  # offline sessions: their devices' names hold "keep"
        client.writer.transport.abort()
    online = clients[:-20]
    await asyncio.sleep(0.3)  # the audit is written in batches
    decisions = (
        (running.settings.directory / "log/audit.jsonl").read_text(encoding="utf-8").count("\n")
    )
    for _ in range(3):
        reloads = running.log().count("Reloading config")
        os.kill(running.pid("mosquitto"), signal.SIGHUP)
        await asyncio.to_thread(
            until, "the reload", lambda n=reloads: running.log().count("Reloading config") > n
        )
        assert all(await asyncio.gather(*(client.alive() for client in online)))
    await asyncio.sleep(0.3)
    after = (running.settings.directory / "log/audit.jsonl").read_text(encoding="utf-8").count("\n")
    assert after == decisions, "the guard was asked"
    for client in online:
        client.writer.close()


def test_sighup_drops_nobody_and_does_not_ask_the_guard(running: Installation) -> None:
    names = [f"hup{n}{'keep' if n >= CLIENTS - 20 else ''}" for n in range(CLIENTS)]
    with ThreadPoolExecutor(4) as pool:
        enrolled = pool.map(lambda name: running.enrol(name, subscribe=["hup/#"]), names)
        tokens = dict(zip(names, enrolled, strict=True))
    asyncio.run(session(running, tokens))
