# SPDX-License-Identifier: Apache-2.0
"""Reading what strangers send costs work and memory in proportion to its length, and no more."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from keyfob.tokens import base64url, json_strict
from keyfob.tokens.jws import MAX_HEADER_CHARS, MAX_TOKEN_BYTES
from keyfob.tokens.keys import MAX_JWKS_BYTES, MAX_KEYS, KeySet
from keyfob.tokens.sign import SigningKey
from tests.work import BYTES_PER_BYTE, calls, peak_bytes, stays_within
from tests.worst_cases import FIELDS, JSON, SCOPES

Forge = Callable[..., str]
Attempt = Callable[..., Any]
Claims = dict[str, Any]

FIELD = 65_535  # what a field of a CONNECT can hold
# What fits into a token beside the good claims, the header and the signature.
PAYLOAD = (MAX_TOKEN_BYTES - 400) * 3 // 4 - 300
HEADER = (MAX_HEADER_CHARS - 200) * 3 // 4
# ROCA: every power of 65537 modulo every small prime is looked up, of a key that is one.
CALLS_PER_KEY = 5_000

every_document = pytest.mark.parametrize("name", JSON)


def beside(members: Mapping[str, Any], name: str, value: bytes) -> bytes:
    """An object's members and one more, whose value is bytes."""
    return json.dumps(members).encode()[:-1] + f',"{name}":'.encode() + value + b"}"


@every_document
@pytest.mark.parametrize("marking", [False, True])
def test_strict_json_is_read_within_the_bound(name: str, marking: bool) -> None:
    for length in (1_000, FIELD):
        document = JSON[name](length)
        assert length - 64 * 4 < len(document) <= length
        stays_within(lambda: json_strict.loads(document, mark_repeated=marking), len(document))  # noqa: B023


@every_document
def test_the_claims_of_a_token_are_read_within_the_bound(
    name: str, claims: Claims, forge: Forge, attempt: Attempt
) -> None:
    token = forge(beside(claims, "x", JSON[name](PAYLOAD)))
    assert MAX_TOKEN_BYTES - 1_000 < len(token) <= MAX_TOKEN_BYTES
    stays_within(lambda: attempt(token), len(token))


@every_document
def test_the_header_of_a_token_is_read_within_the_bound(
    name: str, claims: Claims, forge: Forge, attempt: Attempt, signing_key: SigningKey
) -> None:
    header = {"alg": "ES256", "kid": signing_key.kid, "typ": "at+jwt"}
    token = forge(claims, beside(header, "x", JSON[name](HEADER)))
    assert MAX_HEADER_CHARS - 500 < len(token.split(".")[0]) <= MAX_HEADER_CHARS
    stays_within(lambda: attempt(token), len(token))


@pytest.mark.parametrize(
    ("claim", "entry"),
    [
        *(("aud", entry) for entry in ('""', '"mqtt"', '"\U0001f511"', "1", "[]")),
        *(("scope", entry) for entry in ('""', '"a"', '"mqtt.connect"', "null")),
        *(("cnf", entry) for entry in ('""', "{}")),
    ],
)
def test_long_arrays_where_claims_have_types_are_read_within_the_bound(
    claim: str, entry: str, claims: Claims, forge: Forge, attempt: Attempt
) -> None:
    del claims["scope"]
    claims.pop(claim, None)
    room = PAYLOAD // len(f"{entry},".encode())
    array = f"[{','.join([entry] * room)}]".encode()
    token = forge(beside(claims, claim, array))
    assert len(token) <= MAX_TOKEN_BYTES
    stays_within(lambda: attempt(token), len(token))


