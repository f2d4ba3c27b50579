# SPDX-License-Identifier: Apache-2.0
"""Verification: what goes in, what comes out, and that nothing else makes a VerifiedToken."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from keyfob.errors import (
    TOKEN_CODES,
    ClaimError,
    MalformedTokenError,
    TokenError,
    UntrustedTokenError,
)
from keyfob.guard.exchanges.ace import AceMethod
from keyfob.tokens.confirmation import check
from keyfob.tokens.introspected import active_members
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import (
    NeedKeys,
    TrustedIssuer,
    VerifiedToken,
    unverified,
)
from tests.guard.exchanges.proving import shown

Forge = Callable[..., str]
Accepted = Callable[..., VerifiedToken]
Refused = Callable[..., str]
Claims = dict[str, Any]


def test_a_good_token_gives_its_claims_key_device_and_end(
    claims: Claims, forge: Forge, accepted: Accepted, signing_key: SigningKey, issuer: TrustedIssuer
) -> None:
    token = accepted(forge(claims))
    assert token.issuer is issuer
    assert dict(token.claims.members) == claims
    assert token.claims.scope == ("mqtt.connect", "mqtt.publish:up/dev1/#")
    assert (token.key_id, token.device) == (signing_key.kid, "dev1")
    assert token.expires_at == claims["exp"]


def test_text_and_bytes_are_the_same_token(
    claims: Claims, forge: Forge, accepted: Accepted
) -> None:
    token = forge(claims)
    assert accepted(token) == accepted(token.encode())


@pytest.mark.parametrize(
    "change",
    [
        {"exp": 1_790_000_000.5},
        {"exp": 1.7900036e9},
        {"aud": ["mqtt"]},
        {"aud": ["other", "mqtt"]},
        {"scope": ["mqtt.connect"]},
        {"nbf": 1_790_000_000},
        {"nbf": 1_790_000_060},
        {"iat": 1_790_000_060},
        {"iat": 1_789_000_000.25},
        {"unknown": {"deep": [[[{"er": 1}]]]}},
        {"sub": "Gerät 1"},
        {"jti": "x" * 500},
        {"authorization_details": [{"type": "mqtt"}]},
    ],
)
def test_valid_neighbours_of_a_good_token_are_accepted(
    change: Claims, claims: Claims, forge: Forge, accepted: Accepted
) -> None:
    accepted(forge({**claims, **change}))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "AT+JWT"},
        {"typ": "application/at+jwt"},
        {"x5t": "AA", "x5t#S256": "AA"},
        {"unknown": [1, {"a": None}]},
        {"kid": None},
        {"nonce": "x"},
    ],
)
def test_unknown_headers_and_other_spellings_of_typ_are_accepted(
    header: dict[str, Any], claims: Claims, forge: Forge, accepted: Accepted
) -> None:
    accepted(forge(claims, header))


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("listed", ["EdDSA", "Ed25519"])
def test_either_name_of_eddsa_verifies_with_a_key_of_either(
    *,
    alg: str,
    listed: str,
    claims: Claims,
    issuer: TrustedIssuer,
    accepted: Accepted,
    signing_keys: Mapping[str, SigningKey],
) -> None:
    key = signing_keys[alg]
    jwk = {**key.public_jwk(), "alg": listed}
    trust = replace(issuer, algorithms=frozenset({listed}))
    accepted(key.sign(claims), issuer=trust, keys=KeySet.from_jwks({"keys": [jwk]}))


def test_without_a_kid_every_key_of_the_algorithm_is_tried(
    claims: Claims, forge: Forge, accepted: Accepted, signing_key: SigningKey
) -> None:
    others = [SigningKey.generate().public_jwk() for _ in range(2)]
    keys = KeySet.from_jwks({"keys": [*others, signing_key.public_jwk()]})
    assert accepted(forge(claims, {"kid": None}), keys=keys).key_id == signing_key.kid


# --- the world is asked by a value ---


def test_without_keys_the_issuers_keys_are_asked_for(
    claims: Claims, forge: Forge, attempt: Callable[..., Any], issuer: TrustedIssuer
) -> None:
    assert attempt(forge(claims, {"kid": "k"}), keys=None) == NeedKeys(issuer, "k", loaded=False)


@pytest.mark.parametrize("kid", ["new", "../../../dev/null", "x' UNION SELECT '1';--", "|sleep 10"])
def test_an_unknown_kid_asks_for_newer_keys_and_is_refused_only_after(
    kid: str, claims: Claims, forge: Forge, attempt: Callable[..., Any], issuer: TrustedIssuer
) -> None:
    needed = attempt(forge(claims, {"kid": kid}))
    assert needed == NeedKeys(issuer, kid, loaded=True)
    assert needed.refusal().code == "key_unknown"
    assert kid not in str(needed.refusal())


@pytest.mark.attack("J15", "key_unknown")
def test_a_rotated_key_is_unknown_once_it_has_left_the_set(
    claims: Claims, forge: Forge, attempt: Callable[..., Any]
) -> None:
    newer = KeySet.from_jwks({"keys": [SigningKey.generate().public_jwk()]})
    needed = attempt(forge(claims), keys=newer)
    assert isinstance(needed, NeedKeys)
    assert needed.refusal().code == "key_unknown"


# --- only verify makes a VerifiedToken ---


def test_nothing_but_verify_makes_a_verified_token(
    claims: Claims, forge: Forge, accepted: Accepted
) -> None:
    token = accepted(forge(claims))
    values = {field.name: getattr(token, field.name) for field in dataclasses.fields(token)}
    for seal in (None, object(), True, token):
        with pytest.raises(TypeError):
            VerifiedToken(**values, seal=seal)
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(token, device="victim")  # type: ignore[call-arg]
    with pytest.raises(dataclasses.FrozenInstanceError):
        token.device = "victim"  # type: ignore[misc]
    assert copy.copy(token) == token


def test_the_token_itself_is_nowhere_in_what_is_returned(
    claims: Claims, forge: Forge, accepted: Accepted
) -> None:
    text = forge(claims)
    shown = repr(accepted(text))
    assert not any(segment in shown for segment in text.split("."))


# --- for a person to look at ---


def test_unverified_shows_whatever_has_the_structure_of_a_token(
    claims: Claims, forge: Forge
) -> None:
    header = {"alg": "none", "crit": ["x"], "kid": 7, "typ": "nonsense"}
    assert unverified(forge({"exp": "tomorrow"}, header)) == (header, {"exp": "tomorrow"})
    unsigned = forge(claims).rpartition(".")[0] + "."
    assert unverified(unsigned)[1] == claims


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("", "token_missing"),
        ("garbage", "token_malformed"),
        ("e30.e30.e30.e30.e30", "token_encrypted"),
        ("W10.e30.", "token_malformed"),
        ("e30.W10.", "token_malformed"),
        ("e30.e30.A", "token_malformed"),
        ("e30.e30.\n", "token_malformed"),
        ("x" * 65_535, "token_too_long"),
        ("eyJhIjoxLCJhIjoyfQ.e30.", "duplicate_member"),
    ],
)
def test_unverified_wants_the_structure_of_a_token(token: str, code: str) -> None:
    with pytest.raises(MalformedTokenError) as caught:
        unverified(token)
    assert caught.value.code == code


# --- the whole closed set ---


def _raised(action: Callable[[], object]) -> TokenError:
    with pytest.raises(TokenError) as caught:
        action()
    return caught.value


def test_every_token_code_is_raised_by_the_class_that_errors_py_draws_it_under(
    claims: Claims, forge: Forge, attempt: Callable[..., Any], issuer: TrustedIssuer
) -> None:
    good = forge(claims)
    spoilt = KeySet.from_jwks(
        {"keys": [{**SigningKey.generate().public_jwk(), "kid": "k", "use": "enc"}]}
    )

    def changed(**change: Any) -> Callable[[], object]:
        return lambda: attempt(forge({**claims, **change}))

    examples: dict[type[TokenError], list[Callable[[], object]]] = {
        MalformedTokenError: [
            lambda: attempt(""),
            lambda: attempt("x" * 65_535),
            lambda: attempt("garbage"),
            lambda: attempt("e30.e30.e30.e30.e30"),
            lambda: attempt(forge(b'{"iss":"a","iss":"a"}')),
            lambda: shown(AceMethod(), b"\0\1x", b""),
        ],
        UntrustedTokenError: [
            lambda: attempt(forge(claims, {"alg": "none"})),
            lambda: attempt(forge(claims, {"crit": ["x"]})),
            lambda: attempt(forge(claims, {"typ": "JWT"})),
            changed(iss="https://elsewhere.example"),
            lambda: (_ for _ in ()).throw(attempt(forge(claims, {"kid": "x"})).refusal()),
            lambda: attempt(forge(claims, {"kid": "k"}), keys=spoilt),
            lambda: attempt(good.rpartition(".")[0] + "." + "A" * 86),
            lambda: active_members(b'{"active":false}'),
            lambda: shown(AceMethod(), b"\0\1xy", b""),
        ],
        ClaimError: [
            lambda: attempt(forge({**claims, "jti": None, "scope": 1})),
            lambda: attempt(forge({name: claims[name] for name in claims if name != "jti"})),
            changed(aud="other"),
            lambda: attempt(good, now=2e9),
            changed(nbf=1_790_003_000),
            lambda: attempt(good, issuer=replace(issuer, max_lifetime=1)),
            changed(scope=""),
            lambda: check(attempt(forge({**claims, "cnf": {}})), None),
        ],
    }
    seen = {}
    for kind, actions in examples.items():
        for action in actions:
            error = _raised(action)
            assert type(error) is kind
            seen[error.code] = error
    assert set(seen) == TOKEN_CODES
