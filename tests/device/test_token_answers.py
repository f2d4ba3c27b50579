# SPDX-License-Identifier: Apache-2.0
"""An answer is a token, a refusal, or nonsense: never anything else, and it is never quoted."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.device.token import Token
from keyfob.device.token_answers import read_token
from keyfob.errors import TokenRequestError, TokenUnavailableError
from tests.device.world import SECRET, SetClock, answer

URL = "https://as.example/token"
NOW = SetClock()()
GOOD = {"access_token": "abc", "token_type": "Bearer", "expires_in": 60}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
members = st.dictionaries(
    st.sampled_from(
        ["access_token", "token_type", "expires_in", "scope", "refresh_token", "error", "cnf"]
    ),
    json_values
    | st.sampled_from(["Bearer", "dpop", "PoP", "invalid_grant", "slow_down", 60, "60"])
    | st.fixed_dictionaries({"jwk": json_values | st.just({"kty": "oct", "k": "AQID" * 12})}),
)


def read(said: Any, status: int = 200, **headers: str) -> Token:
    return read_token(URL, answer(said, status, **headers), obtained=NOW, scope="asked")


@given(
    st.binary(max_size=200) | members.map(lambda each: json.dumps(each).encode()),
    st.integers(100, 599),
    st.text(max_size=20),
)
def test_whatever_is_answered_is_a_token_or_one_of_two_errors(
    body: bytes, status: int, retry_after: str
) -> None:
    try:
        found: Any = read(body, status, retry_after=retry_after)
    except (TokenRequestError, TokenUnavailableError) as error:
        found = error
    match found:
        case TokenRequestError():
            assert 400 <= status < 500
            assert found.error.replace("_", "").isalpha()
        case TokenUnavailableError():
            assert found.retry_after is None or 0 <= found.retry_after <= 3600
        case _:
            assert status == 200
            assert found.access_token
            assert found.lifetime >= 1
            assert found.token_type in {"Bearer", "DPoP", "PoP"}


def test_a_token_is_read_as_the_server_writes_it() -> None:
    token = read({**GOOD, "scope": "a b", "refresh_token": "r"})
    assert (token.access_token, token.token_type, token.scope) == ("abc", "Bearer", "a b")
    assert (token.lifetime, token.refresh_token, token.obtained) == (60.0, "r", NOW)
    assert read(GOOD).scope == "asked"
    assert read({**GOOD, "token_type": "dpop"}).token_type == "DPoP"


def test_a_symmetric_key_comes_with_the_token_that_is_bound_to_it() -> None:
    jwk = {"kty": "oct", "kid": "a", "alg": "HS256", "k": "a2tr" * 11}
    told = {**GOOD, "token_type": "pop", "cnf": {"jwk": jwk}}
    token = read(told)
    assert (token.token_type, token.proof_key) == ("PoP", b"k" * 33)
    assert read({**told, "token_type": "Bearer"}).proof_key is None
    assert read({**told, "cnf": {"jwk": {"kty": "OKP"}}}).proof_key is None
    assert read({**told, "cnf": None}).proof_key is None


def test_null_is_what_is_not_there() -> None:
    token = read({**GOOD, "scope": None, "refresh_token": None})
    assert (token.scope, token.refresh_token) == ("asked", None)


@pytest.mark.parametrize("stated", [1, 60, 60.5, "60", 315360000])
def test_a_lifetime_is_a_number_of_seconds(stated: object) -> None:
    assert read({**GOOD, "expires_in": stated}).lifetime == float(str(stated))


@pytest.mark.parametrize(
    "stated",
    [0, -1, 10**12, 0.001, 10**39, True, "", "-1", "1e3", "\uff16\uff10", "9" * 20, [], {}, "soon"],
)
def test_a_lifetime_that_no_token_has_is_none(stated: object) -> None:
    with pytest.raises(TokenUnavailableError, match="expires_in") as caught:
        read({**GOOD, "expires_in": stated})
    assert caught.value.code == "upstream_invalid"


@pytest.mark.parametrize("spelled", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1" * 400])
def test_a_lifetime_that_is_no_json_is_none(spelled: bytes) -> None:
    body = json.dumps(GOOD).encode().replace(b"60", spelled)
    with pytest.raises(TokenUnavailableError) as caught:
        read(body)
    assert caught.value.code == "upstream_invalid"


def jwt(claims: Mapping[str, object]) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJFUzI1NiJ9.{payload}.c2ln"


def test_where_nobody_says_how_long_a_jwt_says_it_itself_and_else_it_is_an_hour() -> None:
    def lifetime(access_token: str) -> float:
        return read({"access_token": access_token, "token_type": "Bearer"}).lifetime

    assert lifetime(jwt({"iat": 5_000, "exp": 5_300})) == 300
    for other in ("opaque", "a.b.c", "a.!.c", jwt({"exp": 5}), jwt({"iat": "1", "exp": 2})):
        assert lifetime(other) == 3600
    for ended in ({"iat": 5, "exp": 5}, {"iat": 9, "exp": 1}, {"iat": 0, "exp": 1e300}):
        with pytest.raises(TokenUnavailableError):
            lifetime(jwt(ended))


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": ""},
        {"access_token": None},
        {"access_token": 5},
        {"access_token": "a\nb"},
        {"access_token": "ä"},
        {"access_token": "a" * 65_536},
        {"token_type": "mac"},
        {"token_type": None},
        {"refresh_token": "a\x00b"},
        {"refresh_token": 5},
        {"scope": "a\nb"},
        {"scope": ["a"]},
        {"token_type": "PoP", "cnf": {"jwk": {"kty": "oct", "k": "c2hvcnQ"}}},
        {"token_type": "PoP", "cnf": {"jwk": {"kty": "EC", "d": SECRET}}},
    ],
)
def test_nonsense_is_named_without_being_quoted(changes: dict[str, object]) -> None:
    with pytest.raises(TokenUnavailableError) as caught:
        read({**GOOD, "access_token": SECRET, **changes})
    assert caught.value.code == "upstream_invalid"
    assert caught.value.message.startswith(f"{URL}: answered with")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    ["invalid_client", "invalid_grant", "invalid_scope", "access_denied", "unauthorized_client"],
)
def test_a_refusal_is_final_and_named_by_the_standards_word(error: str) -> None:
    said = {"error": error, "error_description": SECRET}
    with pytest.raises(TokenRequestError) as caught:
        read(said, 401)
    assert (caught.value.error, caught.value.status) == (error, 401)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (500, {}),
        (503, {"error": "invalid_client"}),
        (429, {"error": "invalid_request"}),
        (408, b""),
        (400, {"error": "temporarily_unavailable"}),
        (400, {"error": "slow_down"}),
        (400, {"error": "use_dpop_nonce"}),
        (400, {"error": SECRET}),
        (401, b"<html>"),
        (302, b""),
        (204, b""),
        (404, {}),
    ],
)
def test_everything_else_may_be_over_later(status: int, said: Any) -> None:
    with pytest.raises(TokenUnavailableError) as caught:
        read(said, status)
    assert SECRET not in str(caught.value)
    assert ("redirects" in str(caught.value)) == (status == 302)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0", 0.0), ("999999999999", 3600.0), ("-1", None), ("soon", None), ("٣", None)],
)
def test_retry_after_is_read_as_seconds_and_bounded(value: str, seconds: float | None) -> None:
    with pytest.raises(TokenUnavailableError) as caught:
        read({}, 503, retry_after=value)
    assert caught.value.retry_after == seconds
