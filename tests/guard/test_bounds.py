# SPDX-License-Identifier: Apache-2.0
"""A CONNECT costs work and memory in proportion to its length, whatever its fields hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyfob.authorization.decision import ConnectRequest, DenyReason
from keyfob.authorization.syntaxes.scopes import parse_scopes
from keyfob.tokens import base64url
from keyfob.tokens.jws import MAX_TOKEN_BYTES
from tests.guard.world import KEY, guard, mint, request
from tests.work import calls, peak_bytes, stays_within
from tests.worst_cases import FIELDS, JSON, SCOPES

pytestmark = pytest.mark.anyio

FIELD = 65_535


def unsigned(payload: bytes) -> str:
    """A token of the issuer's whose claims are bytes, with a signature that is wrong."""
    head = mint().split(".")[0]
    return f"{head}.{base64url.encode(payload).decode()}.{'A' * 86}"


@pytest.mark.parametrize("name", FIELDS)
async def test_fields_filled_to_their_end_are_decided_within_the_bound(name: str) -> None:
    """All at once, as username, password and client identifier."""
    field = FIELDS[name](FIELD)
    asked = ConnectRequest(client_id=field.decode("latin-1"), username=field, password=field)
    keeper = guard()
    assert not keeper.decide(asked).allowed
    # Nothing of it is parsed: the number of calls is the same as for an empty one, but a few.
    assert calls(lambda: keeper.decide(asked)) < 200
    assert peak_bytes(lambda: keeper.decide(asked)) < 4 * 3 * FIELD


@pytest.mark.parametrize("name", JSON)
async def test_a_token_that_nobody_signed_is_decided_within_the_bound(name: str) -> None:
    claims = json.dumps({"iss": "https://as.example", "sub": "dev1"}).encode()[:-1]
    token = unsigned(claims + b',"x":' + JSON[name](11_500) + b"}")
    assert MAX_TOKEN_BYTES - 1_500 < len(token) <= MAX_TOKEN_BYTES
    keeper = guard()
    asked = request(token=token)
    assert keeper.decide(asked).reason in {
        DenyReason.SIGNATURE_INVALID,
        DenyReason.TOKEN_MALFORMED,
        DenyReason.DUPLICATE_MEMBER,
    }
    stays_within(lambda: keeper.decide(asked), len(token))


@pytest.mark.parametrize("name", SCOPES)
async def test_a_good_token_full_of_scopes_is_decided_within_the_bound(name: str) -> None:
    token = mint(scope="mqtt.connect " + SCOPES[name](9_000).decode())
    assert len(token) <= MAX_TOKEN_BYTES
    asked = request(token=token)
    # A new guard each time: the second decision about a token costs next to nothing.
    stays_within(lambda: guard().decide(asked), len(token))
    assert guard().decide(asked).allowed


@pytest.mark.parametrize("name", SCOPES)
@pytest.mark.parametrize("length", [1_000, 16_384, FIELD])
def test_scopes_are_read_within_the_bound(name: str, length: int) -> None:
    scope = SCOPES[name](length).decode()
    stays_within(lambda: parse_scopes(scope), length)
    entries = scope.split(" ")
    stays_within(lambda: parse_scopes(entries), length)


async def test_a_storm_of_bad_tokens_leaves_nothing_behind() -> None:
    """Each different; what is kept afterwards is less than one of them."""
    keeper = guard()
    head, body, _ = mint().split(".")
    filler: dict[str, Any] = {"iss": "https://as.example", "x": "x" * 10_000}

    def storm(first: int) -> None:
        for number in range(first, first + 100):
            payload = json.dumps({**filler, "n": number}).encode()
            keeper.decide(request(token=unsigned(payload)))
            signed = f"{head}.{body}.{base64url.encode(KEY.signature(b'%d' % number)).decode()}"
            keeper.decide(request(token=signed))

    storm(0)
    assert peak_bytes(lambda: storm(100)) < 64 * MAX_TOKEN_BYTES
