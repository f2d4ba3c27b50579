# SPDX-License-Identifier: Apache-2.0
"""The authorization server under test: the real application over the real database file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet

from keyfob.server.audit import TokenEvent
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.signing.keyring import Keyring

ISSUER = "https://as.example:8443"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Clock:
    """Unix seconds that pass only when somebody sleeps."""

    now: float = 1_800_000_000.25
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[], object] | None = None

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if self.on_sleep is not None:
            self.on_sleep()


@dataclass
class World:
    """The server under test and everything around it."""

    settings: ServerSettings
    register: Register
    http: httpx.AsyncClient
    clock: Clock
    events: list[TokenEvent]
    verified: list[tuple[str, str | None]]
    keyring: Keyring
    on_verify: Callable[[], object] | None = None

    async def token(
        self, *, auth: tuple[str, str] | None = None, **parameters: str
    ) -> httpx.Response:
        """Ask for a token, with HTTP Basic where ``auth`` is given."""
        basic = httpx.USE_CLIENT_DEFAULT if auth is None else httpx.BasicAuth(*auth)
        return await self.http.post("/oauth2/token", data=parameters, auth=basic)

    async def device_token(self, device_id: str, secret: str, **more: str) -> httpx.Response:
        """Ask for a token by client_credentials and client_secret_post."""
        form = {
            "grant_type": "client_credentials",
            "client_id": device_id,
            "client_secret": secret,
        }
        return await self.http.post("/oauth2/token", data=form | more)


def claims_of(token: str, jwks: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Verify a token with a library that is not ours; return its header and claims."""
    decoded = jwt.decode(token, KeySet.import_key_set(jwks), algorithms=["ES256"])  # type: ignore[arg-type]
    return dict(decoded.header), dict(decoded.claims)
