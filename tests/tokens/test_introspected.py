# SPDX-License-Identifier: Apache-2.0
"""An introspection response is taken by the letter, and checked as a JWT's claims are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import TOKEN_CODES, ClaimError, TokenError, UntrustedTokenError, UpstreamError
from keyfob.tokens import base64url, confirmation
from keyfob.tokens.introspected import active_members
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import (
    NeedIntrospection,
    TrustedIssuer,
    VerifiedToken,
    reverify,
    verify,
    verify_introspected,
)

Members = dict[str, Any]


@pytest.fixture
def asked(issuer: TrustedIssuer) -> TrustedIssuer:
    return replace(issuer, introspect="always")


@pytest.fixture
def answer(now: float) -> Members:
    """What RFC 7662 asks of a server, and what this side needs: no more."""
    return {"sub": "dev1", "aud": "mqtt", "exp": int(now) + 60, "scope": "mqtt.connect"}


def code(members: Members, issuer: TrustedIssuer, now: float, **more: Any) -> str:
    with pytest.raises(TokenError) as caught:
        verify_introspected(members, issuer, now, **more)
    return caught.value.code


def presented(claims: Members, issuer: TrustedIssuer, key: SigningKey, now: float) -> VerifiedToken:
    keys = KeySet.from_jwks({"keys": [key.public_jwk()]})
    need = verify(key.sign(claims), {issuer.issuer: issuer}, {issuer.issuer: keys}, now)
    assert isinstance(need, NeedIntrospection)
    assert need.presented is not None
    return need.presented


# active


def test_an_active_answer_is_its_members() -> None:
    assert active_members(b'{"active":true,"sub":"a","x":[1]}') == {"sub": "a", "x": [1]}


@pytest.mark.parametrize("body", [b'{"active":false}', b' {"active":false,"sub":"a","exp":1} '])
def test_an_inactive_token_is_refused_whatever_else_is_said_of_it(body: bytes) -> None:
    with pytest.raises(UntrustedTokenError) as caught:
        active_members(body)
    assert caught.value.code == "token_inactive"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"true",
        b"[]",
        b"{}",
        b"null",
        b"<html></html>",
        b'{"active":"true"}',
        b'{"active":1}',
        b'{"active":null}',
        b'{"active":[true]}',
        b'{"Active":true}',
        b'{"active":true,"active":true}',
        b'{"active":false,"active":true}',
        b'{"active":true,"cnf":{"a":1,"a":2}}',
        b'{"active":true,"exp":NaN}',
        b'{"active":true',
        b'\xef\xbb\xbf{"active":true}',
        b'{"active":true,"sub":"\xff"}',
        b'{"active":true,"a":' + b"[" * 20 + b"]" * 20 + b"}",
    ],
)
def test_what_is_no_introspection_response_is_the_servers_fault(body: bytes) -> None:
    """Not the token's: a fleet must not throw its tokens away because a proxy answers."""
    with pytest.raises(UpstreamError) as caught:
        active_members(body)
    assert caught.value.code == "upstream_invalid"


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except (TokenError, UpstreamError) as error:
        return error.code


_JSONISH = st.text('{}[]":,activetruefalse01 ', max_size=60).map(str.encode)


@given(body=st.binary(max_size=60) | _JSONISH)
def test_any_body_is_members_or_an_error_with_a_code(body: bytes) -> None:
    read = outcome(lambda: active_members(body))
    assert isinstance(read, dict) or read in {"token_inactive", "upstream_invalid"}


# The members of an opaque token


def test_the_least_that_an_answer_must_say_is_enough(
    answer: Members, issuer: TrustedIssuer, now: float
) -> None:
    token = verify_introspected(answer, issuer, now)
    assert (token.device, token.key_id, token.introspected) == ("dev1", "", True)
    assert token.claims.issuer == issuer.issuer
    assert token.expires_at == now + 60


