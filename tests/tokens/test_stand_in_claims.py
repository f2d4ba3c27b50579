# SPDX-License-Identifier: Apache-2.0
"""Issuers that say whom a token is for, what it may and what it is in claims of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from keyfob.errors import ClaimError, UntrustedTokenError
from keyfob.tokens.verify import TrustedIssuer, VerifiedToken

Forge = Callable[..., str]
Attempt = Callable[..., Any]
Claims = dict[str, Any]


def refusal(attempt: Attempt, token: str, issuer: TrustedIssuer) -> tuple[str, str]:
    with pytest.raises(ClaimError) as caught:
        attempt(token, issuer=issuer)
    return caught.value.code, caught.value.claim


def scopes(attempt: Attempt, token: str, issuer: TrustedIssuer) -> tuple[str, ...]:
    verified = attempt(token, issuer=issuer)
    assert isinstance(verified, VerifiedToken)
    return verified.claims.scope


@pytest.fixture
def scp(issuer: TrustedIssuer) -> TrustedIssuer:
    return replace(issuer, scope_claim="scp")


@pytest.mark.parametrize("value", ["mqtt.connect a", ["mqtt.connect", "a"]])
def test_scopes_are_read_from_the_claim_that_the_issuer_names(
    value: Any, claims: Claims, forge: Forge, attempt: Attempt, scp: TrustedIssuer
) -> None:
    token = forge({**claims, "scp": value, "scope": "admin"})
    assert scopes(attempt, token, scp) == ("mqtt.connect", "a")


def test_scopes_in_the_usual_claim_do_not_count_then(
    claims: Claims, forge: Forge, attempt: Attempt, scp: TrustedIssuer
) -> None:
    assert refusal(attempt, forge(claims), scp) == ("scope_missing", "scp")


def test_scopes_may_be_nested(
    claims: Claims, forge: Forge, attempt: Attempt, issuer: TrustedIssuer
) -> None:
    nested = replace(issuer, scope_claim="realm_access.roles")
    token = forge({**claims, "realm_access": {"roles": ["mqtt.connect"]}})
    assert scopes(attempt, token, nested) == ("mqtt.connect",)
    for other in ({}, {"roles": None}, None, "mqtt.connect"):
        token = forge({**claims, "realm_access": other})
        assert refusal(attempt, token, nested)[0] == "scope_missing"


@pytest.mark.parametrize("value", [None, 1, {"mqtt.connect": True}, ["mqtt.connect", 1]])
def test_scopes_of_another_shape_are_refused(
    value: Any, claims: Claims, forge: Forge, attempt: Attempt, scp: TrustedIssuer
) -> None:
    assert refusal(attempt, forge({**claims, "scp": value}), scp) == ("claim_invalid", "scp")


@pytest.fixture
def resource(issuer: TrustedIssuer) -> TrustedIssuer:
    return replace(issuer, audience_claim="resource")


def test_another_claim_can_say_whom_a_token_is_for(
    claims: Claims, forge: Forge, attempt: Attempt, resource: TrustedIssuer
) -> None:
    del claims["aud"]
    assert attempt(forge({**claims, "resource": "mqtt"}), issuer=resource)
    assert attempt(forge({**claims, "resource": ["x", "mqtt"]}), issuer=resource)
    for value, code in (("x", "audience_mismatch"), ([], "audience_mismatch"), (1, "claim_invalid"),
                        (None, "claim_invalid")):  # fmt: skip
        token = forge({**claims, "resource": value})
        assert refusal(attempt, token, resource) == (code, "resource")
    assert refusal(attempt, forge(claims), resource) == ("claim_missing", "resource")


def test_an_audience_that_is_there_all_the_same_must_be_ours_too(
    claims: Claims, forge: Forge, attempt: Attempt, resource: TrustedIssuer
) -> None:
    both = {**claims, "resource": "mqtt"}
    assert attempt(forge(both), issuer=resource)
    assert refusal(attempt, forge({**both, "aud": "x"}), resource) == ("audience_mismatch", "aud")
    assert refusal(attempt, forge({**both, "aud": 1}), resource) == ("claim_invalid", "aud")
    assert refusal(attempt, forge({**both, "aud": None}), resource) == ("claim_invalid", "aud")


def test_scopes_that_name_the_resource_server_can_say_whom_a_token_is_for(
    claims: Claims, forge: Forge, attempt: Attempt, issuer: TrustedIssuer
) -> None:
    del claims["aud"]
    by_scope = replace(
        issuer,
        audience_claim="scope",
        audiences=frozenset({"broker/connect"}),
        required_scopes=frozenset(),
    )
    assert attempt(forge({**claims, "scope": "other/x broker/connect"}), issuer=by_scope)
    others: list[str | list[str]] = ["other/connect", "broker", "broker/connect2", "", []]
    for scope in others:
        token = forge({**claims, "scope": scope})
        assert refusal(attempt, token, by_scope) == ("audience_mismatch", "scope")
    del claims["scope"]
    assert refusal(attempt, forge(claims), by_scope) == ("audience_mismatch", "scope")


@pytest.fixture
def access(issuer: TrustedIssuer) -> TrustedIssuer:
    values = (("token_use", "access"), ("act.kind", "device"))
    return replace(issuer, required_values=values)


def test_required_values_keep_other_tokens_of_the_issuer_out(
    claims: Claims, forge: Forge, attempt: Attempt, access: TrustedIssuer
) -> None:
    good = {**claims, "token_use": "access", "act": {"kind": "device"}}
    assert attempt(forge(good), issuer=access)
    other = forge({**good, "token_use": "id"})
    with pytest.raises(UntrustedTokenError, match="an ID token"):
        attempt(other, issuer=access)
    for value in ("Access", "access ", "", ["access"], True, {"access": 1}):
        token = forge({**good, "token_use": value})
        assert refusal(attempt, token, access) == ("claim_invalid", "token_use")
    assert refusal(attempt, forge({**good, "act": {}}), access) == ("claim_missing", "act.kind")
    del good["token_use"]
    assert refusal(attempt, forge(good), access) == ("claim_missing", "token_use")
