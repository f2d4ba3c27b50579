# SPDX-License-Identifier: Apache-2.0
"""How long after a revocation reached the guard the MQTT client's connection ends.

Guard and Mosquitto on this machine. A security event is pushed to the guard (RFC 8935), which has
it on the disk before it answers 202. From the moment when the request was sent is counted until the
client, a raw socket over TCP, sees its end, and until the answer comes: two sockets of one process
that waits for both, so neither is seen later because of the other. The last row of a broker is how
long after the answer the end came; that it came before counts as 0.

    python -m bench.event_to_disconnect [ROUNDS]
"""

from __future__ import annotations

import http.client
import select
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.messages import Credentials, connect
from bench.rounds import print_table
from tests.interop.mosquittos import INSTALLED, NEWEST, program_of, version_of
from tests.running import PATIENCE, Installation, installation
from tests.system.foreign import STREAM_SECRET, Foreign, foreign_server

ROUNDS: Final = 200
_WARM: Final = 5


def run(rounds: int = ROUNDS) -> None:
    """Measure and print."""
    rows = []
    for name in (INSTALLED, NEWEST):
        program = program_of(name, print)
        with tempfile.TemporaryDirectory() as folder, foreign_server() as foreign:
            directory = Path(folder) / "data"
            directory.mkdir(mode=0o700)
            foreign.write_secrets(directory)
            sections = foreign.sections()
            with installation(
                directory,
                plain=True,
                program=program,
                issuers=[sections],
                mosquitto=["guard_timeout_ms = 5000"],  # the first question opens connections
            ) as running:
                taken = [_once(running, foreign, number) for number in range(_WARM + rounds)]
        counted = taken[_WARM:]
        for name_of_it, values in {
            "request to end": [end for end, _ in counted],
            "request to answer": [answer for _, answer in counted],
            "answer to end": [max(0.0, end - answer) for end, answer in counted],
        }.items():
            rows.append([f"{version_of(program)}, {name_of_it}", *_shown(values)])
    print_table(
        f"An event pushed to the guard, {rounds} times: the client's end of connection, the answer",
        ["broker", "p50 ms", "p99 ms", "longest ms"],
        rows,
    )


def _once(running: Installation, foreign: Foreign, number: int) -> tuple[float, float]:
    device = f"ended{number}"
    port = running.settings.mosquitto.plain_port
    with connect(port, Credentials(device, foreign.signed(device))) as connection:
        guard = http.client.HTTPConnection(
            "127.0.0.1", running.settings.guard.http.port, timeout=PATIENCE
        )
        guard.connect()
        headers = {
            "Content-Type": "application/secevent+jwt",
            "Authorization": f"Bearer {STREAM_SECRET}",
        }
        event = foreign.event(device)
        sent = time.perf_counter()
        guard.request("POST", "/events", event, headers)
        ended, answered = _both(connection, guard.sock)
        assert connection.recv(1) == b""
        answer = guard.getresponse()
        assert answer.status == 202, answer.read()
        guard.close()
    return ended - sent, answered - sent


def _both(*sockets: socket.socket) -> tuple[float, ...]:
    """When each had something to read."""
    seen: dict[socket.socket, float] = {}
    while len(seen) < len(sockets):
        ready, _, _ = select.select(
            [each for each in sockets if each not in seen], [], [], PATIENCE
        )
        assert ready, "the connection did not end, or there is no answer"
        now = time.perf_counter()
        seen.update(dict.fromkeys(ready, now))
    return tuple(seen[each] for each in sockets)


def _shown(values: list[float]) -> list[str]:
    p99 = statistics.quantiles(values, n=100, method="inclusive")[98]
    return [f"{value * 1000:.2f}" for value in (statistics.median(values), p99, max(values))]


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
