# SPDX-License-Identifier: Apache-2.0
"""Attacks on the form of a token, each refused with its own code.

Every token here is signed with the issuer's own key, so that nothing but the rule under test can
refuse it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from keyfob.tokens import base64url
from keyfob.tokens.verify import VerifiedToken

Forge = Callable[..., str]
Accepted = Callable[..., VerifiedToken]
Refused = Callable[..., str]
Claims = dict[str, Any]


def _raw(claims: Claims, *members: str) -> bytes:
    """The claims' JSON with members appended as text, whatever they do to it."""
    return (json.dumps(claims)[:-1] + "".join("," + member for member in members) + "}").encode()


# --- extensions ---


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["x"], "x": 1},
        {"crit": []},
        {"crit": "x", "x": 1},
        {"crit": {"x": 1}, "x": 1},
        {"crit": ["absent"]},
        {"crit": ["alg"]},
        {"crit": ["b64"], "b64": False},
        {"crit": ["b64"], "b64": True},
        {"b64": False},
        {"b64": True},
    ],
)
def test_critical_and_unencoded_payload_headers(
    header: dict[str, Any], claims: Claims, forge: Forge, refused: Refused
) -> None:
    """CVE-2026-32597, CVE-2025-59420; RFC 7797 section 7."""
    assert refused(forge(claims, header)) == "critical_header_refused"


# --- sizes ---


def test_a_token_that_fills_an_mqtt_field(claims: Claims, forge: Forge, refused: Refused) -> None:
    assert refused(forge({**claims, "x": "x" * 50_000})) == "token_too_long"
    assert refused("A" * 65_535) == "token_too_long"
    assert refused(b"\0" * 10_000_000) == "token_too_long"


def test_nesting_without_end(claims: Claims, forge: Forge, refused: Refused) -> None:
    assert refused(forge(_raw(claims, '"x":' + "[" * 5_000 + "]" * 4_000))) == "token_malformed"
    assert refused(forge(_raw(claims, '"x":' + '{"x":' * 17 + "1" + "}" * 17))) == "token_malformed"


def test_a_number_without_end(claims: Claims, forge: Forge, refused: Refused) -> None:
    assert refused(forge(_raw(claims, '"x":' + "9" * 10_000))) == "token_malformed"
    assert refused(forge(_raw(claims, '"x":0.' + "9" * 10_000))) == "token_malformed"


# --- other serialisations ---


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "RSA-OAEP", "enc": "A256GCM"},
        {"alg": "dir", "enc": "A256GCM", "zip": "DEF"},
        {"alg": "PBES2-HS256+A128KW", "enc": "A256GCM", "p2c": 2**31},
    ],
)
def test_an_encrypted_token(header: dict[str, Any], refused: Refused) -> None:
    bomb = zlib.compress(b" " * 1_000_000)
    parts = (json.dumps(header).encode(), b"key", b"iv", bomb, b"tag")
    assert refused(b".".join(map(base64url.encode, parts))) == "token_encrypted"


def test_a_signed_token_that_says_it_is_encrypted(
    claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge(claims, {"enc": "A256GCM"})) == "token_malformed"


def test_json_serialisations(claims: Claims, forge: Forge, refused: Refused) -> None:
    protected, payload, signature = forge(claims).split(".")
    flat = {"protected": protected, "payload": payload, "signature": signature}
    general = {"payload": payload, "signatures": [{"protected": protected, "signature": signature}]}
    for form in (flat, general):
        assert refused(json.dumps(form)) == "token_malformed"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token + "=",
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: token.replace(".", " .", 1),
        lambda token: token + ".",
        lambda token: token + ".e30",
        lambda token: "." + token,
        lambda token: "Bearer " + token,
        lambda token: token.rpartition(".")[0],
        lambda token: token.replace(".", "..", 1),
        lambda token: token.replace(".", "%2E"),
        lambda token: token + "\u200b",
        lambda token: token + "AAA",
    ],
)
def test_anything_around_or_between_the_parts(
    spoil: Callable[[str], str], claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(spoil(forge(claims))) == "token_malformed"


def test_a_second_spelling_of_the_same_signature(
    claims: Claims, forge: Forge, refused: Refused
) -> None:
    """64 bytes end in a character with four unused bits; 15 of 16 spellings are not canonical."""
    token = forge(claims)
    last = base64url.ALPHABET.index(token[-1:].encode())
    for bits in range(1, 16):
        assert refused(token[:-1] + chr(base64url.ALPHABET[last + bits])) == "token_malformed"