@pytest.mark.parametrize(
    "extra",
    [
        {"iss": "https://as.example"},
        {"aud": ["other", "mqtt"]},
        {"token_type": "bearer"},
        {"token_type": "BEARER", "token_use": "access_token", "typ": "Bearer"},
        {"token_use": None, "username": "someone", "ext": {"a": 1}},
        {"exp": 1_790_000_060.5, "nbf": 1_790_000_000, "iat": 1_789_999_999},
    ],
)
def test_what_servers_add_is_accepted(
    extra: Members, answer: Members, issuer: TrustedIssuer, now: float
) -> None:
    assert verify_introspected({**answer, **extra}, issuer, now).introspected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iss": "https://as.example/"}, "issuer_unknown"),
        ({"iss": None}, "claim_invalid"),
        ({"aud": "other"}, "audience_mismatch"),
        ({"aud": []}, "audience_mismatch"),
        ({"exp": "1790000060"}, "claim_invalid"),
        ({"exp": True}, "claim_invalid"),
        ({"exp": 1_790_000_000}, "token_expired"),
        ({"nbf": 1_790_000_061 - 1}, "claim_invalid"),
        ({"exp": 1_790_009_999, "nbf": 1_790_000_061}, "token_not_yet_valid"),
        ({"exp": 1_790_009_999, "iat": 1_790_000_061}, "token_not_yet_valid"),
        ({"scope": "mqtt.publish:#"}, "scope_missing"),
        ({"scope": ""}, "scope_missing"),
        ({"scope": 7}, "claim_invalid"),
        ({"sub": ""}, "claim_invalid"),
        ({"sub": "a\nb"}, "claim_invalid"),
        ({"cnf": "x"}, "claim_invalid"),
        ({"token_type": "mac"}, "type_refused"),
        ({"token_type": "refresh_token"}, "type_refused"),
        ({"token_type": 7}, "claim_invalid"),
        ({"token_type": "DPoP"}, "confirmation_unproven"),
        ({"token_use": "refresh_token"}, "type_refused"),
        ({"token_use": "id"}, "type_refused"),
        ({"typ": "Refresh"}, "type_refused"),
        ({"typ": "ID"}, "type_refused"),
        ({"typ": 7}, "type_refused"),
    ],
)
def test_an_active_token_is_refused_for_what_is_said_of_it(
    changes: Members, expected: str, answer: Members, issuer: TrustedIssuer, now: float
) -> None:
    assert code({**answer, **changes}, issuer, now) == expected


@pytest.mark.parametrize("name", ["aud", "exp", "sub"])
def test_what_is_needed_and_not_said_is_missing(
    name: str, answer: Members, issuer: TrustedIssuer, now: float
) -> None:
    del answer[name]
    assert code(answer, issuer, now) == "claim_missing"


@pytest.mark.parametrize("silence", [{}, {"aud": []}, {"aud": None}])
def test_a_missing_audience_is_ours_only_where_that_is_accepted(
    silence: Members, answer: Members, issuer: TrustedIssuer, now: float
) -> None:
    del answer["aud"]
    relaxed = replace(issuer, missing_audience="accept")
    assert verify_introspected({**answer, **silence}, relaxed, now).claims.audience == ("mqtt",)
    assert code({**answer, **silence}, issuer, now)


@pytest.mark.parametrize("aud", ["other", "", ["other"], [""], 0, False, {}])
def test_an_audience_that_is_not_ours_never_becomes_ours(
    aud: object, answer: Members, issuer: TrustedIssuer, now: float
) -> None:
    relaxed = replace(issuer, missing_audience="accept")
    assert code({**answer, "aud": aud}, relaxed, now) in {"audience_mismatch", "claim_invalid"}


def test_a_limited_lifetime_needs_its_beginning(
    answer: Members, issuer: TrustedIssuer, now: float
) -> None:
    limited = replace(issuer, max_lifetime=100)
    assert code(answer, limited, now) == "claim_missing"
    assert code({**answer, "iat": now - 41}, limited, now) == "lifetime_too_long"
    assert verify_introspected({**answer, "iat": now - 40}, limited, now).introspected


def test_the_device_may_be_nested(answer: Members, issuer: TrustedIssuer, now: float) -> None:
    nested = replace(issuer, device_claim="ext.device")
    found = verify_introspected({**answer, "ext": {"device": "pump-7"}}, nested, now)
    assert found.device == "pump-7"
    assert code(answer, nested, now) == "claim_missing"


