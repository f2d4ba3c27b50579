# SPDX-License-Identifier: Apache-2.0
"""A guard under test: a clock that stands, an issuer that signs, an HTTP server that misbehaves."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from keyfob.authorization.decision import ConnectRequest
from keyfob.authorization.permissions import Operation, Permissions, Rule
from keyfob.authorization.policy import Policy
from keyfob.guard.audit import AuditEvent
from keyfob.guard.backoff import Backoff
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.key_sources import HttpKeySource, KeySource, StaticKeySource
from keyfob.guard.session import PluginRecord, Session, SessionState
from keyfob.mqtt.topics import TopicFilter
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import TrustedIssuer

ISSUER = "https://as.example"
NOW = 1_790_000_000.0
KEY = SigningKey.generate()
OTHER_KEY = SigningKey.generate()


@dataclass
class Clock:
    """Seconds that pass only when a test says so."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def jwks(*keys: SigningKey) -> bytes:
    return json.dumps({"keys": [key.public_jwk() for key in keys]}).encode()


def key_set(*keys: SigningKey) -> KeySet:
    return KeySet.from_jwks(jwks(*keys))


def trusted(**changes: Any) -> TrustedIssuer:
    values: dict[str, Any] = {
        "name": "example",
        "issuer": ISSUER,
        "audiences": frozenset({"mqtt"}),
        "algorithms": frozenset({"ES256"}),
    }
    return TrustedIssuer(**{**values, **changes})


def mint(device: str = "dev1", *, key: SigningKey = KEY, typ: str = "at+jwt", **claims: Any) -> str:
    """Sign a good token but for the claims given; None leaves one out."""
    members: dict[str, Any] = {
        "iss": ISSUER,
        "sub": device,
        "client_id": device,
        "aud": "mqtt",
        "iat": int(NOW) - 10,
        "exp": int(NOW) + 3600,
        "jti": f"jti-{device}",
        "scope": "mqtt.connect mqtt.publish:up/+ mqtt.subscribe:down/%23",
    }
    members.update(claims)
    given = {name: value for name, value in members.items() if value is not None}
    return key.sign(given, typ=typ)


def request(client_id: str = "dev1", token: str | None = None, **changes: Any) -> ConnectRequest:
    """A CONNECT with the token in the password."""
    values: dict[str, Any] = {"client_id": client_id, "username": client_id.encode()}
    values["password"] = (mint(client_id) if token is None else token).encode()
    return ConnectRequest(**{**values, **changes})


def guard(
    *,
    clock: Callable[[], float] | None = None,
    keys: KeySource | None = None,
    policy: Policy | None = None,
    issuer: TrustedIssuer | None = None,
    more: Sequence[IssuerBinding] = (),
    **arguments: Any,
) -> Guard:
    binding = IssuerBinding(
        trusted=issuer or trusted(),
        keys=keys or StaticKeySource(key_set(KEY)),
        policy=policy or Policy(),
    )
    bindings = {each.trusted.issuer: each for each in (binding, *more)}
    return Guard(bindings, clock=clock or Clock(), **arguments)


def permissions(*filters: str) -> Permissions:
    return Permissions.allow_only(
        Rule(operations=Operation.SUBSCRIBE, filter=TopicFilter.parse(text)) for text in filters
    )


def session(client_id: str = "dev1", **changes: Any) -> Session:
    values: dict[str, Any] = {
        "broker": "b1",
        "client_id": client_id,
        "epoch": 1,
        "state": SessionState.ONLINE,
        "clean": False,
        "principal": client_id,
        "issuer": ISSUER,
        "subject": client_id,
        "client": client_id,
        "token_id": f"jti-{client_id}",
        "issued_at": NOW - 10,
        "expires_at": NOW + 3600,
        "permissions": permissions("down/#"),
    }
    return Session(**{**values, **changes})


def record(client_id: str = "dev1", **changes: Any) -> PluginRecord:
    values: dict[str, Any] = {
        "client_id": client_id,
        "epoch": 1,
        "state": SessionState.ONLINE,
        "clean": False,
        "assigned": False,
        "principal": client_id,
        "issuer": ISSUER,
        "subject": client_id,
        "token_id": f"jti-{client_id}",
        "client": client_id,
        "proven": None,
        "expires_at": NOW + 3600,
        "permissions": permissions("down/#"),
    }
    return PluginRecord(**{**values, **changes})


@dataclass
class EventList:
    """An audit sink that keeps what it is given."""

    events: list[AuditEvent] = field(default_factory=list)

    def write(self, events: Sequence[AuditEvent]) -> None:
        self.events.extend(events)

    def close(self) -> None: ...


Handler = Callable[[asyncio.StreamWriter, str], Awaitable[None]]


@dataclass
class HttpServer:
    """A real HTTP server on a free loopback port, whose answers a test writes byte by byte."""

    url: str = ""
    routes: dict[str, Handler] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    def answer(
        self,
        path: str,
        body: bytes | str,
        *,
        status: int = 200,
        headers: str = "",
        after: asyncio.Event | None = None,
    ) -> None:
        """Answer a path with a whole body, at once or after something has happened."""
        data = body.encode() if isinstance(body, str) else body
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n{headers}\r\n"

        async def handle(writer: asyncio.StreamWriter, _: str) -> None:
            if after is not None:
                await after.wait()
            writer.write(head.encode() + data)

        self.routes[path] = handle

    def count(self, path: str) -> int:
        return sum(line.split("?")[0] == path for line in self.requests)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *rest = head.decode().split("\r\n")
                target = line.split(" ")[1]
                pairs = (row.split(": ", 1) for row in rest if row)
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append(target)
                self.headers.append(headers)
                self.bodies.append(body)
                handle = self.routes.get(target.split("?")[0])
                if handle is None:
                    writer.write(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
                else:
                    await handle(writer, target)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.serving.discard(task)
            writer.close()


@asynccontextmanager
async def http_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpServer]:
    served = HttpServer()
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    served.url = f"{'https' if tls else 'http'}://localhost:{port}"
    async with server:
        try:
            yield served
        finally:
            # Handlers that hang on purpose.
            hanging = tuple(served.serving)
            for task in hanging:
                task.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)


def keys_at(http: HttpServer, clock: Clock) -> HttpKeySource:
    """Return a source of the keys at ``/jwks`` that asks again at once after a failure."""
    quick = Backoff(base=1.0, cap=1.0, jitter=lambda _: 0.001)
    return HttpKeySource(ISSUER, jwks_uri=f"{http.url}/jwks", monotonic=clock, backoff=quick)


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until something holds; the pytest timeout is the patience."""
    while not condition():  # noqa: ASYNC110 - conditions of any kind
        await asyncio.sleep(0.001)
