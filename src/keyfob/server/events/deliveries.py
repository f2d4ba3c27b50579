# SPDX-License-Identifier: Apache-2.0
"""The deliveries of one server process: a stream for each receiver, woken when something changes.

Revocations come from this process and from others (the command line, another server), and receivers
come and go. One look at the register's change counter, which costs a few microseconds, sees all of
it; streams look further only then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Callable
from typing import Final, Protocol

import httpx

from keyfob.errors import ConfigError, UpstreamError
from keyfob.server.events.answer import Answer, Verdict
from keyfob.server.events.credentials import opened
from keyfob.server.events.push import Push
from keyfob.server.events.receiver import PendingEvent, Receiver
from keyfob.server.events.security_event import claims_of, token_id_of
from keyfob.server.events.stream import LEASE, WIDTH, DeliveryStore, Stream, full_jitter
from keyfob.server.events.told import DeliveryAudit, ignore_deliveries
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.signing.sealing import KeySealer
from keyfob.tokens.security_events import SET_TYPE
from keyfob.tokens.sign import SigningKey

__all__ = ["Deliveries", "ReceiverStore", "SigningKeys"]

# How often we look; where there is nobody to tell, only whether there is somebody by now.
_POLL: Final = 0.02
_IDLE_POLL: Final = 0.5
_ANEW: Final = 1.0

_log = logging.getLogger("keyfob.server.events")


class ReceiverStore(DeliveryStore, Protocol):
    """What the deliveries need of the register."""

    async def receivers(self) -> tuple[Receiver, ...]:
        """Return every receiver."""

    async def change_counter(self) -> int:
        """Return a number that changes whenever another connection commits."""


class SigningKeys(Protocol):
    """What the deliveries need of the key ring."""

    def signing_key(self, now: float) -> SigningKey:
        """Return the key that signs at a moment."""


class Deliveries:
    """Tells every receiver of what is revoked.

    Args:
        store: The register.
        keys: What signs, at the moment of a delivery.
        issuer: This server, as events name it.
        sealer: Opens the receivers' secrets; None: they are stored as they are.
        clock: Unix seconds.
        audit: Is told what is out of the usual.
        transport: What carries the requests instead of the network (httpx).
        lease: Seconds after which another process takes the place of one that was killed.
        jitter: Picks a wait below a ceiling, in seconds.
    """

    def __init__(
        self,
        store: ReceiverStore,
        keys: SigningKeys,
        *,
        issuer: str,
        sealer: KeySealer | None,
        clock: Callable[[], float],
        audit: DeliveryAudit = ignore_deliveries,
        transport: httpx.AsyncBaseTransport | None = None,
        lease: float = LEASE,
        jitter: Callable[[float], float] = full_jitter,
    ) -> None:
        self._store = store
        self._keys = keys
        self._issuer = issuer
        self._sealer = sealer
        self._clock = clock
        self._audit = audit
        self._transport = transport
        self._lease = lease
        self._jitter = jitter
        self._owner = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._streams: dict[Receiver, tuple[Stream, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Deliver until cancelled."""
        seen: int | None = None
        away = False
        try:
            while True:
                try:
                    counter = await self._store.change_counter()
                    if counter != seen:
                        await self._follow(await self._store.receivers())
                        seen = counter
                except UpstreamError as error:
                    if not away:
                        _log.warning("nothing is delivered meanwhile: %s", error.message)
                    away = True
                    await asyncio.sleep(_ANEW)
                    continue
                except Exception:  # noqa: BLE001 - whatever it is, what was revoked stays there
                    _log.warning("the register cannot be read for deliveries", exc_info=True)
                    await asyncio.sleep(_ANEW)
                away = False
                await asyncio.sleep(_POLL if self._streams else _IDLE_POLL)
        finally:
            await self._end(list(self._streams))

    async def _follow(self, receivers: tuple[Receiver, ...]) -> None:
        """Deliver to these, and to no others; look whether there is something new."""
        await self._end([one for one in self._streams if one not in receivers])
        for receiver in receivers:
            if receiver not in self._streams:
                self._begin(receiver)
        for stream, _ in self._streams.values():
            stream.wake()

    def _begin(self, receiver: Receiver) -> None:
        sender = _Sender(receiver, self._keys, self._issuer, self._clock)
        stream = Stream(
            receiver,
            store=self._store,
            owner=self._owner,
            push=sender.push,
            clock=self._clock,
            token_id=lambda event: token_id_of(event, self._issuer),
            audit=self._audit,
            lease=self._lease,
            jitter=self._jitter,
        )
        work = self._run(stream, sender)
        self._streams[receiver] = stream, asyncio.create_task(work, name=f"to {receiver.name}")

    async def _run(self, stream: Stream, sender: _Sender) -> None:
        try:
            # Reading CA certificates takes some 50 ms.
            await asyncio.to_thread(sender.open, self._sealer, self._transport)
            while True:
                try:
                    await stream.run()
                except Exception:  # noqa: BLE001 - a fault of ours is no end of it
                    _log.exception("the deliveries to %s begin anew", sender.name)
                    await asyncio.sleep(_ANEW)
        finally:
            await sender.aclose()

    async def _end(self, receivers: list[Receiver]) -> None:
        tasks = [self._streams.pop(receiver)[1] for receiver in receivers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Sender:
    """Signs an event and pushes it, in that order and never before the moment it is sent."""

    def __init__(
        self, receiver: Receiver, keys: SigningKeys, issuer: str, clock: Callable[[], float]
    ) -> None:
        self.name = receiver.name
        self._receiver = receiver
        self._keys = keys
        self._issuer = issuer
        self._clock = clock
        self._push: Push | None = None
        self._fault = ""

    def open(self, sealer: KeySealer | None, transport: httpx.AsyncBaseTransport | None) -> None:
        """Make what pushes; where that cannot be made, every push says so."""
        try:
            self._push = Push(
                self._receiver.url,
                credential=opened(self._receiver, sealer),
                ca=self._receiver.ca,
                connections=WIDTH,
                clock=self._clock,
                transport=transport,
            )
        except ConfigError:
            self._fault = "secret_unreadable"
        except (ValueError, ImportError, OSError) as error:
            # A proxy in the environment that is none; its text may hold a password.
            self._fault = "cannot_connect"
            _log.warning("nothing can connect to %s: %s", self.name, type(error).__name__)

    async def push(self, event: PendingEvent) -> Answer:
        """Sign and send; see ``Stream``."""
        if self._push is None:
            return Answer(verdict=Verdict.FAILED, reason=self._fault)
        now = self._clock()
        try:
            key = self._keys.signing_key(now)
        except OAuthError as error:
            return Answer(verdict=Verdict.FAILED, reason=error.reason)
        claims = claims_of(event, issuer=self._issuer, audience=self._receiver.audience, now=now)
        return await self._push.send(key.sign(claims, typ=SET_TYPE))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._push is not None:
            await self._push.aclose()
