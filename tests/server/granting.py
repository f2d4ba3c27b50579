# SPDX-License-Identifier: Apache-2.0
"""What tests of grants have in common: names, a gateway with sub-devices, requests."""

from __future__ import annotations

from typing import Any

import httpx

from keyfob.server.wishes import DeviceWish, Rights
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import jwks_of
from tests.server.world import World, claims_of

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"
KEY = SigningKey.generate()


class Fleet:
    """A gateway that may act for ``gw-*``, one such device, and one that is somebody else's."""

    def __init__(self, world: World) -> None:
        self.world = world
        register = world.register
        self.secret = register.add_device(
            DeviceWish(
                "gw",
                rights=Rights(publish=["site/#"], subscribe=["site/+/cmd"], scopes=["fleet.read"]),
            )
        ).secret
        register.set_device_jwks("gw", jwks_of(KEY))
        register.allow_grant("gw", "token-exchange", act_for=["gw-*", "extra"])
        self.sub_secret = register.add_device(
            DeviceWish(
                "gw-1",
                rights=Rights(
                    publish=["site/{device}/#"], subscribe=["site/{device}/cmd", "news/#"]
                ),
            )
        ).secret
        register.add_device(DeviceWish("other", rights=Rights(publish=["site/#"])))

    async def gateway_token(self, **more: str) -> str:
        answer = await self.world.device_token("gw", self.secret, **more)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def exchange(self, token: str, device: str = "gw-1", **more: Any) -> httpx.Response:
        """Ask for a token of a sub-device; what is None is left out."""
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "client_id": "gw",
            "client_secret": self.secret,
            "subject_token": token,
            "subject_token_type": ACCESS_TOKEN,
            "requested_subject": device,
        } | more
        form = {name: value for name, value in form.items() if value is not None}
        return await self.world.http.post("/oauth2/token", data=form)

    async def claims(self, answer: httpx.Response) -> dict[str, Any]:
        assert answer.status_code == 200, answer.text
        jwks = (await self.world.http.get("/oauth2/jwks")).json()
        return claims_of(answer.json()["access_token"], jwks)[1]
