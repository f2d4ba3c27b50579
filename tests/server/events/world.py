# SPDX-License-Identifier: Apache-2.0
"""Deliveries under test: the real register, the real streams, and a receiver that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from keyfob.server.events.deliveries import Deliveries
from keyfob.server.events.receiver import ReceiverStatus
from keyfob.server.events.receiver_register import ReceiverRegister
from keyfob.server.events.told import DeliveryNote
from keyfob.server.register import Register
from keyfob.server.signing.sealing import KeySealer
from keyfob.server.stores.place import Place
from keyfob.server.stores.reads import make_reads
from keyfob.server.stores.serving_receivers import ServingReceivers
from keyfob.server.stores.store import open_store
from keyfob.server.stores.writer import Writer
from keyfob.tokens.sign import SigningKey

ISSUER = "https://as.example:8443"
URL = "https://guard.example/events"
KEY = SigningKey.generate()

dice = random.Random(1)

Handler = Callable[[dict[str, Any]], Awaitable[httpx.Response]]


@dataclass
class Keys:
    """The key ring, with one key."""

    key: SigningKey = KEY

    def signing_key(self, _: float) -> SigningKey:
        return self.key


async def accept(_: dict[str, Any]) -> httpx.Response:
    return httpx.Response(202)


def refusal(err: str) -> httpx.Response:
    return httpx.Response(400, json={"err": err, "description": "x"})


@dataclass
class Inbox(httpx.AsyncBaseTransport):
    """A receiver: what was pushed to it in order, and how many pushes are under way."""

    answer: Handler = accept
    key: SigningKey = KEY
    came: list[dict[str, Any]] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    open: int = 0
    most: int = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        token = (await request.aread()).decode()
        decoded = jwt.decode(token, ECKey.import_key(self.key.public_jwk()), algorithms=["ES256"])  # type: ignore[arg-type]
        assert decoded.header["typ"] == "secevent+jwt"
        claims = dict(decoded.claims)
        self.came.append(claims)
        self.headers.append(dict(request.headers))
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            answer = await self.answer(claims)
        finally:
            self.open -= 1
        if answer.status_code == 202:
            self.taken.append(claims)
        return answer


def device_of(claims: dict[str, Any]) -> str:
    subject = claims["sub_id"]
    name: str = (subject["device"] if subject["format"] == "complex" else subject)["sub"]
    return name


@dataclass
class World:
    """A register with one receiver, "guard"."""

    database: Place
    inbox: Inbox
    register: Register
    receivers: ReceiverRegister
    notes: list[DeliveryNote]

    def status(self, name: str = "guard") -> ReceiverStatus:
        return self.receivers.status(name)[1]

    def disable(self, *devices: str) -> None:
        for device in devices:
            with contextlib.suppress(Exception):
                self.register.add_device(device)
            self.register.disable_device(device)

    def told(self) -> list[str]:
        return [note.what for note in self.notes]

    async def until_told_of(self, count: int) -> None:
        await until(lambda: len(self.inbox.taken) >= count)
        await until(lambda: self.status().pending == 0)


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds; the pytest timeout is the patience."""
    while not condition():  # noqa: ASYNC110 - conditions of any kind
        await asyncio.sleep(0.005)


@asynccontextmanager
async def delivering(
    database: Place,
    inbox: Inbox | None,
    *,
    notes: list[DeliveryNote] | None = None,
    keys: Keys | None = None,
    sealer: KeySealer | None = None,
    clock: Callable[[], float] = time.time,
    lease: float = 5.0,
) -> AsyncIterator[Deliveries]:
    """Deliver as one process of the server does."""
    store, writer = open_store(database), Writer(database)
    reads = make_reads(database, store)
    deliveries = Deliveries(
        ServingReceivers(reads, writer),
        keys or Keys(),
        issuer=ISSUER,
        sealer=sealer,
        clock=clock,
        audit=(notes if notes is not None else []).append,
        transport=inbox,
        lease=lease,
        jitter=lambda ceiling: ceiling * 0.04 * dice.random(),
    )
    task = asyncio.create_task(deliveries.run())
    try:
        yield deliveries
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(writer.close)
        reads.close()
        store.close()


@asynccontextmanager
async def world(
    database: Place, *, answer: Handler = accept, running: bool = True, add: bool = True
) -> AsyncIterator[World]:
    inbox = Inbox(answer)
    notes: list[DeliveryNote] = []
    with (
        Register(open_store(database)) as register,
        ReceiverRegister(open_store(database), None) as receivers,
    ):
        if add:
            receivers.add("guard", url=URL)
        made = World(database, inbox, register, receivers, notes)
        if not running:
            yield made
            return
        async with delivering(database, inbox, notes=notes):
            yield made
