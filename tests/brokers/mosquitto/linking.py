# SPDX-License-Identifier: Apache-2.0
"""A guard with a socket, and a plugin that speaks to it: real tokens, real frames, no broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyfob.authorization.permissions import Operation, Permissions, Rule
from keyfob.authorization.policy import Policy
from keyfob.brokers.mosquitto import frames, wire
from keyfob.brokers.mosquitto.link import LinkServer
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.key_sources import StaticKeySource
from keyfob.guard.revocations import Revocation
from keyfob.guard.session import Session, SessionState
from keyfob.guard.sessions import SessionStore
from keyfob.mqtt.topics import TopicFilter
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey

ISSUER = "https://issuer.example"
NOW = 1_790_000_000.0
KEY = SigningKey.generate()
PATIENCE = 20.0
PERMISSIONS = Permissions.allow_only(
    Rule(operations=Operation.SUBSCRIBE, filter=TopicFilter.parse(f"a/{n}")) for n in range(20)
)
FIRST_RUN, SECOND_RUN = b"1" * 16, b"2" * 16


def token(device: str = "dev1", **changes: Any) -> bytes:
    claims = {
        "iss": ISSUER,
        "aud": "mqtt",
        "sub": device,
        "client_id": device,
        "iat": int(NOW) - 10,
        "exp": int(NOW) + 600,
        "jti": f"id-{device}",
        "scope": f"mqtt.connect mqtt.publish:{device}/up mqtt.subscribe:{device}/%23",
    }
    return KEY.sign({**claims, **changes}).encode()


def issuers(keys: StaticKeySource | None = None) -> dict[str, IssuerBinding]:
    trusted = TrustedIssuer(
        name="home",
        issuer=ISSUER,
        audiences=frozenset({"mqtt"}),
        algorithms=frozenset({"ES256"}),
    )
    keys = keys or StaticKeySource(KeySet.from_jwks({"keys": [KEY.public_jwk()]}))
    return {ISSUER: IssuerBinding(trusted=trusted, keys=keys, policy=Policy())}


def stored(device: str) -> Session:
    """Return a session as the guard keeps it, with permissions of some length."""
    return Session(
        broker="mosquitto",
        client_id=device,
        epoch=3,
        state=SessionState.OFFLINE,
        clean=False,
        principal=device,
        issuer=ISSUER,
        subject=device,
        client=device,
        token_id="",
        issued_at=NOW,
        expires_at=NOW + 600.25,
        permissions=PERMISSIONS,
        offline_since=NOW,
    )


@dataclass
class Plugin:
    """The other end: says frames, hears frames."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    parser: wire.FrameReader = field(default_factory=wire.FrameReader)
    heard: list[tuple[frames.Frame, int]] = field(default_factory=list)

    def say(self, *said: frames.Frame) -> None:
        for frame in said:
            asks = isinstance(frame, frames.Connect | frames.Reauthenticate | frames.Continue)
            request = getattr(frame, "epoch", 0) + 100 if asks else 0
            self.writer.write(wire.encode(frame, request))

    async def hear(self) -> frames.Frame:
        async with asyncio.timeout(PATIENCE):
            while not self.heard:
                data = await self.reader.read(65_536)
                assert data, "the guard closed the link"
                self.heard = self.parser.feed(data)
        frame, request = self.heard.pop(0)
        assert request == (frame.epoch + 100 if isinstance(frame, frames.Decision) else 0)
        return frame

    async def hear_records(self) -> list[frames.Frame]:
        """Hear WELCOME and everything up to RECORDS_END."""
        assert isinstance(await self.hear(), frames.Welcome)
        heard: list[frames.Frame] = []
        while not isinstance(frame := await self.hear(), frames.RecordsEnd):
            heard.append(frame)
        return heard

    async def closed(self) -> None:
        """Wait until the guard closes the link, whatever it says before."""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65_536):
                    pass

    async def leave(self) -> None:
        """Close the link."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def admit(self, device: str = "dev1", epoch: int = 1, **changes: Any) -> frames.Grant:
        """Bring a client in, and wait until the guard has taken note of it."""
        self.say(connect(device, epoch, **changes))
        decision = await self.hear()
        assert isinstance(decision, frames.Decision)
        assert decision.grant
        self.say(frames.Admitted(epoch=epoch, client_id=device))
        await self.settled()
        return decision.grant

    async def settled(self) -> None:
        """Wait until everything said has been taken in: frames are answered in order."""
        self.say(connect("nobody", 999, password=None))
        answer = await self.hear()
        assert isinstance(answer, frames.Decision)
        assert answer.epoch == 999


def hello(instance: bytes = FIRST_RUN, name: str = "mosquitto", **changes: Any) -> frames.Hello:
    usual = {"lowest": 4, "highest": 4, "epoch": 0, "broker_version": 2_000_011}
    return frames.Hello(broker_instance=instance, broker_name=name, **{**usual, **changes})


def connect(device: str = "dev1", epoch: int = 1, **changes: Any) -> frames.Connect:
    values: dict[str, Any] = {
        "clean": False,
        "assigned": False,
        "protocol_level": 5,
        "username": None,
        "password": token(device),
        "peer": "192.0.2.1",
        "certificate_thumbprint": b"",
        "delayed": False,
        "wait_ms": 200,
    }
    return frames.Connect(client_id=device, epoch=epoch, **{**values, **changes})


@dataclass
class House:
    """A guard and its socket."""

    guard: Guard
    sessions: SessionStore
    server: LinkServer
    path: Path
    plugins: list[Plugin] = field(default_factory=list)

    async def link(self) -> Plugin:
        """Open a link and say nothing yet."""
        self.plugins.append(Plugin(*await asyncio.open_unix_connection(self.path)))
        return self.plugins[-1]

    async def plugin(
        self, instance: bytes = FIRST_RUN, *records: frames.Record, name: str = "mosquitto"
    ) -> tuple[Plugin, list[frames.Frame]]:
        """Open a link all the way; also return what the guard told."""
        plugin = await self.link()
        plugin.say(hello(instance, name), *records, frames.RecordsEnd())
        return plugin, await plugin.hear_records()

    async def revoke(self, device: str) -> None:
        await self.guard.revoke(Revocation(issuer=ISSUER, subject=device, until=NOW + 3600))

    def session(self, device: str = "dev1") -> Session | None:
        return self.sessions.get("mosquitto", device)


@contextlib.asynccontextmanager
async def house(
    directory: Path, *, guard: type[Guard] = Guard, **options: Any
) -> AsyncIterator[House]:
    sessions = options.pop("sessions", None) or SessionStore()
    path = directory / "guard.sock"
    built = guard(options.pop("issuers", issuers()), sessions=sessions, clock=lambda: NOW)
    async with built, LinkServer(built, path, **options) as server:
        here = House(built, sessions, server, path)
        try:
            yield here
        finally:
            for plugin in here.plugins:
                await plugin.leave()