def test_a_bound_token_stays_bound(answer: Members, issuer: TrustedIssuer, now: float) -> None:
    """RFC 8705 section 3.2: cnf in the answer is as good as in the token."""
    thumbprint = bytes(range(32))
    member = {"x5t#S256": base64url.encode(thumbprint).decode()}
    bound = verify_introspected({**answer, "cnf": member}, issuer, now)
    confirmation.check(bound, thumbprint)
    for proof in (None, bytes(32)):
        with pytest.raises(ClaimError):
            confirmation.check(bound, proof)
    by_key = {**answer, "token_type": "DPoP", "cnf": {"jkt": "x"}}
    with pytest.raises(ClaimError):
        confirmation.check(verify_introspected(by_key, issuer, now), thumbprint)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_NAMES = ["iss", "sub", "aud", "exp", "iat", "nbf", "scope", "cnf", "jti", "token_type"]


@given(changes=st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=4), accept=st.booleans())
def test_any_active_answer_is_verified_or_refused_with_a_code(
    changes: Members, accept: bool, issuer: TrustedIssuer, now: float
) -> None:
    trusted = replace(issuer, missing_audience="accept" if accept else "refuse")
    good = {"sub": "dev1", "aud": "mqtt", "exp": now + 60, "scope": "mqtt.connect"}
    read = outcome(lambda: verify_introspected({**good, **changes}, trusted, now))
    if not isinstance(read, VerifiedToken):
        assert read in TOKEN_CODES
        return
    assert now < read.expires_at < 2**53
    assert "mqtt" in read.claims.audience
    assert read.claims.issuer == issuer.issuer
    assert read.device == read.claims.subject != ""
    again = reverify(read.payload, {trusted.issuer: trusted}, now, key_id="", introspected=True)
    assert again == read


# A JWT that its issuer is asked about


def test_a_jwt_is_verified_before_anybody_is_asked(
    claims: Members, asked: TrustedIssuer, signing_key: SigningKey, refused: Callable[..., str]
) -> None:
    now = float(claims["iat"])
    jwt = presented(claims, asked, signing_key, now)
    assert (jwt.device, jwt.introspected) == ("dev1", False)
    assert refused(signing_key.sign({**claims, "exp": now}), issuer=asked) == "token_expired"
    assert refused(signing_key.sign({**claims, "aud": "x"}), issuer=asked) == "audience_mismatch"
    assert refused(signing_key.sign(claims)[:-4] + "AAAA", issuer=asked) == "signature_invalid"


def test_an_issuer_that_is_asked_about_opaque_tokens_alone_is_not_asked_about_a_jwt(
    claims: Members,
    issuer: TrustedIssuer,
    signing_key: SigningKey,
    attempt: Callable[..., Any],
) -> None:
    outcome = attempt(signing_key.sign(claims), issuer=replace(issuer, introspect="opaque"))
    assert isinstance(outcome, VerifiedToken)


def test_an_issuer_without_algorithms_has_no_jwts(
    claims: Members, issuer: TrustedIssuer, signing_key: SigningKey, refused: Callable[..., str]
) -> None:
    opaque = replace(issuer, introspect="opaque", algorithms=frozenset())
    assert refused(signing_key.sign(claims), issuer=opaque) == "algorithm_refused"


def test_what_the_answer_leaves_out_the_token_says_and_what_it_says_is_newer(
    claims: Members, asked: TrustedIssuer, signing_key: SigningKey, now: float
) -> None:
    jwt = presented(claims, asked, signing_key, now)
    told = verify_introspected({"scope": "mqtt.connect", "role": "b"}, asked, now, presented=jwt)
    assert told.introspected
    assert (told.key_id, told.device) == (signing_key.kid, "dev1")
    assert told.claims.scope == ("mqtt.connect",)
    assert told.claims.members["role"] == "b"
    assert told.claims.token_id == claims["jti"]
    assert told.expires_at == claims["exp"]


