# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``server.forms``: what a POST to the token endpoint brings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import Message

from fuzz import octets, pieces
from fuzz.chance import Chance
from fuzz.target import Check, Target, demand
from keyfob.server.forms import MAX_PARAMETERS, read_form
from keyfob.server.oauth_errors import OAuthError

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "Every request is refused as invalid_request, or its parameters are exactly those that another "
    "parser finds, without the empty ones and each of them once."
)
_TYPE: Final = "application/x-www-form-urlencoded"
_TYPES: Final = (
    _TYPE,
    _TYPE.upper(),
    f"{_TYPE}; charset=UTF-8",
    f'{_TYPE};charset="utf-8"',
    f"{_TYPE}; charset=iso-8859-1",
    f"{_TYPE};;",
    f" {_TYPE} ",
    "application/json",
    "",
    ";",
    "multipart/form-data; boundary=x",
)
_BODIES: Final = (
    b"grant_type=client_credentials&client_id=dev1&client_secret=kfs_abc&scope=mqtt.connect",
    b"grant_type=password&username=dev1&password=a%20b%2Bc&client_id=app",
    b"scope=mqtt.publish%3Aa%2F%2523+mqtt.subscribe%3Ab%2F%2B&scope2=&a",
    b"a=%C3%A4&b=%F0%9F%94%91",
)
_WORDS: Final = (b"&", b"=", b"+", b"%", b"%00", b"%25", b"%C3", b"%ed%a0%80", b";", b"client_id=")


def make(chance: Chance) -> bytes:
    """Draw a request."""
    types = [_TYPE] if chance.often(0.8) else chance.some(_TYPES, 2)
    query = "" if chance.often(0.98) else "client_secret=x"
    body = octets.changed(chance, chance.one(_BODIES), _WORDS)
    return pieces.pack(types, query, body.decode("latin-1"), chance.randrange(len(body) + 1))


@contextmanager
def _opened() -> Iterator[Check]:
    with asyncio.Runner() as runner:

        def check(data: bytes) -> str:
            types, query, body, cut = pieces.unpack(data)
            return runner.run(_check(types, query.encode(), body.encode("latin-1"), cut))

        yield check


async def _check(types: list[str], query: bytes, body: bytes, cut: int) -> str:
    chunks = [body[cut:], body[:cut]]

    async def receive() -> Message:
        return {"type": "http.request", "body": chunks.pop(), "more_body": bool(chunks)}

    headers = [(b"content-type", value.encode("latin-1")) for value in types]
    scope = {"type": "http", "method": "POST", "headers": headers, "query_string": query}
    try:
        parameters = await read_form(Request(scope, receive))
    except OAuthError as error:
        demand(error.error == "invalid_request", "another error")
        demand(400 <= error.status < 500, "not the client's fault")
        return error.reason
    demand(len(types) == 1 and not query, "parameters out of nowhere")
    demand(types[0].strip().lower().startswith(_TYPE), "another content type")
    text = body.decode("ascii")
    found = parse_qsl(text, keep_blank_values=True, errors="strict")
    demand(len(found) <= MAX_PARAMETERS, "more parameters than allowed")
    demand(len({name for name, _ in found}) == len(found), "a parameter stands twice")
    demand({name: value for name, value in found if value} == parameters, "other parameters")
    return "read"


TARGET = Target(name="forms", invariant=_INVARIANT, make=make, open=_opened)
