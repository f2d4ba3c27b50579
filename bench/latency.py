# SPDX-License-Identifier: Apache-2.0
"""How long a decision keeps its client waiting, and how long the decisions of others keep it.

First, from a client's CONNECT to its CONNACK, over TCP, one at a time, on brokers that wait for the
decision and on one that goes on meanwhile; and on one without the plugin. Then, from a client's
PINGREQ to its PINGRESP while a hundred others wait for decisions for which an introspection server
takes 500 ms each, on Mosquitto 2.1 that goes on.

    python -m bench.latency [ROUNDS]
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench.beside import broker_beside
from bench.connects import issued_tokens
from bench.messages import Credentials, connect_bytes, exactly
from bench.rounds import print_table
from tests.interop.mosquittos import INSTALLED, NEWEST, program_of, version_of
from tests.running import installation
from tests.system.foreign import foreign_server

ROUNDS: Final = 15
_BATCH: Final = 100  # connections of a variant in a round
_PENDING: Final = 100
_BROKERS: Final = ((INSTALLED, "blocking"), (NEWEST, "blocking"), (NEWEST, "delayed"))

_Connect = Callable[[], float]


def run(rounds: int = ROUNDS) -> None:
    """Measure and print."""
    _decisions(rounds)
    _pings(rounds)


def _decisions(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        connects: dict[str, _Connect] = {}
        for name, decisions in _BROKERS:
            program = program_of(name, print)
            place = Path(folder) / f"{name}-{decisions}"
            running = stack.enter_context(
                installation(
                    place / "data",
                    plain=True,
                    program=program,
                    mosquitto=[f'decisions = "{decisions}"'],
                )
            )
            port = running.settings.mosquitto.plain_port
            tokens = issued_tokens(running, (rounds + 1) * _BATCH + 1)
            repeated = next(tokens)
            what = f"{version_of(program)} {decisions}"
            connects[f"{what}, fresh token"] = _connecting(port, tokens)
            connects[f"{what}, repeated token"] = _connecting(port, itertools.repeat(repeated))
            if name == INSTALLED:
                none = stack.enter_context(broker_beside(running, place / "beside"))
                nobody = itertools.repeat(Credentials("nobody", ""))
                connects[f"{version_of(program)} without plugin"] = _connecting(none.port, nobody)
        waits: dict[str, list[float]] = {name: [] for name in connects}
        for number in range(rounds + 1):
            for name, connect in connects.items():
                taken = [connect() for _ in range(_BATCH)]
                waits[name] += taken if number else []  # the first round warms up
    print_table(
        f"From CONNECT to CONNACK, one at a time, {rounds * _BATCH} times, interleaved",
        ["broker", "p50 ms", "p99 ms", "longest ms"],
        [_row(name, values) for name, values in waits.items()],
    )


def _connecting(port: int, clients: Iterator[Credentials]) -> _Connect:
    def connect() -> float:
        packet = connect_bytes(next(clients))
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            began = time.perf_counter()
            connection.sendall(packet)
            answer = exactly(connection, 4)
            waited = time.perf_counter() - began
            assert answer[3] == 0, f"refused with {answer[3]:#x}"
            connection.sendall(b"\xe0\x00")
        return waited

    return connect


def _pings(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, foreign_server() as foreign:
        directory = Path(folder) / "data"
        directory.mkdir(mode=0o700)
        foreign.write_secrets(directory)
        program = program_of(NEWEST, print)
        with installation(
            directory,
            plain=True,
            program=program,
            mosquitto=['decisions = "delayed"'],
            issuers=[foreign.sections(timeout_ms=5000)],
        ) as running:
            port = running.settings.mosquitto.plain_port
            quiet = Credentials("quiet", running.enrol("quiet"))
            waits: dict[str, list[float]] = {"nobody waits": [], f"{_PENDING} wait": []}
            pending = 0.0
            with _connected(port, quiet) as connection:
                foreign.control(mood="slow")
                for number in range(rounds):
                    waits["nobody waits"] += _ping_until(connection, _in_a_second())
                    clients = [
                        Credentials(device, foreign.opaque(device))
                        for device in (f"waiting-{number}-{n}" for n in range(_PENDING))
                    ]
                    with _waiting(port, clients) as all_answered:
                        began = time.perf_counter()
                        waits[f"{_PENDING} wait"] += _ping_until(connection, all_answered)
                        pending += time.perf_counter() - began
    rows = [[*_row(name, values), str(len(values))] for name, values in waits.items()]
    print_table(
        f"Others' PINGs on Mosquitto {version_of(program)} delayed, {rounds} rounds of"
        f" {pending / rounds:.2f} s in which {_PENDING} introspections of 500 ms are pending",
        ["meanwhile", "p50 ms", "p99 ms", "longest ms", "pings"],
        rows,
    )


def _in_a_second() -> Callable[[], bool]:
    end = time.perf_counter() + 1
    return lambda: time.perf_counter() > end


@contextlib.contextmanager
def _connected(port: int, who: Credentials) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(connect_bytes(who))
        assert exactly(connection, 4)[3] == 0
        yield connection


@contextlib.contextmanager
def _waiting(port: int, clients: list[Credentials]) -> Iterator[Callable[[], bool]]:
    """Let clients connect; what is yielded tells whether all of them were let in."""
    with contextlib.ExitStack() as stack:
        connections = []
        for who in clients:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(connect_bytes(who))
            connections.append(connection)
        answers: list[int] = []

        def read() -> None:
            answers.extend(exactly(connection, 4)[3] for connection in connections)

        reader = threading.Thread(target=read)
        reader.start()
        yield lambda: not reader.is_alive()
        reader.join()
        assert answers == [0] * len(clients), answers


def _ping_until(connection: socket.socket, over: Callable[[], bool]) -> list[float]:
    waits = []
    while not over():
        began = time.perf_counter()
        connection.sendall(b"\xc0\x00")
        exactly(connection, 2)
        waits.append(time.perf_counter() - began)
        time.sleep(0.002)
    return waits


def _row(name: str, seconds: list[float]) -> list[str]:
    p99 = statistics.quantiles(seconds, n=100, method="inclusive")[98]
    shown = (statistics.median(seconds), p99, max(seconds))
    return [name, *(f"{value * 1000:.2f}" for value in shown)]


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
