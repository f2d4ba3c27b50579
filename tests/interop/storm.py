# SPDX-License-Identifier: Apache-2.0
"""A connect storm: devices that come back all the time, each with a good token.

What became of every CONNECT is kept. A device fetches its tokens as real ones do, from the
authorization server, and uses each a few times; so tokens of a new key come within moments of its
first use. A forger joins the devices, whose tokens name keys that nobody has.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import httpx

from tests.interop.foreign.server import ForeignServer
from tests.soak.mqtt5 import Address, Connection, RefusedError

USES = 5
"""How often a token is used."""

FORGERIES = 5
"""Forged CONNECTs a second: many more than cooldowns, so that none is ever free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One CONNECT.

    Attributes:
        at: When it was sent, in monotonic seconds.
        kid: The key of its token.
        code: The CONNACK's reason code; 0: let in, None: closed without a CONNACK.
        took: Seconds from there to the answer.
    """

    at: float
    took: float
    kid: str
    code: int | None


@dataclass
class Storm:
    """What has happened so far, with how many devices, and whether it is to end."""

    devices: int
    over: bool = False
    attempts: list[Attempt] = field(default_factory=list)
    forged: list[Attempt] = field(default_factory=list)

    @property
    def kids(self) -> list[str]:
        """The keys of the tokens, in the order of their first use."""
        return list(dict.fromkeys(attempt.kid for attempt in self.attempts))

    def refused(self, kid: str | None = None) -> list[Attempt]:
        """The good tokens that were not let in; with a kid, those of that key."""
        return [a for a in self.attempts if a.code != 0 and kid in (None, a.kid)]

    def let_in(self, kid: str) -> int:
        """How many CONNECTs with tokens of a key were let in."""
        return sum(1 for a in self.attempts if a.code == 0 and a.kid == kid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Devices of one authorization server; the last is the one whom the forger imitates."""

    server: ForeignServer
    devices: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """Where the devices of a storm get their tokens and show them."""

    address: Address
    server: ForeignServer
    http: httpx.AsyncClient

    async def token(self, device: str) -> str:
        request = self.server.token_request(device)
        response = await self.http.post(
            request.url, data=dict(request.form), auth=request.credentials
        )
        assert response.status_code == 200, response.text
        return str(response.json()["access_token"])

    async def attempt(self, device: str, token: str) -> Attempt:
        at = time.monotonic()
        code: int | None = 0
        try:
            connection = await Connection.open(
                self.address, device, (device, token), lambda *_: None, clean_start=True
            )
            took = time.monotonic() - at
        except RefusedError as error:
            took, code = time.monotonic() - at, error.code
        else:
            await connection.disconnect()
        return Attempt(at=at, took=took, kid=kid_of(token), code=code)


@contextlib.asynccontextmanager
async def connect_storm(address: Address, crowd: Crowd, rate: float) -> AsyncIterator[Storm]:
    """Let devices connect ``rate`` times a second in all, and a forger, until the block ends.

    Args:
        address: The broker's listener.
        crowd: Who takes part.
        rate: CONNECTs a second, of all the devices together.
    """
    *honest, victim = crowd.devices
    storm = Storm(len(honest))
    async with (
        httpx.AsyncClient(timeout=120, trust_env=False) as http,
        asyncio.TaskGroup() as group,
    ):
        scene = _Scene(address=address, server=crowd.server, http=http)
        interval = len(honest) / rate
        group.create_task(_forge(storm, scene, victim))
        for number, device in enumerate(honest):
            slots = _slots(storm, interval, first=interval * number / len(honest))
            # Not all at once: at any moment somebody's next token is due.
            left = 1 + number % USES
            group.create_task(_come_back(storm, scene, device, slots, left))
        try:
            yield storm
        finally:
            # Not cancelled: what is under way is told to the end.
            storm.over = True


async def _come_back(
    storm: Storm, scene: _Scene, device: str, slots: AsyncIterator[None], left: int
) -> None:
    token = await scene.token(device)
    async for _ in slots:
        if left == 0:
            token, left = await scene.token(device), USES
        storm.attempts.append(await scene.attempt(device, token))
        left -= 1


async def _forge(storm: Storm, scene: _Scene, victim: str) -> None:
    """Name, in a good token, keys that the server does not have."""
    _, body, signature = (good := await scene.token(victim)).split(".")
    head = _header(good)
    async for _ in _slots(storm, 1 / FORGERIES, first=0):
        changed = json.dumps(head | {"kid": secrets.token_urlsafe(32)}).encode()
        forged = base64.urlsafe_b64encode(changed).decode().rstrip("=")
        attempt = await scene.attempt(victim, f"{forged}.{body}.{signature}")
        assert attempt.code != 0, "a forged token was let in"
        storm.forged.append(attempt)


async def _slots(storm: Storm, interval: float, *, first: float) -> AsyncIterator[None]:
    """Yield every ``interval`` seconds; slots that were missed are not made up for."""
    due = time.monotonic() + first
    while not storm.over:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        yield
        due = max(due + interval, time.monotonic())


def kid_of(token: str) -> str:
    """The key that a token names."""
    return str(_header(token)["kid"])


def _header(token: str) -> dict[str, object]:
    head = token.partition(".")[0]
    values: dict[str, object] = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    return values
