# SPDX-License-Identifier: Apache-2.0
"""What a token costs the authorization server: client_credentials by form POST, ES256, SQLite.

Beside each other in every round: a floor that only parses and signs, the server with a thousand
registered devices, and the same with a million (``KEYFOB_BENCH_DEVICES``). Every request is for
another device, drawn at random, on one of sixteen connections that are kept. The servers have one
core, the load has the other; CPU is the server process's own (/proc/PID/schedstat, all threads).
No TLS: its cost is the same for all.

``--database URL`` names an empty PostgreSQL database, which the server with a thousand devices is
measured on as well; its CPU is then not all that a token costs: PostgreSQL has some, too.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from bench.cpu import cpu_seconds
from bench.rounds import ROUNDS, Series, interleave, print_table
from keyfob.server.clients import Client, ClientKind
from keyfob.server.credentials import hash_secret
from keyfob.server.scopes import device_scopes
from keyfob.server.stores.place import Place, place_of
from keyfob.server.stores.store import open_store

FEW: Final = 1_000
MANY: Final = int(os.environ.get("KEYFOB_BENCH_DEVICES", "1_000_000"))
CONNECTIONS: Final = 16
REQUESTS: Final = 4_000
_PIECE: Final = 20_000
_FLOOR: Final = "floor"
_FIGURES: Final = ("cpu", "rate", "p50", "p99")


def run(database: str = "") -> None:
    """Measure and print.

    Args:
        database: The URL of an empty PostgreSQL database; empty: SQLite alone.
    """
    few, many = f"{FEW:,} devices", f"{MANY:,} devices"
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        sizes = {few: FEW, many: MANY}
        variants = {_FLOOR: servers.enter_context(_served(FEW, "floor"))}
        for name, devices in sizes.items():
            place = Path(folder) / f"{devices}.db"
            _register(place, devices)
            variants[name] = servers.enter_context(_keyfob(devices, str(place), folder))
        if database:
            _register(place_of(database), FEW)
            variants["PostgreSQL"] = servers.enter_context(_keyfob(FEW, database, folder))
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(cores)})
        try:
            results = interleave(variants, ROUNDS)
        finally:
            os.sched_setaffinity(0, cores)
    rows = []
    for name, figures in results.items():
        share = results[_FLOOR]["cpu"].over(figures["cpu"])
        rows.append([name, *(_shown(figures[each]) for each in _FIGURES), _shown(share, 3)])
    print_table(
        f"client_credentials, {REQUESTS:,} requests a round on {CONNECTIONS} connections:"
        " median (quartiles) of interleaved rounds",
        ["what", "CPU us each", "requests/s", "p50 ms", "p99 ms", "of the floor, by CPU"],
        rows,
    )
    flat = results[many]["cpu"].over(results[few]["cpu"])
    print(f"\nCPU with {many} over {few}: {_shown(flat, 3)}")


def _shown(series: Series, digits: int = 2) -> str:
    shown = f"{series.median:,.0f}" if series.median >= 100 else f"{series.median:.{digits}f}"
    return f"{shown} ({series.spread})"


def _device(number: int) -> str:
    return f"device-{number:07d}"


def _register(database: Place, devices: int) -> None:
    """Register devices whose secret is their name, in one order and hashed as any other."""
    now = time.time()
    with contextlib.closing(open_store(database)) as store:
        for first in range(0, devices, _PIECE):
            with store.transaction():
                for number in range(first, min(devices, first + _PIECE)):
                    name = _device(number)
                    store.insert_client(
                        Client(
                            client_id=name,
                            kind=ClientKind.DEVICE,
                            secret_hash=hash_secret(name),
                            grants=("client_credentials",),
                            scopes=device_scopes(name, publish=["devices/{device}/#"]),
                            created_at=now,
                        )
                    )


@contextlib.contextmanager
def _keyfob(
    devices: int, database: str, folder: str
) -> Iterator[Callable[[], Mapping[str, float]]]:
    with (
        tempfile.TemporaryDirectory(dir=folder) as own,
        _served(devices, "keyfob", database, own) as measured,
    ):
        yield measured


@contextlib.contextmanager
def _served(devices: int, *arguments: str) -> Iterator[Callable[[], Mapping[str, float]]]:
    cores = os.sched_getaffinity(0)
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.token_server", *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        os.sched_setaffinity(process.pid, {min(cores)})
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        numbers = random.Random(devices)
        yield lambda: asyncio.run(_round(port, process.pid, devices, numbers))
    finally:
        process.terminate()
        process.communicate()


async def _round(port: int, pid: int, devices: int, numbers: random.Random) -> Mapping[str, float]:
    requests = iter([_request(_device(numbers.randrange(devices))) for _ in range(REQUESTS)])
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    cpu, began = cpu_seconds(pid), time.perf_counter()
    told = await asyncio.gather(*(_ask(*streams, requests) for streams in opened))
    elapsed, used = time.perf_counter() - began, cpu_seconds(pid) - cpu
    for _, writer in opened:
        writer.close()
        await writer.wait_closed()
    times = sorted(itertools.chain.from_iterable(told))
    assert len(times) == REQUESTS
    return {
        "cpu": used / REQUESTS * 1e6,
        "rate": REQUESTS / elapsed,
        "p50": times[REQUESTS // 2] * 1e3,
        "p99": times[REQUESTS * 99 // 100] * 1e3,
    }


def _request(device: str) -> bytes:
    basic = base64.b64encode(f"{device}:{device}".encode()).decode()
    body = "grant_type=client_credentials&scope=mqtt.connect"
    return (
        "POST /oauth2/token HTTP/1.1\r\nHost: as.example\r\n"
        f"Authorization: Basic {basic}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: Iterator[bytes]
) -> list[float]:
    times = []
    for request in requests:
        began = time.perf_counter()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200 "), head
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        answer = await reader.readexactly(length)
        times.append(time.perf_counter() - began)
        assert answer.startswith(b'{"access_token":"ey')
    return times


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", default="", help="an empty database in PostgreSQL")
    run(parser.parse_args().database)