def test_scopes_that_a_token_calls_scp_are_what_the_answer_calls_scope(
    claims: Members, asked: TrustedIssuer, signing_key: SigningKey, now: float
) -> None:
    hydra = replace(asked, scope_claim="scp")
    del claims["scope"]
    token = presented(
        {**claims, "scp": ["mqtt.connect", "mqtt.publish:#"]}, hydra, signing_key, now
    )
    narrower = verify_introspected({"scope": "mqtt.connect"}, hydra, now, presented=token)
    assert narrower.claims.scope == ("mqtt.connect",)
    both = {"scope": "openid", "scp": ["mqtt.connect", "mqtt.subscribe:a"]}
    own = verify_introspected(both, hydra, now, presented=token)
    assert own.claims.scope == ("mqtt.connect", "mqtt.subscribe:a")
    silent = verify_introspected({}, hydra, now, presented=token)
    assert silent.claims.scope == ("mqtt.connect", "mqtt.publish:#")


def test_the_earlier_end_counts(
    claims: Members, asked: TrustedIssuer, signing_key: SigningKey, now: float
) -> None:
    jwt = presented(claims, asked, signing_key, now)
    for exp in (claims["exp"] - 100, claims["exp"] + 100):
        told = verify_introspected({"exp": exp}, asked, now, presented=jwt)
        assert told.expires_at == min(exp, claims["exp"])


@pytest.mark.parametrize(
    "other",
    [
        {"iss": "https://other.example"},
        {"sub": "dev2"},
        {"client_id": "dev2"},
        {"jti": "b2"},
        {"cnf": {"x5t#S256": "x"}},
        {"azp": "dev2"},
    ],
)
def test_an_answer_about_another_token_is_refused(
    other: Members, claims: Members, asked: TrustedIssuer, signing_key: SigningKey, now: float
) -> None:
    issuer = replace(asked, device_claim="azp")
    own = {**claims, "azp": "dev1", "cnf": {"x5t#S256": "y"}}
    jwt = presented(own, issuer, signing_key, now)
    assert verify_introspected({}, issuer, now, presented=jwt).device == "dev1"
    assert code(other, issuer, now, presented=jwt) == "claim_invalid"


def test_what_an_issuer_said_can_be_judged_again_by_other_rules(
    claims: Members, asked: TrustedIssuer, signing_key: SigningKey, now: float
) -> None:
    jwt = presented(claims, asked, signing_key, now)
    told = verify_introspected(
        {"exp": claims["exp"] + 100, "big": 2**100}, asked, now, presented=jwt
    )
    for each in (jwt, told):
        again = reverify(
            each.payload,
            {asked.issuer: asked},
            now,
            key_id=each.key_id,
            introspected=each.introspected,
        )
        assert again == each
    stricter = replace(asked, required_scopes=frozenset({"x"}))
    with pytest.raises(ClaimError) as caught:
        reverify(told.payload, {asked.issuer: stricter}, now, key_id="", introspected=True)
    assert caught.value.code == "scope_missing"


def test_only_what_an_issuer_said_may_lack_the_claims_of_a_jwt(
    answer: Members, issuer: TrustedIssuer, now: float
) -> None:
    payload = verify_introspected(answer, issuer, now).payload
    issuers = {issuer.issuer: issuer}
    assert reverify(payload, issuers, now, key_id="", introspected=True).introspected
    with pytest.raises(ClaimError) as caught:
        reverify(payload, issuers, now, key_id="")
    assert caught.value.code == "claim_missing"


def test_an_answer_cannot_unbind_a_token(
    claims: Members, asked: TrustedIssuer, signing_key: SigningKey, now: float
) -> None:
    bound = {**claims, "cnf": {"x5t#S256": "y"}}
    jwt = presented(bound, asked, signing_key, now)
    told = verify_introspected({"token_type": "Bearer"}, asked, now, presented=jwt)
    with pytest.raises(ClaimError):
        confirmation.check(told, None)


def test_nobody_else_makes_a_verified_token(
    issuer: TrustedIssuer, answer: Members, now: float
) -> None:
    token = verify_introspected(answer, issuer, now)
    with pytest.raises(TypeError):
        VerifiedToken(
            issuer=issuer,
            claims=token.claims,
            payload=token.payload,
            key_id="",
            device="dev1",
            expires_at=now + 60,
            introspected=True,
            seal=None,
        )
