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
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import VerifiedToken

Forge = Callable[..., str]
Accepted = Callable[..., VerifiedToken]
Refused = Callable[..., str]
Claims = dict[str, Any]


def _raw(claims: Claims, *members: str) -> bytes:
    """The claims' JSON with members appended as text, whatever they do to it."""
    return (json.dumps(claims)[:-1] + "".join("," + member for member in members) + "}").encode()


# --- extensions ---


@pytest.mark.attack("J7", "critical_header_refused")
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


@pytest.mark.attack("J11", "token_too_long")
def test_a_token_that_fills_an_mqtt_field(claims: Claims, forge: Forge, refused: Refused) -> None:
    assert refused(forge({**claims, "x": "x" * 50_000})) == "token_too_long"
    assert refused("A" * 65_535) == "token_too_long"
    assert refused(b"\0" * 10_000_000) == "token_too_long"


@pytest.mark.attack("J11", "token_malformed")
def test_nesting_without_end(claims: Claims, forge: Forge, refused: Refused) -> None:
    assert refused(forge(_raw(claims, '"x":' + "[" * 5_000 + "]" * 4_000))) == "token_malformed"
    assert refused(forge(_raw(claims, '"x":' + '{"x":' * 17 + "1" + "}" * 17))) == "token_malformed"


@pytest.mark.attack("J11", "token_malformed")
def test_a_number_without_end(claims: Claims, forge: Forge, refused: Refused) -> None:
    assert refused(forge(_raw(claims, '"x":' + "9" * 10_000))) == "token_malformed"
    assert refused(forge(_raw(claims, '"x":0.' + "9" * 10_000))) == "token_malformed"


# --- other serialisations ---


@pytest.mark.attack("J12", "token_encrypted")
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


@pytest.mark.attack("J12", "token_malformed")
def test_a_signed_token_that_says_it_is_encrypted(
    claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge(claims, {"enc": "A256GCM"})) == "token_malformed"


@pytest.mark.attack("J13", "token_malformed")
def test_json_serialisations(claims: Claims, forge: Forge, refused: Refused) -> None:
    protected, payload, signature = forge(claims).split(".")
    flat = {"protected": protected, "payload": payload, "signature": signature}
    general = {"payload": payload, "signatures": [{"protected": protected, "signature": signature}]}
    for form in (flat, general):
        assert refused(json.dumps(form)) == "token_malformed"


@pytest.mark.attack("J13", "token_malformed")
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
        lambda token: "." + token.split(".")[1] + ".",
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


@pytest.mark.attack("J13", "token_malformed")
def test_a_second_spelling_of_the_same_signature(
    claims: Claims, forge: Forge, refused: Refused
) -> None:
    """64 bytes end in a character with four unused bits; 15 of 16 spellings are not canonical."""
    token = forge(claims)
    last = base64url.ALPHABET.index(token[-1:].encode())
    for bits in range(1, 16):
        assert refused(token[:-1] + chr(base64url.ALPHABET[last + bits])) == "token_malformed"


@pytest.mark.attack("J13", "token_malformed", "signature_invalid")
@pytest.mark.parametrize(
    ("part", "code"),
    [(0, "token_malformed"), (1, "token_malformed"), (2, "signature_invalid")],
    ids=["header", "payload", "signature"],
)
def test_a_part_left_out(
    part: int, code: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    parts = forge(claims).split(".")
    assert refused(".".join([*parts[:part], "", *parts[part + 1 :]])) == code
    assert refused(".".join([*parts[:part], *parts[part + 1 :]])) == "token_malformed"


def _signed_as_written(header: str, payload: str, key: SigningKey) -> str:
    text = f"{header}.{payload}"
    return f"{text}.{base64url.encode(key.signature(text.encode())).decode()}"


@pytest.mark.attack("J13", "token_malformed")
@pytest.mark.parametrize("part", [0, 1], ids=["header", "payload"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text + "=",
        lambda text: text + "    ",
        lambda text: "    " + text,
        lambda text: text + "####",
        lambda text: "?" + text,
        lambda text: text[:5] + "?" + text[5:],
        lambda text: text[:5] + "\n" + text[5:],
        lambda text: text[:4] + "+/" + text[4:],
        lambda text: text + "A" * (1 + -len(text) % 4),
    ],
    ids=["=", "spaces", "spaces before", "#", "? before", "?", "newline", "+/", "length"],
)
def test_bad_base64_although_the_issuer_signed_it_as_written(
    *,
    part: int,
    spoil: Callable[[str], str],
    claims: Claims,
    forge: Forge,
    refused: Refused,
    signing_key: SigningKey,
) -> None:
    parts = forge(claims).split(".")[:2]
    parts[part] = spoil(parts[part])
    assert refused(_signed_as_written(parts[0], parts[1], signing_key)) == "token_malformed"


@pytest.mark.attack("J13", "token_malformed")
def test_set_unused_bits_although_the_issuer_signed_them_as_written(
    *,
    claims: Claims,
    forge: Forge,
    accepted: Accepted,
    refused: Refused,
    signing_key: SigningKey,
) -> None:
    """A lenient decoder reads the same claims; with three lengths, two have unused bits."""
    tails = set()
    for filler in ("", "x", "xx"):
        header, payload, _ = forge({**claims, "x": filler}).split(".")
        accepted(_signed_as_written(header, payload, signing_key))
        tails.add(len(payload) % 4)
        if len(payload) % 4:
            last = base64url.ALPHABET.index(payload[-1:].encode())
            spelt = payload[:-1] + chr(base64url.ALPHABET[last + 1])
            assert refused(_signed_as_written(header, spelt, signing_key)) == "token_malformed"
    assert tails == {0, 2, 3}


def test_white_space_within_the_json_is_no_attack(
    claims: Claims, forge: Forge, accepted: Accepted, signing_key: SigningKey
) -> None:
    header = f' {{ "typ" : "at+jwt",\r\n\t"kid":"{signing_key.kid}" , "alg":"ES256" }}\n'
    accepted(forge(json.dumps(claims, indent=2).encode(), header.encode()))
