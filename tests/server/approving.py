# SPDX-License-Identifier: Apache-2.0
"""An operator with a browser that runs no script, for the tests of the device code grant."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import httpx
from starlette.types import ASGIApp

from keyfob.server.operator_register import OperatorRegister
from keyfob.server.operators import Operator
from keyfob.server.passwords import hash_password
from keyfob.server.stores.operators import insert_operator
from keyfob.server.stores.store import open_store
from keyfob.server.wishes import ApplicationWish
from tests.server.world import World

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
PASSWORD = "correct horse battery"
_HASHED: list[str] = []


@dataclass
class Form:
    """A form of a page: where it goes to, and what its inputs hold."""

    action: str
    values: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """A page as a browser without scripts sees it."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.answer = answer
        self.forms: list[Form] = []
        self.text = ""
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(values["action"]))
        elif tag == "input" and values.get("type") != "checkbox":
            self.forms[-1].values[values["name"]] = values.get("value", "")

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def status(self) -> int:
        return self.answer.status_code

    def form(self, name: str) -> Form:
        return next(one for one in self.forms if one.action.endswith(f"/{name}"))

    def has(self, name: str) -> bool:
        return any(one.action.endswith(f"/{name}") for one in self.forms)


@dataclass
class Approver:
    """An operator and his browser."""

    http: httpx.AsyncClient
    origin: str
    path: str = "/device"

    async def open(self, query: str = "") -> Page:
        return Page(await self.http.get(self.path + query))

    async def submit(self, form: Form, **fields: str) -> Page:
        """Send a form as a browser does, and follow where it leads."""
        answer = await self.post(form.action, form.values | fields)
        if answer.status_code == 303:
            url = urlsplit(answer.headers["location"])
            assert f"{url.scheme}://{url.netloc}" == self.origin
            answer = await self.http.get(f"{url.path}?{url.query}" if url.query else url.path)
        return Page(answer)

    async def post(
        self, path: str, fields: dict[str, str], *, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        headers = {"Origin": self.origin} if headers is None else headers
        return await self.http.post(path, data=fields, headers=headers)

    async def sign_in(self, name: str = "alice", password: str = PASSWORD, query: str = "") -> Page:
        page = await self.open(query)
        return await self.submit(page.form("sign-in"), username=name, password=password)

    async def compare(self, user_code: str, **more: str) -> Page:
        """Type a code and see what is asked for."""
        page = await self.open()
        return await self.submit(page.form("request"), user_code=user_code, **more)

    async def decide(self, user_code: str, decision: str = "approve", **more: str) -> Page:
        page = await self.compare(user_code, **more)
        form = page.form("decision")
        return await self.submit(form, compared="yes", decision=decision)


@contextlib.asynccontextmanager
async def approver(world: World, app: ASGIApp | None = None) -> AsyncIterator[Approver]:
    """A browser of its own, before the server under test or another one."""
    transport = world.http._transport if app is None else httpx.ASGITransport(app)
    url = urlsplit(world.settings.issuer)
    origin = f"{url.scheme}://{url.netloc}"
    async with httpx.AsyncClient(transport=transport, base_url=origin) as http:
        yield Approver(http, origin, world.settings.path + "/device")


def add_operator(world: World, name: str = "alice") -> None:
    """Make an account whose password is ``PASSWORD``; hashing it once is dear enough."""
    if not _HASHED:
        _HASHED.append(hash_password(PASSWORD))
    store = open_store(world.settings.database)
    now = world.clock()
    with store.transaction():
        operator = Operator(name=name, created_at=now, changed_at=now)
        assert insert_operator(store.connection, operator, _HASHED[0])
    store.close()


def operators_of(world: World) -> OperatorRegister:
    return OperatorRegister(open_store(world.settings.database), clock=world.clock, actor="root")


@dataclass
class Gateway:
    """A registered application that asks for devices."""

    world: World
    client_id: str = "setup"
    secret: str = ""

    async def begin(self, **parameters: str) -> httpx.Response:
        return await self._post("/oauth2/device_authorization", parameters)

    async def begun(self, **parameters: str) -> dict[str, Any]:
        answer = await self.begin(**parameters)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def poll(self, device_code: str, **more: str) -> httpx.Response:
        form = {"grant_type": DEVICE_CODE, "device_code": device_code}
        return await self._post("/oauth2/token", form | more)

    async def error(self, device_code: str) -> str:
        answer = await self.poll(device_code)
        assert answer.status_code == 400, answer.text
        return str(answer.json()["error"])

    async def _post(self, path: str, form: dict[str, str]) -> httpx.Response:
        path = self.world.settings.path + path
        if self.secret:
            return await self.world.http.post(path, data=form, auth=(self.client_id, self.secret))
        return await self.world.http.post(path, data=form | {"client_id": self.client_id})


def gateway(world: World, **options: Any) -> Gateway:
    issued = world.register.add_application(ApplicationWish("setup", device_code=True, **options))
    return Gateway(world, "setup", issued.secret or "")
