# SPDX-License-Identifier: Apache-2.0
"""Devices that live as devices do: get a token, connect, subscribe, publish, and go again.

They leave in every way that there is: by DISCONNECT, by losing the line, by connecting again while
the old connection still stands, and most often by staying until their token has expired.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from keyfob.tokens.verify import unverified
from tests.soak.ledger import Ledger
from tests.soak.mqtt5 import Address, Connection, RefusedError
from tests.soak.watch import PATIENCE, Watch

__all__ = ["Device", "Fleet", "Way"]

NOT_AUTHORIZED = 0x87
TAKEN = (0x00, 0x10)  # 0x10: taken, and nobody is subscribed
UNSEEN = 10.0
"""Seconds past its due end after which a connection that still stands is given up on."""


@dataclass
class Fleet:
    """What all devices share."""

    http: httpx.AsyncClient
    token_url: str
    addresses: tuple[Address, ...]
    ledger: Ledger
    watch: Watch
    interval: float
    counts: Counter[str] = field(default_factory=Counter)
    publishing: bool = True
    closing: bool = False


@dataclass(frozen=True)
class Way:
    """How a device of the soak behaves.

    Attributes:
        sometimes: Sources that only some of its tokens allow, beside those that it is owed.
        forgetful: Whether it gives its session up now and then, and begins a new one.
    """

    sometimes: tuple[str, ...] = ()
    forgetful: bool = False


class Device:
    """One device.

    Args:
        fleet: What it shares with the others.
        name: Its name and client identifier.
        secret: Its client secret.
        way: How it behaves.
        chance: Draws what it does.
    """

    def __init__(
        self, fleet: Fleet, name: str, secret: str, way: Way, chance: random.Random
    ) -> None:
        self._fleet = fleet
        self.name = name
        self._secret = secret
        self._way = way
        self._chance = chance
        self._always = fleet.ledger.sources[name]
        self._address = chance.choice(fleet.addresses)
        self._minders: set[asyncio.Task[None]] = set()

    async def live(self) -> None:
        """Come and go until the fleet closes."""
        while not self._fleet.closing:
            wide = self._chance.random() < 0.5
            allowed = self._always + (self._way.sometimes if wide else ())
            token = await self._token(allowed)
            if token is not None:
                await self._visit(token, allowed)
        for minder in tuple(self._minders):  # each leaves the set when it is done
            await minder

    async def _token(self, allowed: tuple[str, ...]) -> str | None:
        form = {"grant_type": "client_credentials"}
        if self._way.sometimes:
            scopes = ["mqtt.connect", f"mqtt.publish:s/{self.name}/#"]
            scopes += [f"mqtt.subscribe:s/{source}/+" for source in allowed]
            form["scope"] = " ".join(scopes)
        try:
            answer = await self._fleet.http.post(
                self._fleet.token_url, data=form, auth=(self.name, self._secret)
            )
        except httpx.TransportError:
            self._fleet.counts["token requests without an answer"] += 1
            await asyncio.sleep(self._chance.uniform(0.1, 0.5))
            return None
        token: str = answer.raise_for_status().json()["access_token"]
        self._fleet.counts["tokens"] += 1
        return token

    async def _visit(self, token: str, allowed: tuple[str, ...]) -> None:
        expires_at = float(unverified(token)[1]["exp"])
        connection = await self._connect(token, allowed, expires_at)
        if connection is None:
            await asyncio.sleep(self._chance.uniform(0.05, 0.4))
            return
        minder = asyncio.create_task(self._mind(connection, expires_at))
        self._minders.add(minder)
        minder.add_done_callback(self._minders.discard)
        publishing = asyncio.create_task(self._publish(connection, expires_at))
        try:
            if await self._subscribe(connection, allowed, expires_at):
                await self._leave(connection, expires_at)
        finally:
            publishing.cancel()
            await asyncio.wait({publishing})
        if self._chance.random() < 0.5 and self._fleet.publishing:
            await asyncio.sleep(self._chance.uniform(0, 5))

    async def _connect(
        self, token: str, allowed: tuple[str, ...], expires_at: float
    ) -> Connection | None:
        fleet = self._fleet
        credentials = (self.name, token) if self._chance.random() < 0.5 else (token, "")

        def on_message(topic: str, payload: bytes) -> None:
            fleet.ledger.delivered(self.name, topic, payload.decode(), allowed)

        try:
            if self._way.forgetful and fleet.publishing and self._chance.random() < 0.3:
                await self._forget(credentials)
            connection = await Connection.open(self._address, self.name, credentials, on_message)
        except RefusedError as refused:
            fleet.counts[f"refused with {refused.code}"] += 1
            if refused.code == NOT_AUTHORIZED:
                fleet.ledger.refused(self.name, "CONNECT", expires_at - time.time())
            return None
        except OSError:  # a TimeoutError is one
            fleet.counts["no broker"] += 1
            return None
        fleet.counts["connections"] += 1
        fleet.ledger.happened(
            self.name,
            time.time(),
            f"in, session {connection.session_present}, until {expires_at:.0f}, {len(allowed)}",
        )
        if not connection.session_present:
            fleet.ledger.found_no_session(self.name, time.time())
        return connection

    async def _forget(self, credentials: tuple[str, str]) -> None:
        """Give the session up, and come back for another.

        In two connections: Mosquitto saves no session whose connection began with clean start,
        however long it is to live (persist_write.c, 2.0.11 to 2.1.2).
        """
        fleet = self._fleet
        began = time.time()
        fleet.ledger.gives_up(self.name, began)
        connection = await Connection.open(
            self._address, self.name, credentials, _unexpected, clean_start=True
        )
        fleet.ledger.gave_up(self.name, began)
        fleet.counts["sessions given up"] += 1
        await connection.disconnect()

    async def _subscribe(
        self, connection: Connection, allowed: tuple[str, ...], expires_at: float
    ) -> bool:
        """Subscribe to all that is allowed, again each time, and try what is not."""
        ledger = self._fleet.ledger
        for source, code in zip(
            allowed,
            await connection.subscribe(*(f"s/{source}/+" for source in allowed)),
            strict=True,
        ):
            if code is None:
                return False
            if code != 1:
                ledger.refused(self.name, f"SUBSCRIBE to {source}", expires_at - time.time())
                return True
        ledger.subscribed(self.name, time.time())
        ledger.happened(self.name, time.time(), "subscribed")
        refused = [source for source in self._way.sometimes if source not in allowed]
        for code in await connection.subscribe(*(f"s/{source}/+" for source in refused), "s/#"):
            if code is not None and code < 0x80:
                ledger.trespasses.append(f"{self.name} subscribed to too much")
        return True

    async def _publish(self, connection: Connection, expires_at: float) -> None:
        fleet = self._fleet
        while not connection.ended.is_set():
            if fleet.publishing:
                text = fleet.ledger.sent(self.name, time.time())
                code = await connection.publish(f"s/{self.name}/d", text.encode())
                if code in TAKEN:
                    fleet.ledger.acknowledged(text, time.time())
                elif code is not None:
                    fleet.ledger.refused(self.name, "a PUBLISH", expires_at - time.time())
            await asyncio.sleep(self._chance.uniform(0.5, 1.5) * fleet.interval)

    async def _leave(self, connection: Connection, expires_at: float) -> None:
        """Stay a while, and go in one way or another."""
        way = self._chance.choice(("stay", "stay", "say", "drop", "replace"))
        stays = self._chance.uniform(0.2, 1) * max(0.2, expires_at - time.time())
        if way == "stay" or not self._fleet.publishing:
            await connection.ended.wait()
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(connection.ended.wait(), stays)
            return
        self._fleet.counts[f"left: {way}"] += 1
        if way == "say":
            await connection.disconnect()
        elif way == "drop":
            connection.drop()

    async def _mind(self, connection: Connection, expires_at: float) -> None:
        """See a connection to its end, whatever its device does meanwhile."""
        while not connection.ended.is_set():
            due = self._fleet.watch.due(expires_at)
            if time.time() > due + UNSEEN or self._fleet.closing:
                connection.drop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.ended.wait(), PATIENCE / 4)
        self._fleet.ledger.happened(self.name, time.time(), f"out, {connection.reason}")
        self._fleet.watch.connection_ended(self.name, expires_at)


def _unexpected(topic: str, payload: bytes) -> None:
    raise AssertionError(f"{payload!r} on {topic}, and nothing is subscribed")
