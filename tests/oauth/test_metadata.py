# SPDX-License-Identifier: Apache-2.0
"""What an issuer says of itself, and where that may lead."""

from __future__ import annotations

import json

import pytest

from keyfob.errors import UpstreamError
from keyfob.oauth.metadata import Metadata, read_metadata

ISSUER = "https://as.example"
URL = f"{ISSUER}/.well-known/oauth-authorization-server"


def metadata(**members: object) -> Metadata:
    body = json.dumps({"issuer": ISSUER, **members}).encode()
    found = read_metadata(ISSUER, URL, body)
    assert found is not None
    return found


def test_whoever_shows_a_certificate_is_sent_to_the_alias_and_others_are_not() -> None:
    said = metadata(
        token_endpoint=f"{ISSUER}/token",
        jwks_uri=f"{ISSUER}/jwks",
        mtls_endpoint_aliases={"token_endpoint": "https://mtls.as.example/token"},
    )
    assert said.address("token_endpoint") == f"{ISSUER}/token"
    assert said.address("token_endpoint", mutual_tls=True) == "https://mtls.as.example/token"
    assert said.address("jwks_uri", mutual_tls=True) == f"{ISSUER}/jwks"


@pytest.mark.parametrize("aliases", [None, [], "x", {}])
def test_where_there_are_no_aliases_there_is_one_endpoint(aliases: object) -> None:
    said = metadata(token_endpoint=f"{ISSUER}/token", mtls_endpoint_aliases=aliases)
    assert said.address("token_endpoint", mutual_tls=True) == f"{ISSUER}/token"


@pytest.mark.parametrize("alias", [5, "http://as.example/token", "https://127.0.0.1/token"])
def test_an_alias_is_no_way_around_the_rules(alias: object) -> None:
    said = metadata(
        token_endpoint=f"{ISSUER}/token", mtls_endpoint_aliases={"token_endpoint": alias}
    )
    with pytest.raises(UpstreamError):
        said.address("token_endpoint", mutual_tls=True)
