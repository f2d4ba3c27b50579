# SPDX-License-Identifier: Apache-2.0
"""A trust that means nothing, or too much, is refused before any token comes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keyfob.errors import ConfigError
from keyfob.tokens.verify import TrustedIssuer


@pytest.mark.parametrize("name", ["HS256", "HS384", "HS512", "hs256"])
def test_shared_secret_algorithms_are_refused_and_the_error_says_why(
    name: str, issuer: TrustedIssuer
) -> None:
    with pytest.raises(ConfigError, match=r"secret .* mint tokens .* ES256") as caught:
        replace(issuer, algorithms=frozenset({"ES256", name}))
    assert "example" in str(caught.value)


@pytest.mark.parametrize("name", ["none", "None", "", "es256", "ES384", "RS512", "RSA-OAEP", "dir"])
def test_algorithms_that_are_not_verified_here_are_refused(
    name: str, issuer: TrustedIssuer
) -> None:
    with pytest.raises(ConfigError, match=r"algorithms: .*not supported.*ES256"):
        replace(issuer, algorithms=frozenset({name}))


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"issuer": ""},
        {"audiences": frozenset()},
        {"audiences": frozenset({"mqtt", ""})},
        {"algorithms": frozenset()},
        {"types": frozenset()},
        {"device_claim": ""},
        {"audience_claim": ""},
        {"scope_claim": ""},
        {"required_values": (("token_use", ""),)},
        {"required_values": (("", "access"),)},
        {"leeway": -1},
        {"expiry_leeway": -1},
        {"expiry_leeway": 301},
        {"max_lifetime": 0},
        {"max_lifetime": -5},
        {"client_id_template": "*"},
        {"client_id_template": ""},
    ],
)
def test_a_rule_that_means_nothing_is_refused(
    change: dict[str, Any], issuer: TrustedIssuer
) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(issuer, **change)
    assert caught.value.key


def test_an_issuer_of_plain_access_tokens_owes_the_claims_of_rfc_9068(
    issuer: TrustedIssuer,
) -> None:
    assert issuer.required_claims == ("sub", "client_id", "iat", "jti")
    spelled = replace(issuer, types=frozenset({"application/AT+JWT"}))
    assert spelled.types == issuer.types
    assert spelled.required_claims == issuer.required_claims
    assert replace(issuer, types=frozenset({"at+jwt", "JWT"})).required_claims == ()


@pytest.mark.parametrize("name", ["EdDSA", "Ed25519"])
def test_either_name_of_eddsa_trusts_both(name: str, issuer: TrustedIssuer) -> None:
    assert replace(issuer, algorithms=frozenset({name})).accepted_algorithms == {"EdDSA", "Ed25519"}


def test_one_algorithm_trusts_no_other(issuer: TrustedIssuer) -> None:
    assert issuer.accepted_algorithms == {"ES256"}
