# SPDX-License-Identifier: Apache-2.0
"""Messages through Mosquitto, with the plugin and without it: rate, and broker CPU per message.

Three brokers run side by side: without a plugin, with one that allows everything and does no more,
which is what no plugin can save, and with Keyfob's, where clients have 2, 8 or 64 filters, of
which the last one matches. Eight publishers each send to one subscriber, 64 bytes a message, in a
closed loop: a window of 64 messages with QoS 0, of 20 with QoS 1 (publisher to broker). Each round
loads one broker after the other. CPU is the broker's own time on a processor
(/proc/PID/schedstat), the primary figure: rates depend on the load generator, which shares the
machine.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench.beside import broker_beside
from bench.cpu import cpu_seconds
from bench.empty_plugin import build_empty_plugin
from bench.rounds import interleave, print_table
from tests.running import Installation, installation

_NONE: Final = "no plugin, anonymous"
_EMPTY: Final = "an empty plugin, anonymous"
PAIRS: Final = 8
FILTERS: Final = (2, 8, 64)
PAYLOAD: Final = b"x" * 64
SECONDS: Final = 0.6
WINDOW: Final = {0: 64, 1: 20}


def run() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, brokers(Path(folder)) as loads:
        results = interleave(
            {
                f"{name} QoS {qos}": partial(load.round, qos)
                for name, load in loads.items()
                for qos in (0, 1)
            }
        )
    rows = []
    for qos in (0, 1):
        none = results[f"{_NONE} QoS {qos}"]
        for name in loads:
            series = results[f"{name} QoS {qos}"]
            cpu, rate = series["cpu"].over(none["cpu"]), series["rate"].over(none["rate"])
            rows.append(
                [
                    f"{name}, QoS {qos}",
                    f"{series['cpu'].median:.2f} ({series['cpu'].spread})",
                    f"{series['rate'].median:,.0f} ({series['rate'].spread})",
                    f"{cpu.median:.3f} ({cpu.spread})",
                    f"{rate.median:.3f} ({rate.spread})",
                ]
            )
    print_table(
        "Messages through Mosquitto: median (quartiles) of interleaved rounds",
        ["variant", "broker CPU us/message", "messages/s", "CPU / none", "rate / none"],
        rows,
    )


@contextlib.contextmanager
def brokers(folder: Path) -> Iterator[dict[str, Load]]:
    """Start an installation, and a Mosquitto with the same configuration but no plugin."""
    with installation(folder / "data", plain=True) as running:
        tokens = {
            filters: [device_tokens(running, number, filters) for number in range(PAIRS)]
            for filters in FILTERS
        }
        plugin = build_empty_plugin(folder / "empty_plugin.so")
        empty_access = ("allow_anonymous true", f"plugin {plugin}")
        with (
            broker_beside(running, folder / "none") as none,
            broker_beside(running, folder / "empty", empty_access) as empty,
        ):
            pid = running.pid("mosquitto")
            nobodies = [_nobody(number) for number in range(PAIRS)]
            yield {
                _NONE: Load(none.pid, none.port, nobodies),
                _EMPTY: Load(empty.pid, empty.port, nobodies),
                **{
                    f"plugin, {filters} filters": Load(
                        pid, running.settings.mosquitto.plain_port, pairs, filters
                    )
                    for filters, pairs in tokens.items()
                },
            }


@dataclass(frozen=True)
class Credentials:
    """Who a client is; without a token nobody in particular."""

    client_id: str
    token: str


def _nobody(number: int) -> tuple[Credentials, Credentials]:
    return Credentials(f"pub{number}", ""), Credentials(f"sub{number}", "")


def device_tokens(
    running: Installation, number: int, filters: int
) -> tuple[Credentials, Credentials]:
    """Two devices of a pair, the publisher and the subscriber; half of the filters say nothing."""
    made = []
    for role in ("pub", "sub"):
        device = f"{role}{number}-{filters}"
        rights = [f"bench/{filters:02}/{number}/other-{i}/#" for i in range(filters // 2 - 1)]
        rights.append(f"bench/{filters:02}/{number}/#")
        made.append(Credentials(device, running.enrol(device, publish=rights, subscribe=rights)))
    return made[0], made[1]


@dataclass
class Load:
    """Eight connected pairs on one broker."""

    pid: int
    port: int
    credentials: list[tuple[Credentials, Credentials]]
    filters: int = 0

    def __post_init__(self) -> None:
        """Connect everybody and subscribe."""
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        for number, (publisher, subscriber) in enumerate(self.credentials):
            sender = connect(self.port, publisher)
            receiver = connect(self.port, subscriber)
            topic = self.topic(number)
            packet = b"\x00\x01" + struct.pack("!H", len(topic)) + topic + b"\x00"
            receiver.sendall(b"\x82" + bytes([len(packet)]) + packet)
            assert exactly(receiver, 5)[4] == 0, "the subscription was refused"
            self.pairs.append((sender, receiver))

    def topic(self, number: int) -> bytes:
        """The pair's own topic."""
        return b"bench/%02d/%d/temperature" % (self.filters, number)

    def round(self, qos: int) -> Mapping[str, float]:
        """Send for a while; broker CPU in microseconds per message, and messages a second."""
        batches = [self.batch(number, qos) for number in range(PAIRS)]
        window = WINDOW[qos]
        delivered = [
            window * (2 + 2 + len(self.topic(number)) + len(PAYLOAD)) for number in range(PAIRS)
        ]
        count = 0
        began, cpu = time.perf_counter(), cpu_seconds(self.pid)
        while time.perf_counter() - began < SECONDS:
            for (sender, _), batch in zip(self.pairs, batches, strict=True):
                sender.sendall(batch)
            for (sender, receiver), length in zip(self.pairs, delivered, strict=True):
                exactly(receiver, length)
                if qos:
                    exactly(sender, 4 * window)
            count += window * PAIRS
        elapsed, used = time.perf_counter() - began, cpu_seconds(self.pid) - cpu
        return {"cpu": used / count * 1e6, "rate": count / elapsed}

    def batch(self, number: int, qos: int) -> bytes:
        """A window of PUBLISH packets."""
        topic = self.topic(number)
        packets = []
        for identifier in range(1, WINDOW[qos] + 1):
            body = struct.pack("!H", len(topic)) + topic
            body += struct.pack("!H", identifier) if qos else b""
            body += PAYLOAD
            packets.append(bytes([0x30 | qos << 1, len(body)]) + body)
        return b"".join(packets)


def connect_bytes(who: Credentials) -> bytes:
    """A CONNECT of MQTT 3.1.1; without credentials where there is no token."""
    body = b"\x00\x04MQTT\x04" + (b"\xc2" if who.token else b"\x02") + b"\x00\x00"
    for text in (who.client_id, *((who.client_id, who.token) if who.token else ())):
        body += struct.pack("!H", len(text)) + text.encode()
    length, remaining = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        remaining.append(digit | (0x80 if length else 0))
        if not length:
            break
    return b"\x10" + bytes(remaining) + body


def connect(port: int, who: Credentials) -> socket.socket:
    """Connect."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(connect_bytes(who))
    assert exactly(connection, 4)[3] == 0, f"{who.client_id} was refused"
    return connection


def exactly(connection: socket.socket, length: int) -> bytes:
    """Read that many bytes."""
    parts = []
    while length:
        part = connection.recv(min(length, 1 << 20))
        if not part:
            raise ConnectionError("the broker closed the connection")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    run()
