# SPDX-License-Identifier: Apache-2.0
"""Compact JWS, taken apart strictly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyfob.errors import MalformedTokenError, UntrustedTokenError
from keyfob.tokens import base64url
from keyfob.tokens.jws import (
    MAX_HEADER_CHARS,
    MAX_KID_CHARS,
    MAX_TOKEN_BYTES,
    media_type,
    parse_compact,
)


def _compact(
    header: dict[str, Any] | bytes, payload: bytes = b"{}", signature: bytes = b"s"
) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return b".".join(base64url.encode(part) for part in (head, payload, signature))


def _code(token: str | bytes) -> str:
    with pytest.raises((MalformedTokenError, UntrustedTokenError)) as caught:
        parse_compact(token)
    return caught.value.code


def test_the_parts_of_rfc_7515_appendix_a_3_come_out_as_written() -> None:
    """The example's ES256 header and payload, with its signing input."""
    signing_input = (
        b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
        b"cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    )
    signature = (
        b"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )
    parsed = parse_compact(signing_input + b"." + signature)
    assert (parsed.header.alg, parsed.header.kid, parsed.header.typ) == ("ES256", None, "")
    assert json.loads(parsed.payload)["iss"] == "joe"
    assert parsed.signing_input == signing_input
    assert len(parsed.signature) == 64
    assert parse_compact((signing_input + b"." + signature).decode()) == parsed


def test_a_second_token_with_the_same_header_reads_alike() -> None:
    first = parse_compact(_compact({"alg": "ES256", "kid": "k"}, b"1"))
    second = parse_compact(_compact({"alg": "ES256", "kid": "k"}, b"2"))
    assert first.header == second.header
    assert (first.payload, second.payload) == (b"1", b"2")


@pytest.mark.parametrize("token", ["", b""])
def test_no_token_is_a_missing_one(token: str | bytes) -> None:
    assert _code(token) == "token_missing"


@pytest.mark.parametrize("size", [MAX_TOKEN_BYTES + 1, 65_535, 3_000_000])
def test_a_token_beyond_the_cap_is_too_long_whatever_it_holds(size: int) -> None:
    assert _code(b"\xff" * size) == "token_too_long"


def test_a_token_at_the_cap_is_read() -> None:
    header = base64url.encode(b'{"alg":"ES256"}')
    token = header + b"." + b"A" * (MAX_TOKEN_BYTES - len(header) - 4) + b".AA"
    assert len(token) == MAX_TOKEN_BYTES
    assert parse_compact(token).signature == b"\0"


@pytest.mark.parametrize("dots", [0, 1, 3, 5, 400])
def test_anything_but_three_parts_is_malformed(dots: int) -> None:
    assert _code("eyJ9" + ".eyJ9" * dots) == "token_malformed"


def test_five_parts_are_an_encrypted_token() -> None:
    assert _code("eyJ9.e30.e30.e30.e30") == "token_encrypted"


@pytest.mark.parametrize(
    "junk", [" ", "\n", "\t", "=", "+", "/", "?", "\0", "é", "\u2024", "\ud800"]
)
@pytest.mark.parametrize("place", ["before", "within", "after"])
def test_a_character_outside_the_alphabet_is_malformed(junk: str, place: str) -> None:
    good = _compact({"alg": "ES256"}).decode()
    token = {"before": junk + good, "within": good[:5] + junk + good[5:], "after": good + junk}[
        place
    ]
    assert _code(token) == "token_malformed"


@pytest.mark.parametrize("part", [0, 1, 2])
def test_set_trailing_bits_and_impossible_lengths_are_malformed_in_every_part(part: int) -> None:
    parts = _compact({"alg": "ES256"}, b"1", b"1").split(b".")
    assert [len(each) % 4 for each in parts] == [2, 2, 2]
    last = base64url.ALPHABET.index(parts[part][-1:])
    for bad in (
        parts[part][:-1] + base64url.ALPHABET[last + 1 : last + 2],
        parts[part] + b"AAA",
        parts[part] + b"==",
    ):
        assert _code(b".".join([*parts[:part], bad, *parts[part + 1 :]])) == "token_malformed"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b'"ES256"',
        b"null",
        b"1",
        b"{",
        b'{"alg":"ES256"} x',
        b'\xef\xbb\xbf{"alg":"ES256"}',
    ],
)
def test_a_header_that_is_no_json_object_is_malformed(header: bytes) -> None:
    assert _code(_compact(header)) == "token_malformed"


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"alg": ""},
        {"alg": None},
        {"alg": ["ES256"]},
        {"alg": 256},
        {"alg": "ES256", "kid": ""},
        {"alg": "ES256", "kid": 1},
        {"alg": "ES256", "kid": ["a"]},
        {"alg": "ES256", "kid": "k" * (MAX_KID_CHARS + 1)},
        {"alg": "ES256", "typ": 1},
        {"alg": "ES256", "cty": 1},
        {"alg": "ES256", "cty": "JWT"},
        {"alg": "ES256", "cty": "application/jwt"},
        {"alg": "ES256", "enc": "A256GCM"},
    ],
)
def test_header_parameters_of_wrong_types_and_encrypted_or_nested_tokens_are_malformed(
    header: dict[str, Any],
) -> None:
    assert _code(_compact(header)) == "token_malformed"


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"crit": "exp"},
        {"crit": None},
        {"crit": ["alg"]},
        {"crit": ["nowhere"]},
        {"b64": False},
        {"b64": True},
    ],
)
def test_every_critical_header_is_refused(header: dict[str, Any]) -> None:
    assert _code(_compact({"alg": "ES256", **header})) == "critical_header_refused"


@pytest.mark.parametrize(
    "header", [b'{"alg":"none","alg":"ES256"}', b'{"alg":"ES256","x":{"y":1,"y":1}}']
)
def test_a_header_parameter_that_stands_twice_is_refused(header: bytes) -> None:
    assert _code(_compact(header)) == "duplicate_member"


def test_a_header_beyond_its_cap_is_too_long() -> None:
    assert _code(_compact({"alg": "ES256", "x": "x" * MAX_HEADER_CHARS})) == "token_too_long"


def test_unknown_header_parameters_are_accepted() -> None:
    header = {
        "alg": "ES256",
        "x5t": "AA",
        "x5c": ["MII"],
        "jwk": {},
        "jku": "https://e",
        "cty": "x",
    }
    assert parse_compact(_compact(header)).header.alg == "ES256"


@pytest.mark.parametrize(
    ("typ", "normal"),
    [
        ("at+jwt", "at+jwt"),
        ("AT+JWT", "at+jwt"),
        ("application/at+jwt", "at+jwt"),
        ("Application/At+Jwt", "at+jwt"),
        ("application/x/at+jwt", "application/x/at+jwt"),
        ("text/at+jwt", "text/at+jwt"),
        ("at+jwt;v=1", "at+jwt;v=1"),
        ("\u212at+jwt", "\u212at+jwt"),
        ("", ""),
    ],
)
def test_typ_is_compared_as_a_media_type(typ: str, normal: str) -> None:
    assert media_type(typ) == normal


def test_the_parts_are_not_in_the_repr() -> None:
    token = _compact({"alg": "ES256"}, b'{"hush":1}', b"hush")
    assert "hush" not in repr(parse_compact(token))
    assert token.decode().split(".")[1] not in repr(parse_compact(token))
