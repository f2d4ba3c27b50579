# SPDX-License-Identifier: Apache-2.0
"""How long after a revocation reached the guard the MQTT client's connection ends.

Guard and Mosquitto on this machine. A security event is pushed to the guard (RFC 8935), which has
it on the disk before it answers 202. Counted is until the client, a raw socket over TCP, sees its
end: from the moment when the request was sent, the disk included, and from the moment of the
answer; that the connection ended before the answer was read counts as 0.

    python -m bench.event_to_disconnect [ROUNDS]
"""

from __future__ import annotations

import http.client
import select
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
        for begin, values in zip(
            ("the request", "the answer"), zip(*taken[_WARM:], strict=True), strict=True
        ):
            rows.append([f"{version_of(program)}, from {begin}", *_shown(values)])
    print_table(
        f"From an event pushed to the guard to the client's end of connection, {rounds} times",
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
        answer = guard.getresponse()
        assert answer.status == 202, answer.read()
        answered = time.perf_counter()
        assert select.select([connection], [], [], PATIENCE)[0], "the connection did not end"
        ended = time.perf_counter()
        early = ended - answered < 2e-5  # it had ended before
        assert connection.recv(1) == b""
        guard.close()
    return ended - sent, 0.0 if early else ended - answered


def _shown(values: tuple[float, ...]) -> list[str]:
    p99 = statistics.quantiles(values, n=100, method="inclusive")[98]
    return [f"{value * 1000:.2f}" for value in (statistics.median(values), p99, max(values))]


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
