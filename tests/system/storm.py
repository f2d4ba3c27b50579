# SPDX-License-Identifier: Apache-2.0
"""Clients that try to connect again and again, each time with a token that nobody has seen.

A program of its own, so that it takes no time from who measures. It ends when its standard input
does, and prints what became of the CONNECTs: the CONNACK's return code, or "closed" without one.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen

from tests.system.raw_mqtt import connect_packet

PAUSE = 0.1
"""Seconds between two attempts of one client."""
PATIENCE = 30.0


@contextmanager
def storm(port: int, clients: int) -> Iterator[Counter[str]]:
    """Let clients try as long as the block lasts; afterwards the counter tells what came of it."""
    command = [sys.executable, "-m", __name__, str(port), str(clients)]
    became: Counter[str] = Counter()
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "trying\n"
        try:
            yield became
        finally:
            output, _ = process.communicate(timeout=2 * PATIENCE)
        became.update(json.loads(output))


async def attempt(port: int, client_id: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(connect_packet(client_id, client_id, secrets.token_urlsafe(32)))
        connack = await asyncio.wait_for(reader.readexactly(4), PATIENCE)
        return str(connack[3])
    except (ConnectionError, asyncio.IncompleteReadError):
        return "closed"
    finally:
        writer.close()


async def client(port: int, client_id: str, stop: asyncio.Event, became: Counter[str]) -> None:
    while not stop.is_set():
        became[await attempt(port, client_id)] += 1
        await asyncio.sleep(PAUSE)


async def main(port: int, clients: int) -> None:
    stop, became = asyncio.Event(), Counter[str]()
    trying = [client(port, f"storm-{n}", stop, became) for n in range(clients)]
    work = asyncio.gather(*trying)
    print("trying", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    stop.set()
    await work
    print(json.dumps(became))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
