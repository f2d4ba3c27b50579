# SPDX-License-Identifier: Apache-2.0
"""A guard that security events are pushed to, and an issuer that signs them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from keyfob.guard.audit import AuditEvent, AuditLog
from keyfob.guard.database import Database
from keyfob.guard.events import EventReceiver, EventSource
from keyfob.guard.guard import Guard
from keyfob.guard.http_app import guard_app
from keyfob.guard.key_sources import KeySource, StaticKeySource
from keyfob.guard.revocations import RevocationStore
from keyfob.guard.seen_events import SeenEvents
from keyfob.guard.sessions import SessionStore
from keyfob.tokens.security_events import EventType
from keyfob.tokens.sign import SigningKey
from tests.guard.world import ISSUER, KEY, NOW, Clock, EventList, guard, key_set, trusted

AUDIENCE = "https://guard.example/events"
LIFETIME = 7200
HEADERS = {"Content-Type": "application/secevent+jwt"}


def iss_sub(subject: str = "dev1", issuer: str = ISSUER) -> dict[str, str]:
    return {"format": "iss_sub", "iss": issuer, "sub": subject}


def event_token(
    jti: str = "set-1",
    *,
    subject: Mapping[str, Any] | None = None,
    event: str = EventType.SESSION_REVOKED,
    key: SigningKey = KEY,
    typ: str = "secevent+jwt",
    **claims: Any,
) -> bytes:
    """Sign a good security event but for the claims given; None leaves one out."""
    members: dict[str, Any] = {
        "iss": ISSUER,
        "jti": jti,
        "iat": int(NOW),
        "aud": AUDIENCE,
        "sub_id": iss_sub() if subject is None else subject,
        "events": {event: {"event_timestamp": int(NOW)}},
    }
    members.update(claims)
    given = {name: value for name, value in members.items() if value is not None}
    return key.sign(given, typ=typ).encode()


@dataclass
class World:
    """A guard with its file, its audit, and a client of its HTTP."""

    keeper: Guard
    receiver: EventReceiver
    path: Path
    clock: Clock
    log: AuditLog
    sink: EventList
    http: httpx.AsyncClient

    async def push(self, token: bytes | str, **headers: str) -> httpx.Response:
        return await self.http.post("/events", content=token, headers={**HEADERS, **headers})

    def told(self) -> list[AuditEvent]:
        """Whatever the audit was told of security events."""
        self.log.flush()
        return [each for each in self.sink.events if each.outcome.value.startswith("event_")]

    def stored(self, table: str) -> int:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            counted = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(counted[0])


@asynccontextmanager
async def receiving(
    path: Path,
    *,
    keys: KeySource | None = None,
    authorization: str = "",
    clock: Clock | None = None,
    more: Callable[[], Mapping[str, EventSource]] = dict,
    **arguments: Any,
) -> AsyncIterator[World]:
    clock = clock or Clock()
    sink = EventList()
    issuer = trusted(max_lifetime=LIFETIME, **arguments)
    keys = keys or StaticKeySource(key_set(KEY))
    source = EventSource(trusted=issuer, keys=keys, audience=AUDIENCE, authorization=authorization)
    with Database.open(path) as database, AuditLog([sink]) as log:
        keeper = guard(
            clock=clock,
            issuer=issuer,
            keys=keys,
            sessions=SessionStore(database),
            revocations=RevocationStore(database),
            audit=log,
        )
        receiver = EventReceiver(
            {ISSUER: source, **more()},
            guard=keeper,
            seen=SeenEvents(database),
            audit=log,
            clock=clock,
            keys_wait=30.0,
        )
        transport = httpx.ASGITransport(guard_app(keeper.health, events=receiver))
        async with httpx.AsyncClient(transport=transport, base_url="http://guard") as http:
            yield World(keeper, receiver, path, clock, log, sink, http)
