# SPDX-License-Identifier: Apache-2.0
"""One device of a fleet, as the SDK's users write one: a token source, a client, and its life.

It publishes to a topic of its own, and reads it where its rights let it, so it knows of each of its
messages whether it came. What the SDK does underneath is counted by its own hooks.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import re
import ssl
import time
from dataclasses import dataclass
from typing import Any, Final

import aiomqtt
import paho.mqtt.client as mqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keyfob.device import Token, TokenSource
from keyfob.device.aiomqtt import Client
from keyfob.device.watching import Asked
from keyfob.errors import KeyfobError
from keyfob.simulation.figures import Ledger, Time, What
from keyfob.simulation.plan import Credential, Plan

__all__ = ["Device", "Surroundings"]

SESSION_EXPIRY: Final = 300
"""Seconds that a broker keeps a device's session: longer than a reconnect, and not for ever."""

KEEPALIVE: Final = 60
_REFUSED: Final = 0x80
_ERRNO: Final = re.compile(r"\[Errno (\d{1,4})\]")
_CLOCK_GRAIN: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the devices of a process share.

    Attributes:
        plan: What they do.
        ledger: Where it is entered.
        begin: When it began, in seconds of ``time.monotonic``.
        trust: Whom they trust, at the server.
        broker: The same at the broker; None: without TLS.
        silence: Is set when nothing more is to be published.
        leave: Is set when they are to go.
    """

    plan: Plan
    ledger: Ledger
    begin: float
    trust: ssl.SSLContext
    broker: ssl.SSLContext | None
    silence: asyncio.Event
    leave: asyncio.Event


class Device:
    """A device.

    Args:
        around: What it shares with others.
        credential: Who it is.
        boot: When it boots, in seconds from the beginning.
    """

    def __init__(self, around: Surroundings, credential: Credential, boot: float) -> None:
        self._around = around
        self._ledger = around.ledger
        self._boot = boot
        self._topic = around.plan.topic_of(credential.client_id)
        self._chance = random.SystemRandom()
        self._not_before = 0.0
        self._number = 0
        self._source = TokenSource(
            around.plan.issuer,
            client_id=credential.client_id,
            client_secret=credential.secret,
            ca=around.trust,
            watch=self._asked,
        )
        self._source.subscribe(self._renewed)
        self._client_id = credential.client_id
        self._client: _CountedClient | None = None

    @property
    def connected(self) -> bool:
        """Whether it is connected now."""
        return self._client is not None and self._client.session.connected

    @property
    def on_the_way(self) -> int:
        """How many of its messages are not there yet, as far as it can know."""
        return 0 if self._client is None else len(self._client.sent_at)

    async def live(self) -> None:
        """Boot, connect, publish and read until it is told to leave."""
        await self._rest(self._around.begin + self._boot - time.monotonic())
        if not self._around.leave.is_set():
            await self._visit()

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._around.leave.wait(), max(seconds, 0.001))

    async def _visit(self) -> None:
        self._client = _CountedClient(self._around, self._source, self._client_id)
        async with contextlib.aclosing(self._client.reconnecting()) as connections:
            async for client in connections:
                async with client:
                    await self._use(client)
                if self._around.leave.is_set():
                    return

    async def _use(self, client: _CountedClient) -> None:
        """Publish and read until the connection ends, or the device leaves."""
        if self._around.plan.publish_every:
            await self._subscribe(client)
        reading = asyncio.create_task(self._read(client))
        tasks = {reading, asyncio.create_task(self._around.leave.wait())}
        publishing = asyncio.create_task(self._publish(client))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, publishing):
                task.cancel()
            await asyncio.wait({*tasks, publishing})
        client.leaving = self._around.leave.is_set()
        if not client.leaving and not reading.cancelled():
            reading.result()

    async def _subscribe(self, client: _CountedClient) -> None:
        # Its subscription lives in the session; where that is new, it has to be made again.
        codes: Any = await client.subscribe(self._topic, qos=self._around.plan.qos)
        client.follows = codes[0].value < _REFUSED
        self._ledger.count(What.SUBACK, _hex(codes[0].value))

    async def _publish(self, client: _CountedClient) -> None:
        plan = self._around.plan
        while plan.publish_every:
            with contextlib.suppress(TimeoutError):
                pause = plan.publish_every * self._chance.uniform(0.5, 1.5)
                await asyncio.wait_for(self._around.silence.wait(), pause)
                return
            self._number += 1
            client.number = self._number
            payload = f"{plan.run} {self._number}"
            # Where the connection ends meanwhile, the SDK keeps the message and sends it later.
            with contextlib.suppress(aiomqtt.MqttError):
                await client.publish(self._topic, payload, qos=plan.qos)

    async def _read(self, client: _CountedClient) -> None:
        async for message in client.messages:
            run, _, number = str(message.payload, "ascii", "replace").partition(" ")
            if run != self._around.plan.run or not number.isdigit():
                continue  # of an earlier run, or somebody else's
            sent_at = client.sent_at.pop(int(number), None)
            if sent_at is None:
                self._ledger.count(What.TWICE)
            else:
                self._ledger.count(What.RECEIVED)
                self._ledger.took(Time.MESSAGE, time.monotonic() - sent_at)

    # What the token source tells, in the thread of a renewal

    def _asked(self, asked: Asked) -> None:
        ledger, code = self._ledger, f"{asked.status or ''} {asked.error}".strip()
        if not asked.posted:
            ledger.count(What.METADATA, code)
            return
        ledger.asked(int(asked.began - self._around.begin))
        ledger.took(Time.TOKEN, asked.seconds)
        ledger.count(What.ANSWER, code)
        if asked.began < self._not_before - _CLOCK_GRAIN:
            ledger.count(What.TOO_EARLY)
        if asked.retry_after is not None:
            ledger.count(What.RETRY_AFTER, code)
            self._not_before = asked.began + asked.seconds + asked.retry_after

    def _renewed(self, token: Token) -> None:
        self._ledger.count(What.LIFETIME, f"{token.lifetime:g}")


class _CountedClient(Client):
    """The SDK's client, whose events are entered before aiomqtt hears of them.

    Args:
        around: What all devices share.
        source: The device's tokens.
        client_id: Its name.
    """

    def __init__(self, around: Surroundings, source: TokenSource, client_id: str) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY
        plan = around.plan
        super().__init__(
            plan.host,
            plan.port,
            auth=source,
            carry=plan.carry,
            renew=plan.renew,
            identifier=client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=properties,
            keepalive=KEEPALIVE,
            tls_context=around.broker,
        )
        self._ledger = around.ledger
        self._source = source
        self._asked_at = 0.0
        self._stands = False
        self._numbers: dict[int, int] = {}
        self.number = 0
        """Of the message that is about to be published."""
        self.sent_at: dict[int, float] = {}
        """When each message was published that is not there yet."""
        self.follows = False
        """Whether the device reads its own topic."""
        self.leaving = False
        self.session.on_show = self._shown

    def _shown(self, token: Token) -> None:
        if self._source.age_of(token) >= token.lifetime:
            self._ledger.count(What.EXPIRED_SHOWN)
        if self.session.connected:
            self._ledger.count(What.REAUTHENTICATION)
        else:
            self._asked_at = time.monotonic()

    async def _enter(self) -> None:
        try:
            await super()._enter()
        except aiomqtt.MqttError as error:
            self._ledger.count(What.NO_CONNECTION, _why(error))
            raise

    # What paho calls

    def _on_connect(self, *arguments: Any, **named: Any) -> None:
        code: int = arguments[3].value
        self._ledger.count(What.CONNACK, _hex(code))
        self._ledger.took(Time.CONNECT, time.monotonic() - self._asked_at)
        if code == 0 and self._stands:
            self._ledger.count(What.PLANNED)
        self._stands = code == 0
        super()._on_connect(*arguments, **named)

    def _on_disconnect(self, *arguments: Any, **named: Any) -> None:
        if not self.session.closing and self._stands:
            self._stands = False
            if not self.leaving:
                flags, code = arguments[2:4]
                said = _hex(code.value) if flags.is_disconnect_packet_from_server else "none"
                self._ledger.count(What.ENDING, said)
        super()._on_disconnect(*arguments, **named)

    def _publish(
        self, topic: str, payload: Any = None, qos: int = 0, *rest: Any, **named: Any
    ) -> Any:
        number = self.number
        if self.follows:
            self.sent_at[number] = time.monotonic()
        info = super()._publish(topic, payload, qos, *rest, **named)
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            self.sent_at.pop(number, None)
            return info
        self._ledger.count(What.SENT)
        if qos:
            self._numbers[info.mid] = number
        return info

    def _on_publish(self, *arguments: Any, **named: Any) -> None:
        number, code = self._numbers.pop(arguments[2], 0), arguments[3].value
        if code >= _REFUSED:
            self.sent_at.pop(number, None)
            self._ledger.count(What.REFUSED, _hex(code))
        else:
            self._ledger.count(What.ACKNOWLEDGED)
        super()._on_publish(*arguments, **named)


def _hex(code: int) -> str:
    return f"0x{code:02X}"


def _why(error: aiomqtt.MqttError) -> str:
    """Return a code for why no connection could be made; never what a peer wrote."""
    if isinstance(error, MqttConnectError):
        return "refused"
    if isinstance(error.__cause__, KeyfobError):
        return error.__cause__.code
    found = _ERRNO.search(str(error))
    return errno.errorcode.get(int(found[1]), "no_connection") if found else "no_connection"
