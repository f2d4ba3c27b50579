# SPDX-License-Identifier: Apache-2.0
"""What the device's tests share: a clock that is set by hand, flows without I/O, rogue servers."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from keyfob.device.clock import Moment
from keyfob.device.flow import Answer, Exchange, Flow, Pause, Step
from keyfob.device.token import Token
from keyfob.errors import KeyfobError

T = TypeVar("T")
SECRET = "s3cret-that-nobody-may-see"
BOOT = "a-boot"


@dataclass
class SetClock:
    """A clock that goes when it is told to."""

    elapsed: float = 1_000.0
    wall: float = 1_800_000_000.0
    boot: str = BOOT
    sleepless: bool = True

    def __call__(self) -> Moment:
        return Moment(
            boot=self.boot, elapsed=self.elapsed, wall=self.wall, sleepless=self.sleepless
        )

    def pass_by(self, seconds: float) -> None:
        self.elapsed += seconds
        self.wall += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock."""
        self.wall += seconds


def token_of(clock: SetClock, **changes: Any) -> Token:
    """A token that was asked for now."""
    values: dict[str, Any] = {
        "access_token": "access",
        "token_type": "Bearer",
        "scope": "",
        "lifetime": 3600.0,
        "obtained": clock(),
    }
    return Token(**(values | changes))


def answer(members: Mapping[str, object] | bytes, status: int = 200, **headers: str) -> Answer:
    """An answer with a JSON body, or with these bytes."""
    body = members if isinstance(members, bytes) else json.dumps(members).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, headers=named, body=body)


def told(flow: Flow[T], answers: Iterable[Answer | KeyfobError | None]) -> tuple[list[Step], T]:
    """Run a flow by hand: its steps, and what it returns.

    An error is thrown in; a pause is answered with None.
    """
    steps: list[Step] = []
    left = iter(answers)
    try:
        steps.append(next(flow))
        while True:
            given = next(left)
            assert isinstance(steps[-1], Pause) == (given is None), steps[-1]
            step = flow.throw(given) if isinstance(given, KeyfobError) else flow.send(given)
            steps.append(step)
    except StopIteration as end:
        assert next(left, "none") == "none", "answers are left"
        return steps, end.value


def forms(steps: Iterable[Step]) -> list[Mapping[str, str] | None]:
    """The forms of a flow's exchanges, in their order; None: only read."""
    return [step.form for step in steps if isinstance(step, Exchange)]


Behaviour = Callable[[bytes, socket.socket], None]
"""Is given a whole request, and does to the connection what it likes."""


@dataclass
class Rogue:
    """An authorization server that does what it is told to, byte by byte; it counts requests."""

    port: int
    token: Behaviour
    requests: list[bytes] = field(default_factory=list, repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What its metadata say otherwise than they should."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def asked(self) -> int:
        """How many token requests there were."""
        return sum(request.startswith(b"POST /token") for request in self.requests)


def sends(
    body: bytes | Mapping[str, object],
    status: str = "200 OK",
    headers: str = "Content-Type: application/json\r\n",
) -> Behaviour:
    """Answer whole, and at once."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()

    def behave(_: bytes, connection: socket.socket) -> None:
        length = f"Content-Length: {len(text)}\r\nConnection: close\r\n"
        connection.sendall(f"HTTP/1.1 {status}\r\n{headers}{length}\r\n".encode() + text)

    return behave


def good(**changes: Any) -> Behaviour:
    """Answer with a new token each time."""
    numbers = iter(range(1, 10**9))

    def behave(request: bytes, connection: socket.socket) -> None:
        members = {
            "access_token": f"token-{next(numbers)}",
            "token_type": "Bearer",
            "expires_in": 3600,
        }
        sends({**members, **changes})(request, connection)

    return behave


@contextlib.contextmanager
def rogue(token: Behaviour) -> Iterator[Rogue]:
    """Run one, with proper metadata."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Rogue(listener.getsockname()[1], token)
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                thread = threading.Thread(target=serve, args=(connection,), daemon=True)
                threads.append(thread)
                thread.start()

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                request = _request(connection)
                server.requests.append(request)
                if request.startswith(b"GET "):
                    metadata = {
                        "issuer": server.url,
                        "token_endpoint": f"{server.url}/token",
                        "device_authorization_endpoint": f"{server.url}/device",
                    }
                    sends({**metadata, **server.metadata})(request, connection)
                else:
                    server.token(request, connection)

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(10)
            for thread in threads:
                thread.join(15)


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length and (more := connection.recv(65536)):
        body += more
    return head + b"\r\n\r\n" + body
