# SPDX-License-Identifier: Apache-2.0
"""Attacks on what a token says, each refused with its own code.

Every token here is signed with the issuer's own key, so that nothing but the rule under test can
refuse it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from keyfob.errors import UntrustedTokenError
from keyfob.tokens.json_strict import MAX_DEPTH
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import NeedKeys, TrustedIssuer, VerifiedToken, verify

Forge = Callable[..., str]
Accepted = Callable[..., VerifiedToken]
Refused = Callable[..., str]
Claims = dict[str, Any]


def _raw(claims: Claims, *members: str) -> bytes:
    """The claims' JSON with members appended as text, whatever they do to it."""
    return (json.dumps(claims)[:-1] + "".join("," + member for member in members) + "}").encode()


# --- JSON that two parsers read differently ---


@pytest.mark.attack("J8", "duplicate_member")
@pytest.mark.parametrize(
    "member",
    [
        '"exp":9007199254740990',
        '"scope":"mqtt.connect mqtt.publish:#"',
        '"sub":"victim"',
        '"iss":"https://as.example"',
        '"\\u0073ub":"victim"',
        '"cnf":{"jkt":"a","jkt":"b"}',
        '"x":[{"y":{"z":1,"z":1}}]',
    ],
)
def test_a_claim_that_stands_twice(
    member: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge(_raw(claims, member))) == "duplicate_member"


@pytest.mark.attack("J8", "duplicate_member")
@pytest.mark.parametrize(
    "second", ['"alg":"none"', '"kid":"x"', '"typ":"at+jwt"', '"\\u0061lg":"none"']
)
def test_a_header_parameter_that_stands_twice(
    second: str, claims: Claims, forge: Forge, refused: Refused, signing_key: SigningKey
) -> None:
    header = {"alg": "ES256", "kid": signing_key.kid, "typ": "at+jwt"}
    assert refused(forge(claims, _raw(header, second))) == "duplicate_member"


@pytest.mark.attack("J8", "duplicate_member")
@pytest.mark.parametrize("depth", range(MAX_DEPTH - 1))  # within the claims set itself
@pytest.mark.parametrize("opening", [('{"a":', "}"), ("[", "]")], ids=["objects", "arrays"])
def test_a_member_that_stands_twice_with_one_value_at_every_depth(
    *,
    depth: int,
    opening: tuple[str, str],
    claims: Claims,
    forge: Forge,
    accepted: Accepted,
    refused: Refused,
    signing_key: SigningKey,
) -> None:
    """Equal values are no excuse, in the header and in the claims; its honest twin is accepted."""
    header = {"alg": "ES256", "kid": signing_key.kid, "typ": "at+jwt"}
    once, twice = (
        '"x":' + opening[0] * depth + text + opening[1] * depth
        for text in ('{"x":1}', '{"x":1,"x":1}')
    )
    accepted(forge(_raw(claims, once), _raw(header, once)))
    assert refused(forge(_raw(claims, twice))) == "duplicate_member"
    assert refused(forge(claims, _raw(header, twice))) == "duplicate_member"


@pytest.mark.attack("J13", "token_malformed")
@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"null", b'"x"', b"1", b"{", b"{}{}", b"not json", b"eyJhbGciOiJub25lIn0.e30."],
)
def test_a_payload_that_is_no_json_object(payload: bytes, forge: Forge, refused: Refused) -> None:
    assert refused(forge(payload)) == "token_malformed"


@pytest.mark.attack("J17", "token_malformed")
@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"]
)
def test_a_payload_in_another_encoding_than_utf_8(
    encoding: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    text = json.dumps({**claims, "name": "\u00e9"}, ensure_ascii=False)
    assert refused(forge(text.encode(encoding))) == "token_malformed"


@pytest.mark.attack("J17", "token_malformed")
@pytest.mark.parametrize("member", [r'"device":"\ud800"', r'"\udfff":1', r'"x":["a\uDBFFb"]'])
def test_a_lone_surrogate_in_a_claim(
    member: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge(_raw(claims, member))) == "token_malformed"


@pytest.mark.attack("J17", "claim_invalid")
def test_nul_in_the_device(claims: Claims, forge: Forge, refused: Refused) -> None:
    assert refused(forge({**claims, "sub": "dev1\0victim"})) == "claim_invalid"


# --- dates ---


@pytest.mark.attack("J9", "claim_invalid")
@pytest.mark.parametrize(
    "value",
    [
        '"1790003600"',
        '"1e9"',
        "true",
        "false",
        "null",
        "[]",
        "{}",
        "-1",
        "-1e9",
        "9007199254740992",
        "1e300",
        "[1790003600]",
        "99999999999999999999",
    ],
)
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_a_date_that_is_none(
    name: str, value: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    claims.pop(name, None)
    assert refused(forge(_raw(claims, f'"{name}":{value}'))) == "claim_invalid"


@pytest.mark.attack("J9", "token_malformed")
@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1" * 41, "0x7f", "01"]
)
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_a_date_that_is_not_even_a_json_number(
    name: str, value: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    claims.pop(name, None)
    assert refused(forge(_raw(claims, f'"{name}":{value}'))) == "token_malformed"


@pytest.mark.attack("J9", "token_expired", "token_not_yet_valid", "claim_invalid")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"exp": 0}, "token_expired"),
        ({"exp": 1_790_000_000}, "token_expired"),
        ({"nbf": 1_790_000_061}, "token_not_yet_valid"),
        ({"iat": 1_790_000_061}, "token_not_yet_valid"),
        ({"exp": 1_790_000_010, "nbf": 1_790_000_030}, "claim_invalid"),
    ],
)
def test_dates_of_another_time(
    change: Claims, code: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge({**claims, **change})) == code


