# SPDX-License-Identifier: Apache-2.0
"""CONNECTs at a steady rate through the guard's socket, half of them bad, each answer checked.

The rate is kept by the clock and not by the answers: a guard that falls behind is not asked less,
and what a CONNECT then waits for counts as its latency.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from keyfob.brokers.mosquitto import frames, wire
from keyfob.tokens.sign import SigningKey

__all__ = ["BAD", "BROKER", "GOOD", "HOT", "REPEATED", "Item", "Load", "make_pool", "put_load"]

BROKER: Final = "soak"
GOOD: Final = "allowed"
REPEATED: Final = 0.25
"""The share of good CONNECTs that show one of the HOT tokens once more; the others go through the
pool in order, so that none is still remembered when it comes again."""
HOT: Final = 500
ISSUER: Final = "https://as.example"

_REASONS: Final = {
    GOOD: 0,
    "token_expired": 0x87,
    "signature_invalid": 0x87,
    "audience_mismatch": 0x87,
    "token_malformed": 0x86,
    "issuer_unknown": 0x87,
    "scope_missing": 0x87,
    "client_id_mismatch": 0x85,
}
BAD: Final = tuple(kind for kind in _REASONS if kind != GOOD)
_HEADER: Final = struct.Struct("!IBBHI")


@dataclass(frozen=True, slots=True)
class Item:
    """One client with its token, and what the guard has to say of it."""

    kind: str
    client_id: str
    token: bytes


@dataclass
class Load:
    """What was asked and what came back.

    Attributes:
        asked: How many CONNECTs, by what had to be said of them.
        wrong: Answers that were others.
        latencies: Seconds from when a CONNECT was due to its answer.
        seconds: How long it took.
    """

    asked: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def make_pool(key: SigningKey, size: int, *, lifetime: int) -> list[Item]:
    """Make tokens, every second one bad, each bad one in one of the ways of BAD."""
    now = int(time.time())
    pool = []
    for number in range(size):
        kind = GOOD if number % 2 == 0 else BAD[number // 2 % len(BAD)]
        device = f"device-{number}"
        pool.append(Item(kind, device, _token(key, kind, device, now, lifetime)))
    return pool


def _token(key: SigningKey, kind: str, device: str, now: int, lifetime: int) -> bytes:
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "sub": device,
        "client_id": device,
        "aud": "mqtt",
        "iat": now - 60,
        "exp": now + lifetime,
        "jti": os.urandom(8).hex(),
        "scope": f"mqtt.connect mqtt.publish:d/{device}/# mqtt.subscribe:d/{device}/#",
    }
    changes: dict[str, dict[str, Any]] = {
        "token_expired": {"iat": now - 7200, "exp": now - 3600},
        "audience_mismatch": {"aud": "another"},
        "issuer_unknown": {"iss": "https://nobody.example"},
        "scope_missing": {"scope": "mqtt.publish:d/#"},
        "client_id_mismatch": {"sub": f"not-{device}"},
    }
    token = key.sign(claims | changes.get(kind, {}))
    if kind == "signature_invalid":
        head, _, signature = token.rpartition(".")
        other = "A" if signature[10] != "A" else "B"
        return f"{head}.{signature[:10]}{other}{signature[11:]}".encode()
    if kind == "token_malformed":
        return token.replace(".", "!", 1).encode()
    return token.encode()


def put_load(
    path: Path, pool: Sequence[Item], *, rate: float, seconds: float, tick: Callable[[], None]
) -> Load:
    """Ask over one link for some time.

    Args:
        path: The guard's socket.
        pool: From ``make_pool``.
        rate: CONNECTs a second.
        seconds: For how long.
        tick: Called about once a second.
    """
    link = _Link(path)
    try:
        return link.run(_draw(pool), rate, seconds, tick)
    finally:
        link.close()


def _draw(pool: Sequence[Item]) -> Iterator[Item]:
    """Go through the pool for ever, and show a token of the first HOT good ones now and then."""
    chance = random.Random(1)
    hot = [item for item in pool if item.kind == GOOD][:HOT]
    while True:
        for item in pool:
            if item.kind == GOOD and chance.random() < REPEATED:
                yield chance.choice(hot)
            else:
                yield item


class _Link:
    """The plugin's side of a guard link: one thread asks, one listens."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        hello = frames.Hello(
            lowest=frames.PROTOCOL_VERSION,
            highest=frames.PROTOCOL_VERSION,
            broker_instance=os.urandom(16),
            epoch=0,
            broker_version=2_000_011,
            broker_name=BROKER,
        )
        self._socket.sendall(wire.encode(hello) + wire.encode(frames.RecordsEnd()))
        self._waiting: dict[int, tuple[float, Item]] = {}
        self._load = Load()
        self._send_lock = threading.Lock()
        self._over = threading.Event()

    def close(self) -> None:
        self._socket.close()

    def run(
        self, items: Iterator[Item], rate: float, seconds: float, tick: Callable[[], None]
    ) -> Load:
        listener = threading.Thread(target=self._listen, daemon=True)
        listener.start()
        began = time.perf_counter()
        number, ticked = 0, began
        while (now := time.perf_counter()) < began + seconds:
            due = began + number / rate
            if now < due:
                time.sleep(min(due - now, 0.005))
                continue
            number += 1
            self._ask(number, due, next(items))
            if now - ticked > 1.0:
                ticked = now
                tick()
        self._load.seconds = time.perf_counter() - began
        self._settle(listener)
        return self._load

    def _settle(self, listener: threading.Thread) -> None:
        deadline = time.monotonic() + 30
        while self._waiting and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not self._waiting, f"{len(self._waiting)} CONNECTs were never answered"
        self._over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        listener.join(10)

    def _ask(self, epoch: int, due: float, item: Item) -> None:
        connect = frames.Connect(
            epoch=epoch,
            clean=True,
            assigned=False,
            protocol_level=4,
            client_id=item.client_id,
            username=None,
            password=item.token,
            peer="127.0.0.1",
            certificate_thumbprint=b"",
            delayed=True,
            wait_ms=5_000,
        )
        self._load.asked[item.kind] += 1
        self._waiting[epoch] = (due, item)
        self._send(wire.encode(connect, epoch))

    def _send(self, data: bytes) -> None:
        with self._send_lock:
            self._socket.sendall(data)

    def _listen(self) -> None:
        pending = b""
        while not self._over.is_set():
            try:
                data = self._socket.recv(1 << 16)
            except OSError:
                return
            if not data:
                return
            pending += data
            while len(pending) >= _HEADER.size:
                length, kind, _, _, request = _HEADER.unpack_from(pending)
                if len(pending) < _HEADER.size + length:
                    break
                if kind == 6:
                    self._answered(request, pending[_HEADER.size + 8])
                pending = pending[_HEADER.size + length :]

    def _answered(self, epoch: int, reason: int) -> None:
        due, item = self._waiting.pop(epoch)
        self._load.latencies.append(time.perf_counter() - due)
        if reason != _REASONS[item.kind]:
            self._load.wrong.append(f"{item.kind}: {reason:#x}")
        if reason == 0:
            # In, and gone again: nothing is stored of it.
            admitted = frames.Admitted(epoch=epoch, client_id=item.client_id)
            offline = frames.Offline(epoch=epoch, client_id=item.client_id, kept=False)
            self._send(wire.encode(admitted) + wire.encode(offline))
