# SPDX-License-Identifier: Apache-2.0
"""What an ID token must say before it signs an operator in; anything else signs nobody in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError
from keyfob.server.openid.id_token import IdTokenError, read_id_token
from keyfob.server.openid.settings import OpenIdSettings
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey

NOW = 1_800_000_000.0
KEY, OTHER = SigningKey.generate(), SigningKey.generate()
KEYS = KeySet.from_jwks({"keys": [KEY.public_jwk()]})
SETTINGS = OpenIdSettings(issuer="https://id.example", client_id="keyfob", client_secret="s")
CLAIMS: dict[str, Any] = {
    "iss": "https://id.example",
    "sub": "alice-there",
    "aud": "keyfob",
    "iat": NOW,
    "exp": NOW + 300,
    "nonce": "the-nonce",
}


def read(token: str, *, settings: OpenIdSettings = SETTINGS, keys: KeySet = KEYS) -> str:
    return read_id_token(token, settings, keys, nonce="the-nonce", now=NOW)


def refused(token: str, **more: Any) -> str:
    with pytest.raises(IdTokenError) as caught:
        read(token, **more)
    return caught.value.reason


@pytest.mark.parametrize("typ", ["JWT", "jwt", "application/jwt"])
def test_a_good_token_says_who_it_is(typ: str) -> None:
    assert read(KEY.sign(CLAIMS, typ=typ)) == "alice-there"
    assert read(KEY.sign(CLAIMS | {"aud": ["keyfob"], "azp": "keyfob"}, typ=typ)) == "alice-there"


def test_another_claim_may_say_it() -> None:
    settings = OpenIdSettings(
        issuer="https://id.example", client_id="keyfob", client_secret="s", claim="email"
    )
    claims = CLAIMS | {"email": "a@b.example", "email_verified": True}
    assert read(KEY.sign(claims, typ="JWT"), settings=settings) == "a@b.example"
    for value in (None, "", 7, ["a@b.example"], "x" * 256):
        token = KEY.sign(claims | {"email": value}, typ="JWT")
        assert refused(token, settings=settings) == "openid_claim_missing"


@pytest.mark.parametrize("more", [{}, *({"email_verified": it} for it in (False, None, "true", 1))])
def test_an_address_that_the_issuer_did_not_verify_is_nobodys(more: dict[str, Any]) -> None:
    settings = replace(SETTINGS, claim="email")
    token = KEY.sign(CLAIMS | {"email": "a@b.example"} | more, typ="JWT")
    assert refused(token, settings=settings) == "openid_email_not_verified"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://evil.example"}, "openid_iss_refused"),
        ({"iss": "https://id.example/"}, "openid_iss_refused"),
        ({"aud": "other"}, "openid_aud_refused"),
        ({"aud": ["keyfob", "other"]}, "openid_aud_refused"),
        ({"aud": []}, "openid_aud_refused"),
        ({"azp": "other"}, "openid_aud_refused"),
        ({"exp": NOW}, "openid_expired"),
        ({"iat": NOW - 601}, "openid_iat_refused"),
        ({"iat": NOW + 61}, "openid_iat_refused"),
        ({"nbf": NOW + 61}, "openid_nbf_in_future"),
        ({"nonce": "another"}, "openid_nonce_wrong"),
        ({"nonce": ["the-nonce"]}, "openid_nonce_wrong"),
        ({"sub": ""}, "openid_claim_invalid"),
    ],
)
def test_what_is_not_for_this_sign_in_is_refused(changes: dict[str, Any], reason: str) -> None:
    assert refused(KEY.sign(CLAIMS | changes, typ="JWT")) == reason


@pytest.mark.parametrize("missing", ["iss", "aud", "exp", "iat", "nonce", "sub"])
def test_nothing_may_be_left_out(missing: str) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != missing}
    assert refused(KEY.sign(claims, typ="JWT")).startswith("openid_")


def test_only_the_issuers_keys_count() -> None:
    assert refused(OTHER.sign(CLAIMS, typ="JWT")) == "openid_key_unknown"
    head, payload, _ = KEY.sign(CLAIMS, typ="JWT").split(".")
    _, _, signature = KEY.sign(CLAIMS | {"sub": "mallory"}, typ="JWT").split(".")
    assert refused(f"{head}.{payload}.{signature}") == "openid_signature_wrong"
    assert refused(f"eyJhbGciOiJub25lIn0.{payload}.").startswith("openid_")
    assert refused(KEY.sign(CLAIMS, typ="at+jwt")) == "openid_typ_refused"


@given(st.text(max_size=80))
def test_nonsense_is_refused_and_nothing_else_happens(text: str) -> None:
    assert refused(text).startswith("openid_")


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://id.example"},
        {"issuer": ""},
        {"client_id": ""},
        {"client_secret": ""},
        {"claim": ""},
    ],
)
def test_settings_that_cannot_be_right_are_refused(changes: dict[str, str]) -> None:
    values: dict[str, Any] = {
        "issuer": "https://id.example",
        "client_id": "a",
        "client_secret": "b",
    }
    with pytest.raises(ConfigError):
        OpenIdSettings(**(values | changes))