# --- for whom, by whom ---


@pytest.mark.attack("J10", "audience_mismatch")
@pytest.mark.parametrize(
    "aud",
    [
        "other",
        "MQTT",
        "mqtt/",
        " mqtt",
        "mqtt ",
        "mqtt\0",
        "mq",
        "mqtt2",
        "other mqtt",
        "",
        [],
        ["MQTT"],
        ["", "x"],
    ],
)
def test_an_audience_that_is_not_exactly_ours(
    aud: Any, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge({**claims, "aud": aud})) == "audience_mismatch"


@pytest.mark.attack("J10", "claim_invalid")
@pytest.mark.parametrize(
    "aud", [1, True, None, {"mqtt": 1}, [["mqtt"]], ["mqtt", 1], ["mqtt", None]]
)
def test_an_audience_that_is_no_text_or_array_of_texts(
    aud: Any, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge({**claims, "aud": aud})) == "claim_invalid"


@pytest.mark.attack("J10", "issuer_unknown")
@pytest.mark.parametrize(
    "iss",
    [
        "https://as.example/",
        "https://AS.example",
        "HTTPS://as.example",
        "http://as.example",
        "https://as.example:443",
        "https://as.example.evil.test",
        "https://as.example\0",
        " https://as.example",
        "as.example",
        "https://\u0430s.example",
    ],
)
def test_an_issuer_that_is_not_exactly_ours(
    iss: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge({**claims, "iss": iss})) == "issuer_unknown"


@pytest.mark.attack("J15", "signature_invalid", "key_unknown")
def test_another_trusted_issuers_key_with_the_same_kid(
    *,
    claims: Claims,
    forge: Forge,
    issuer: TrustedIssuer,
    key_set: KeySet,
    now: float,
    signing_key: SigningKey,
) -> None:
    """A key is looked up among its own issuer's only; else one issuer speaks for the other."""
    other_key = SigningKey.generate()
    other = replace(issuer, name="other", issuer="https://other.example")
    others = KeySet.from_jwks({"keys": [{**other_key.public_jwk(), "kid": signing_key.kid}]})
    issuers = {issuer.issuer: issuer, other.issuer: other}
    keys = {issuer.issuer: key_set, other.issuer: others}
    honest = forge({**claims, "iss": other.issuer}, sign=other_key.signature)
    assert isinstance(verify(honest, issuers, keys, now), VerifiedToken)
    with pytest.raises(UntrustedTokenError) as caught:
        verify(forge(claims, sign=other_key.signature), issuers, keys, now)
    assert caught.value.code == "signature_invalid"
    unshared = SigningKey.generate()
    keys[other.issuer] = KeySet.from_jwks({"keys": [unshared.public_jwk()]})
    borrowed = forge(claims, {"kid": unshared.kid}, sign=unshared.signature)
    needed = verify(borrowed, issuers, keys, now)
    assert isinstance(needed, NeedKeys)
    assert needed.refusal().code == "key_unknown"


@pytest.mark.attack("J14", "type_refused")
@pytest.mark.parametrize(
    "typ",
    [
        "JWT",
        None,
        "",
        "jwt",
        "id+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "logout+jwt",
        "statuslist+jwt",
        "token-introspection+jwt",
        "client-authentication+jwt",
        "oauth-client-attestation+jwt",
        "oauth-authz-req+jwt",
        "at+jws",
        "at+jwt ",
        "at+jwt;v=1",
        "text/at+jwt",
        "application/x/at+jwt",
        "at\u200b+jwt",
    ],
)
def test_every_other_kind_of_jwt_of_the_same_issuer(
    typ: str | None, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge(claims, {"typ": typ})) == "type_refused"


@pytest.mark.attack("J14", "token_malformed")
@pytest.mark.parametrize("typ", [1, ["at+jwt"], {"at+jwt": 1}, True])
def test_a_typ_that_is_no_text(typ: Any, claims: Claims, forge: Forge, refused: Refused) -> None:
    assert refused(forge(claims, {"typ": typ})) == "token_malformed"


# --- a token bound to a key, shown by somebody else: see test_confirmation.py ---


@pytest.mark.attack("J18", "duplicate_member")
def test_a_confirmation_written_twice(claims: Claims, forge: Forge, refused: Refused) -> None:
    payload = _raw(claims, '"cnf":{"x5t#S256":"a"}', '"cnf":{}')
    assert refused(forge(payload)) == "duplicate_member"


@pytest.mark.attack("J18", "claim_invalid")
@pytest.mark.parametrize("cnf", [None, "", [], "x5t#S256", 1])
def test_a_confirmation_made_meaningless_is_not_ignored(
    cnf: Any, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge({**claims, "cnf": cnf})) == "claim_invalid"
