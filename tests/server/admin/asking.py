# SPDX-License-Identifier: Apache-2.0
"""A service that asks the admin API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from keyfob.server.admin_scopes import ADMIN_SCOPES
from tests.server.world import World

API = "/admin/v1"


@dataclass
class Admin:
    """A service, its secret and its token."""

    world: World
    name: str
    secret: str
    token: str

    @classmethod
    async def of(cls, world: World, name: str, scopes: Iterable[str] = ADMIN_SCOPES) -> Admin:
        _, secret = world.register.add_service(name, scopes=scopes)
        made = cls(world, name, secret, "")
        made.token = (await made.fetch()).json()["access_token"]
        return made

    async def fetch(self, **more: str) -> httpx.Response:
        """Ask for a token."""
        form = {"grant_type": "client_credentials"} | more
        return await self.world.token(auth=(self.name, self.secret), **form)

    async def __call__(self, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        options = {} if body is None else {"json": body}
        return await self.world.http.request(method, API + path, headers=headers, **options)
