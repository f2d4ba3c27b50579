# SPDX-License-Identifier: Apache-2.0
"""One connection goes on with one token after the other while it sends and receives all it can."""

from __future__ import annotations

import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from keyfob.guard.session import SessionState
from tests.brokers.mosquitto.linking import token
from tests.brokers.mosquitto.plugin.broker import Broker, Plugin, build_plugin
from tests.brokers.mosquitto.plugin.fake_guard import PATIENCE, until
from tests.brokers.mosquitto.plugin.one_worker import OneWorker
from tests.mqtt5 import (
    AUTH,
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    REAUTHENTICATE,
    Client,
    Packet,
)

WINDOW: Final = 16
"""Messages that wait for an acknowledgement; the broker takes 20."""


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    return build_plugin(tmp_path_factory.mktemp("fast"), "plain")


def fresh(number: int) -> bytes:
    """The device's next token; each has its own identifier, end and rights."""
    now = int(time.time())
    scope = f"mqtt.connect mqtt.publish:dev1/+ mqtt.subscribe:dev1/%23 mqtt.publish:own/{number}"
    return token(iat=now - 10, exp=now + 600 + number, jti=f"t{number}", scope=scope)


class Busy:
    """A client that is sent all that it sends, at QoS 1 and 2, and counts it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.sent: Counter[str] = Counter()
        self.received: list[tuple[str, bytes]] = []
        self.again = 0  # messages that the broker marks as sent before
        self.renewed = 0
        self.refused: list[Packet] = []
        self.renewing = False
        self._room = threading.Semaphore(WINDOW)
        self._lock = threading.Lock()  # two threads write
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def send(self, qos: int) -> None:
        """Publish the next message of a QoS, once there is room."""
        assert self._room.acquire(timeout=PATIENCE)
        topic = f"dev1/q{qos}"
        with self._lock:
            self.client.send(topic, b"%d" % self.sent[topic], qos)
        self.sent[topic] += 1

    def renew(self, data: bytes) -> None:
        """Show another token, unless the last one is not answered yet."""
        self.renewing = True
        with self._lock:
            self.client.send_auth(REAUTHENTICATE, data)

    def settle(self) -> None:
        """Wait until all that was sent has come back."""
        until(lambda: len(self.received) >= self.sent.total() or self._ended.is_set(), "messages")
        for _ in range(WINDOW):
            assert self._room.acquire(timeout=PATIENCE), "an acknowledgement is missing"

    def stop(self) -> None:
        """End."""
        self.client.hang_up()
        self._reader.join(PATIENCE)
        self.client.close()

    def _answer(self, kind: int, packet: Packet, flags: int = 0) -> None:
        with self._lock:
            self.client.say(kind, struct.pack(">H", packet.identifier), flags)

    def _read(self) -> None:
        while (packet := self.client.read()) is not None:
            self._take(packet)
        self._ended.set()

    def _take(self, packet: Packet) -> None:
        match packet.kind:
            case _ if packet.kind == PUBLISH:
                self.received.append(packet.message)
                self.again += bool(packet.flags & 0b1000)
                self._answer(PUBACK if packet.flags & 0b110 == 0b010 else PUBREC, packet)
            case _ if packet.kind in (PUBACK, PUBCOMP):
                self._room.release()
            case _ if packet.kind == PUBREC and packet.reason < 0x80:
                self._answer(PUBREL, packet, 2)
            case _ if packet.kind == PUBREL:
                self._answer(PUBCOMP, packet)
            case _ if packet.kind == AUTH and packet.reason == 0:
                self.renewed += 1
                self.renewing = False
            case _:
                self.refused.append(packet)


@pytest.fixture
def worker(directory: Path) -> Iterator[OneWorker]:
    with OneWorker(directory / "guard.sock") as started:
        yield started


def renew_under_load(broker: Broker, worker: OneWorker, times: int) -> int:
    """Renew so often while messages go there and back; return how many did."""
    client = Client(broker.port, "dev1")
    answer = client.connect(fresh(0))
    assert answer is not None
    assert (answer.kind, answer.reason) == (CONNACK, 0)
    assert client.subscribe("dev1/#", 2) == 2
    busy = Busy(client)
    try:
        number = 0
        while busy.renewed < times and not busy.refused:
            if not busy.renewing and number < times:
                number += 1
                busy.renew(fresh(number))
            busy.send(1)
            busy.send(2)
        busy.settle()
        assert busy.refused == []
        assert busy.again == 0
        for topic, count in busy.sent.items():
            came = [int(payload) for name, payload in busy.received if name == topic]
            assert came == list(range(count)), topic
        session = worker.session("dev1")
        assert session is not None
        assert (session.state, session.token_id) == (SessionState.ONLINE, f"t{times}")
        assert any(str(rule.filter) == f"own/{times}" for rule in session.permissions.rules)
        assert broker.log.count("New client connected") == 1
        return busy.sent.total()
    finally:
        busy.stop()


def run(directory: Path, fast: Plugin, worker: OneWorker, program: str, times: int) -> int:
    quiet = ("log_type notice", "log_type warning", "log_type error")
    path = directory / "guard.sock"
    with Broker(directory, fast, path, lines=quiet, program=program) as broker:
        return renew_under_load(broker, worker, times)


def test_a_hundred_renewals_lose_and_double_nothing(
    directory: Path, fast: Plugin, worker: OneWorker, any_program: str
) -> None:
    run(directory, fast, worker, any_program, 100)


@pytest.mark.soak
def test_a_thousand_renewals_lose_and_double_nothing(
    directory: Path, fast: Plugin, worker: OneWorker, any_program: str
) -> None:
    began = time.monotonic()
    messages = run(directory, fast, worker, any_program, 1000)
    seconds = time.monotonic() - began
    print(f"\n1,000 renewals, {messages} messages each way in {seconds:.1f} s: {any_program}")
