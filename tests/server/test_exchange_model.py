# SPDX-License-Identifier: Apache-2.0
"""A random life of gateways: what came out of a token never outlives it, and nothing else ends."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from keyfob.server.wishes import DeviceWish, Rights
from tests.server.granting import ACCESS_TOKEN, TOKEN_EXCHANGE
from tests.server.world import World

pytestmark = pytest.mark.anyio

# Each may act for the next ones.
DEVICES = ("a", "ab", "abc", "abcd")


@dataclass
class Token:
    """A token as the model knows it."""

    text: str
    subject: str
    client: str
    parent: Token | None
    ended: bool = False
    children: list[Token] = field(default_factory=list)

    def end(self) -> None:
        self.ended = True
        for child in self.children:
            child.end()


class Life:
    """The server, and what ought to be true of it."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.random = world, random.Random(seed)
        self.tokens: list[Token] = []
        self.disabled: set[str] = set()
        self.secrets = {}
        for name in DEVICES:
            self.secrets[name] = world.register.add_device(
                DeviceWish(name, rights=Rights(publish=["x/#"]))
            ).secret
            world.register.allow_grant(name, "token-exchange", act_for=[f"{name}*"])
        _, self.asker = world.register.add_service("asker", scopes=["keyfob.introspection"])

    async def ask(self, client: str, **form: str) -> str | None:
        form |= {"client_id": client, "client_secret": self.secrets[client]}
        answer = await self.world.http.post("/oauth2/token", data=form)
        assert answer.status_code in (200, 400, 401), answer.text
        token: str | None = answer.json().get("access_token")
        return token

    async def own(self) -> None:
        name = self.random.choice(DEVICES)
        text = await self.ask(name, grant_type="client_credentials")
        assert (text is None) == (name in self.disabled)
        if text is not None:
            self.tokens.append(Token(text, name, name, None))

    async def exchange(self) -> None:
        if not self.tokens:
            return
        shown, device = self.random.choice(self.tokens), self.random.choice(DEVICES)
        text = await self.ask(
            shown.client,
            grant_type=TOKEN_EXCHANGE,
            subject_token=shown.text,
            subject_token_type=ACCESS_TOKEN,
            requested_subject=device,
        )
        its_own = device.startswith(shown.subject) and device != shown.subject
        off = {shown.client, shown.subject, device} & self.disabled
        assert (text is not None) == (its_own and not off and not shown.ended)
        if text is not None:
            made = Token(text, device, shown.client, shown)
            shown.children.append(made)
            self.tokens.append(made)

    async def revoke(self) -> None:
        living = [token for token in self.tokens if token.client not in self.disabled]
        if not living:
            return
        token = self.random.choice(living)
        form = {
            "token": token.text,
            "client_id": token.client,
            "client_secret": self.secrets[token.client],
        }
        assert (await self.world.http.post("/oauth2/revoke", data=form)).status_code == 200
        if token.subject not in self.disabled:
            token.end()

    async def disable(self) -> None:
        name = self.random.choice(DEVICES)
        self.world.register.disable_device(name)
        self.disabled.add(name)
        for token in self.tokens:
            if token.subject == name:
                token.end()

    async def enable(self) -> None:
        for name in self.disabled:
            self.world.register.enable_device(name)
        self.disabled.clear()
        self.world.clock.now += 2.0  # tokens of that second would be revoked from their birth

    async def check(self) -> None:
        for token in self.tokens:
            form = {"token": token.text, "client_id": "asker", "client_secret": self.asker}
            answer = await self.world.http.post("/oauth2/introspect", data=form)
            assert answer.json()["active"] == (not token.ended), token.subject


@pytest.mark.parametrize("seed", range(8))
async def test_what_was_exchanged_ends_with_what_was_shown_and_nothing_else_does(
    world: World, seed: int
) -> None:
    life = Life(world, seed)
    steps = [life.own, life.exchange, life.exchange, life.exchange, life.revoke]
    for number in range(60):
        rare = life.random.random() < 0.08
        step = life.random.choice([life.disable, life.enable] if rare else steps)
        await step()
        if number % 20 == 19:
            await life.enable()
            await life.check()
    assert any(token.parent for token in life.tokens)
    assert any(token.ended for token in life.tokens)
