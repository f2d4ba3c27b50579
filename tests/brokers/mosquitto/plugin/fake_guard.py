# SPDX-License-Identifier: Apache-2.0
"""A guard for tests of the plugin: it speaks the frames and decides as the test says.

It listens where the plugin connects and notes all that it hears. It reads with keyfob's own strict
codec, so that a wrong byte from the plugin fails the test.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from keyfob.authorization.permissions import Operation, Permissions, Rule
from keyfob.brokers.mosquitto.frames import (
    Connect,
    Continue,
    Frame,
    Hello,
    Reauthenticate,
    Record,
    RecordsEnd,
)
from keyfob.brokers.mosquitto.wire import FrameReader
from keyfob.errors import ProtocolError
from keyfob.mqtt.topics import TopicFilter
from tests.brokers.mosquitto.plugin import frames

__all__ = [
    "PATIENCE",
    "Decide",
    "FakeGuard",
    "Question",
    "allow",
    "allowed",
    "refuse",
    "until",
]

PATIENCE: Final = 10.0

Question = Connect | Reauthenticate | Continue
Decide = Callable[[Question, int], bytes | None]
"""What answers a question: the bytes of a DECISION, or None for silence."""


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that comes by itself."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, f"waited in vain: {what}"
        time.sleep(0.005)


def allowed(publish: Iterable[str] = (), subscribe: Iterable[str] = ()) -> bytes:
    """Return Permissions."""
    kinds = ((Operation.PUBLISH, publish), (Operation.SUBSCRIBE, subscribe))
    return frames.permissions(
        Permissions.allow_only(
            Rule(operations=operation, filter=TopicFilter.parse(text))
            for operation, texts in kinds
            for text in texts
        )
    )


def allow(
    publish: Iterable[str] = ("{id}/#",),
    subscribe: Iterable[str] = ("{id}/#",),
    *,
    seconds: float = 3600.0,
    principal: str = "",
    subject: str = "",
) -> Decide:
    """Return what lets everybody in; ``{id}`` stands for the client identifier."""
    publish, subscribe = tuple(publish), tuple(subscribe)

    def decide(connect: Question, request: int) -> bytes:
        name = connect.client_id

        def own(texts: tuple[str, ...]) -> list[str]:
            return [text.replace("{id}", name) for text in texts]

        return frames.decision(
            request,
            connect.epoch,
            allowed=allowed(own(publish), own(subscribe)),
            expires_at=int((time.time() + seconds) * 1000),
            principal=principal or f"principal-{name}",
            subject=subject or name,
        )

    return decide


def refuse(reason: int = 0x87) -> Decide:
    """Return what lets nobody in."""
    return lambda connect, request: frames.decision(request, connect.epoch, reason=reason)


class FakeGuard:
    """Listens, decides and notes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.decide: Decide = allow()
        self.greeting: list[bytes] = []  # the records that it knows
        self.links = 0  # that got ready
        self.connects: list[Connect] = []
        self.asked: list[Question] = []  # CONNECTs and what follows on them
        self.told: list[Frame] = []  # everything but HELLO and questions, over all links
        self.records: list[Record] = []  # told when the last link was opened
        self.hello: Hello | None = None
        self.complaints: list[str] = []
        self.accepted = 0  # links that were opened
        self.worker, self.workers = 0, 1  # as its WELCOME says
        self.leaves = False  # hears nothing any more, says its records and hangs up
        self.pauses = False  # reads nothing behind the next HELLO
        self.reads = threading.Event()  # while it is not set, nothing is read
        self.reads.set()
        self._listener: socket.socket | None = None
        self._link: socket.socket | None = None
        self._greeted: set[socket.socket] = set()  # links that said all their records
        self._lock = threading.Lock()

    def start(self) -> None:
        """Listen."""
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Close the socket and the link, as a guard that ends."""
        if self._listener is not None:
            # Without shutdown the accept that waits in the thread would keep the socket alive.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.path.unlink(missing_ok=True)
        self.hang_up()

    def hang_up(self) -> None:
        """Close the link."""
        if self._link is not None:
            with contextlib.suppress(OSError):
                self._link.shutdown(socket.SHUT_RDWR)

    def push(self, data: bytes) -> None:
        """Say something unasked."""
        assert self._link is not None
        with self._lock:
            self._link.sendall(data)

    def unread(self) -> bool:
        """Whether the plugin has said something that was not read yet."""
        assert self._link is not None
        try:
            return bool(self._link.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False

    def heard(self, kind: type[Frame], **fields: object) -> bool:
        """Whether a frame with these fields came."""
        return any(
            isinstance(frame, kind) and all(getattr(frame, n) == v for n, v in fields.items())
            for frame in tuple(self.told)
        )

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = listener.accept()
                self._link = link
                self.accepted += 1
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        reader = FrameReader()
        records: list[Record] = []
        with contextlib.suppress(OSError), link:
            while self.reads.wait() and (data := link.recv(65_536)):
                try:
                    taken = reader.feed(data)
                except ProtocolError as error:
                    self.complaints.append(error.message)
                    return
                for frame, request in taken:
                    self._take(link, frame, request, records)

    def _take(self, link: socket.socket, frame: Frame, request: int, records: list[Record]) -> None:
        if isinstance(frame, Hello):
            self.hello = frame
            if self.pauses:
                self.reads.clear()
            with self._lock:
                link.sendall(frames.welcome(self.worker, self.workers))
            return
        if isinstance(frame, Question):
            self.asked.append(frame)
            if isinstance(frame, Connect):
                self.connects.append(frame)
            answer = self.decide(frame, request)
            if answer is not None:
                with self._lock:
                    link.sendall(answer)
            return
        self.told.append(frame)
        if isinstance(frame, Record):
            records.append(frame)
        elif not isinstance(frame, RecordsEnd):
            if link not in self._greeted:
                self.complaints.append(f"{type(frame).__name__} among the records")
        else:
            self.records = records
            self._greeted.add(link)
            if self.leaves:
                link.shutdown(socket.SHUT_RD)  # from here on the plugin cannot send
            with self._lock:
                self.links += 1  # first: whoever waits for the end of the records finds it counted
                link.sendall(b"".join((*self.greeting, frames.records_end())))
            if self.leaves:
                link.shutdown(socket.SHUT_WR)
