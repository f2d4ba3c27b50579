# SPDX-License-Identifier: Apache-2.0
"""Form-encoded requests: every body is either read or refused, never guessed at."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from keyfob.server.forms import parse_form, read_form
from keyfob.server.oauth_errors import OAuthError

text = st.text(st.characters(codec="utf-8"), max_size=20)


def read_or_refused(body: bytes) -> Any:
    try:
        return parse_form(body)
    except OAuthError as error:
        return error.error


@given(st.binary(max_size=200))
def test_every_body_is_read_or_refused_as_an_invalid_request(body: bytes) -> None:
    outcome = read_or_refused(body)
    assert outcome == "invalid_request" or all(outcome.values())


@given(st.dictionaries(text, text, max_size=10))
def test_what_a_client_encodes_is_what_is_read_without_the_empty_ones(
    parameters: dict[str, str],
) -> None:
    expected = {name: value for name, value in parameters.items() if value}
    assert parse_form(urlencode(parameters).encode()) == expected


def request_of(receive: Callable[[], Awaitable[Message]]) -> Request:
    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    scope = {"type": "http", "method": "POST", "headers": headers, "query_string": b""}
    return Request(scope, receive)


@pytest.mark.anyio
async def test_a_client_that_sends_too_slowly_is_refused() -> None:
    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(OAuthError) as caught:
        await read_form(request_of(never), seconds=0.01)
    assert (caught.value.error, caught.value.status) == ("invalid_request", 408)


@pytest.mark.anyio
async def test_a_client_that_hangs_up_is_refused() -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(OAuthError) as caught:
        await read_form(request_of(gone))
    assert caught.value.error == "invalid_request"


@pytest.mark.anyio
async def test_a_body_in_pieces_is_put_together() -> None:
    pieces = [b"a=1&", b"b=%", b"41"]

    async def receive() -> Message:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    assert await read_form(request_of(receive)) == {"a": "1", "b": "A"}