@pytest.mark.parametrize("name", SCOPES)
def test_long_scopes_are_read_within_the_bound(
    name: str, claims: Claims, forge: Forge, attempt: Attempt
) -> None:
    scope = "mqtt.connect " + SCOPES[name](PAYLOAD * 3 // 4).decode()
    token = forge({**claims, "scope": scope})
    stays_within(lambda: attempt(token), len(token))


@pytest.mark.parametrize("name", FIELDS)
def test_whatever_fills_a_field_is_refused_for_its_length_alone(
    name: str, attempt: Attempt
) -> None:
    """No more than a look at its length: the same few calls, and no copy of it."""
    token = FIELDS[name](FIELD)
    assert len(token) > FIELD - 8
    assert calls(lambda: attempt(token)) <= 20
    assert peak_bytes(lambda: attempt(token)) < 4_096
    shorter = FIELDS[name](MAX_TOKEN_BYTES)
    stays_within(lambda: attempt(shorter), len(shorter))


def test_a_header_is_remembered_by_number_and_length(
    claims: Claims, forge: Forge, attempt: Attempt, signing_key: SigningKey
) -> None:
    """Tokens with more large headers than are remembered leave no more than their share."""
    header = {"alg": "ES256", "kid": signing_key.kid, "typ": "at+jwt"}

    def storm() -> None:
        for number in range(400):
            attempt(forge(claims, {**header, "x": f"{number}-" + "x" * 5_000}))

    assert peak_bytes(storm) < 256 * 2 * MAX_HEADER_CHARS


# --- key sets ---


@every_document
def test_a_key_set_is_read_within_the_bound(name: str) -> None:
    wraps = ((b"", b""), (b'{"keys":', b"}"), (b'{"keys":[{"kty":"EC","x":', b"}]}"))
    for head, tail in wraps:
        document = head + JSON[name](FIELD - 40) + tail
        stays_within(lambda: KeySet.from_jwks(document), len(document), more_calls=8 * MAX_KEYS)  # noqa: B023


def test_the_largest_key_set_is_read_within_the_bound() -> None:
    for name in ("integers", "empty objects", "deepest arrays", "objects after a surrogate"):
        document = b'{"keys":' + JSON[name](MAX_JWKS_BYTES - 10) + b"}"
        stays_within(lambda: KeySet.from_jwks(document), len(document), more_calls=8 * MAX_KEYS)  # noqa: B023


def _moduli() -> list[int]:
    """Different moduli that each pass every test of ROCA's but the last."""
    primes = [n for n in range(3, 168, 2) if all(n % low for low in range(3, n, 2))]
    product = math.prod(primes)
    moduli = []
    for number in range(MAX_KEYS + 20):
        modulus = (2**2047 // product + 2 + 2 * number) * product + pow(65537, number, product)
        moduli.append(modulus + product * (1 - modulus % 2))
    return moduli


def _uint(number: int) -> str:
    return base64url.encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode()


def test_a_set_full_of_the_costliest_keys_costs_a_bounded_number_of_calls() -> None:
    keys = [{"kty": "RSA", "kid": str(n), "n": _uint(n), "e": "AQAB"} for n in _moduli()]
    document = json.dumps({"keys": keys}).encode()
    assert len(KeySet.from_jwks(document).rejected) == MAX_KEYS + 1
    stays_within(
        lambda: KeySet.from_jwks(document), len(document), more_calls=CALLS_PER_KEY * MAX_KEYS
    )


def test_keys_that_all_share_a_kid_are_told_apart_in_a_bounded_number_of_calls() -> None:
    keys = [SigningKey.generate().public_jwk() | {"kid": "same"} for _ in range(MAX_KEYS)]
    document = json.dumps({"keys": keys}).encode()
    assert KeySet.from_jwks(document).keys == ()
    stays_within(
        lambda: KeySet.from_jwks(document), len(document), more_calls=CALLS_PER_KEY * MAX_KEYS
    )


def test_the_bound_is_one_that_something_could_break() -> None:
    """Reading one character at a time, or keeping every suffix, is found out."""
    text = b"x" * 4_000
    with pytest.raises(AssertionError, match="calls"):
        stays_within(lambda: [len(text[at:]) for at in range(4_000) for _ in range(12)], len(text))
    with pytest.raises(AssertionError, match="bytes"):
        stays_within(lambda: [text[at:] for at in range(4_000)], len(text))
    assert BYTES_PER_BYTE < 100
