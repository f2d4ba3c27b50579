# SPDX-License-Identifier: Apache-2.0
"""With its preset the documented token of a product is accepted, and its nearest relatives are not.

Sections and tokens are those that docs/authorization-servers.md shows.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyfob.authorization.policy import Policy
from keyfob.cli import compose
from keyfob.config import PRESETS, IssuerSection, load
from keyfob.errors import TokenError
from keyfob.tokens import base64url
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import TrustedIssuer, VerifiedToken, verify

DOCUMENT = (Path(__file__).parents[2] / "docs/authorization-servers.md").read_text("utf-8")
HEADINGS = {
    "keycloak": "Keycloak",
    "hydra": "Ory Hydra",
    "auth0": "Auth0",
    "entra": "Microsoft Entra ID",
    "cognito": "Amazon Cognito",
}
KEY = SigningKey.generate("RS256")
# As Entra publishes keys: certificates, and no word on the algorithm. The others name it.
JWK = {name: value for name, value in KEY.public_jwk().items() if name != "alg"}
KEYS = KeySet.from_jwks({"keys": [{**JWK, "x5t": KEY.kid, "x5c": ["MIIC/TCCAeWgAwIBAgI"]}]})
ROWS = {"devices/{}/#", "commands/{}/#"}


@dataclass(frozen=True)
class Product:
    """A product as the documentation has it."""

    name: str
    section: IssuerSection
    trusted: TrustedIssuer
    policy: Policy
    claims: dict[str, Any]

    def verified(self, **changes: Any) -> VerifiedToken:
        """Verify its token, changed; None leaves a claim out, and typ is the header's."""
        header = {"alg": "RS256", "kid": KEY.kid, "typ": "JWT"}
        if self.name == "cognito":
            del header["typ"]
        for name in ("alg", "header_typ"):
            if name in changes:
                header[name.removeprefix("header_")] = changes.pop(name)
        claims = {n: value for n, value in (self.claims | changes).items() if value is not None}
        parts = b".".join(base64url.encode(json.dumps(part).encode()) for part in (header, claims))
        token = parts + b"." + base64url.encode(KEY.signature(parts))
        issuer = self.trusted.issuer
        now = float(self.claims["iat"] + 10)
        verified = verify(token, {issuer: self.trusted}, {issuer: KEYS}, now)
        assert isinstance(verified, VerifiedToken)
        return verified

    def filters(self, **changes: Any) -> set[str]:
        verified = self.verified(**changes)
        granted = self.policy.permissions(verified.claims, verified.device)
        return {str(rule.filter) for rule in granted.permissions.rules}


def block(name: str, language: str) -> str:
    part = DOCUMENT.partition(f"\n## {HEADINGS[name]}\n")[2].partition("\n## ")[0]
    (found,) = re.findall(rf"```{language}\n(.*?)```", part, re.DOTALL)
    return str(found)


@pytest.fixture
def product(request: pytest.FixtureRequest, tmp_path: Path) -> Product:
    name: str = request.param
    path = tmp_path / "keyfob.toml"
    path.write_text(block(name, "toml"), encoding="utf-8")
    (section,) = load(path).issuers
    return Product(
        name,
        section,
        compose.trusted_issuer(section),
        compose.policy(section),
        json.loads(block(name, "json")),
    )


every = pytest.mark.parametrize("product", PRESETS, indirect=True)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_holds_values_of_the_section_and_each_differs_from_the_default(name: str) -> None:
    least = {"name": "a", "issuer": "https://a.example", "audience": ["mqtt"]}
    plain = msgspec.convert(least, IssuerSection)
    filled = msgspec.convert({**least, **PRESETS[name]}, IssuerSection)
    for key in PRESETS[name]:
        assert getattr(filled, key) != getattr(plain, key)


def test_the_documentation_tells_what_each_preset_sets() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", DOCUMENT, re.MULTILINE))
    assert set(rows) == set(PRESETS)
    for name, preset in PRESETS.items():
        told = set()
        for key, value in preset.items():
            if isinstance(value, dict):
                told |= {f"`{key}.{claim} = {json.dumps(text)}`" for claim, text in value.items()}
            else:
                told.add(f"`{key} = {json.dumps(value)}`")
        assert set(re.findall(r"`[^`]+`", rows[name])) == told


@every
def test_the_documented_token_is_accepted_for_its_client(product: Product) -> None:
    device = product.verified().device
    assert device == product.claims.get("azp", product.claims.get("client_id"))
    native = {"devices/t7/#", "commands/t7/+"}
    expected = {row.format(device) for row in ROWS} if product.section.policy else native
    assert product.filters() == expected


@every
def test_a_client_without_the_right_gets_no_topic(product: Product) -> None:
    without: dict[str, dict[str, Any]] = {
        "keycloak": {"realm_access": {"roles": ["default-roles-iot"]}},
        "hydra": {"scp": ["mqtt.connect"]},
        "auth0": {"scope": "mqtt.connect"},
        "entra": {"roles": ["mqtt.connect"]},
        "cognito": {"scope": "mqtt/connect other/sensor"},
    }
    assert product.filters(**without[product.name]) == set()


ANOTHER_AUDIENCE: dict[str, list[dict[str, Any]]] = {
    "keycloak": [{"aud": "account"}, {"aud": ["account", "another"]}],
    "hydra": [{"aud": ["another"]}, {"aud": []}],
    "auth0": [{"aud": ["https://another.example.com", "https://example.eu.auth0.com/userinfo"]}],
    "entra": [
        {"aud": "00000003-0000-0000-c000-000000000000"},
        {"aud": "api://8f2a1c34-5b6d-4e7f-9a0b-1c2d3e4f5a6b"},
    ],
    "cognito": [
        {"scope": "another/connect another/sensor"},
        {"scope": "aws.cognito.signin.user.admin"},
        {"aud": "https://another.example.com"},
    ],
}


@every
def test_a_token_for_another_audience_is_refused(product: Product) -> None:
    for changes in ANOTHER_AUDIENCE[product.name]:
        with pytest.raises(TokenError) as caught:
            product.verified(**changes)
        assert caught.value.code == "audience_mismatch"


ID_TOKENS: dict[str, dict[str, Any]] = {
    "keycloak": {"typ": "ID", "at_hash": "x", "scope": None, "realm_access": None},
    "hydra": {"at_hash": "x", "scp": None, "client_id": None, "auth_time": 1, "sid": "x"},
    "auth0": {"gty": None, "azp": None, "scope": None, "nonce": "x", "sid": "x"},
    "entra": {"azp": None, "azpacr": None, "name": "Ann", "nonce": "x"},
    "cognito": {"token_use": "id", "scope": None, "client_id": None, "cognito:username": "x"},
}


@every
def test_an_id_token_of_the_same_issuer_is_refused_even_if_its_client_is_called_as_we_are(
    product: Product,
) -> None:
    for aud in ("some-client", *product.section.audience):
        with pytest.raises(TokenError):
            product.verified(**ID_TOKENS[product.name], aud=aud)


@every
def test_one_claim_alone_makes_no_access_token_of_it(product: Product) -> None:
    """Whatever else an ID token had: what the preset requires refuses it."""
    changed: dict[str, tuple[dict[str, Any], str]] = {
        "keycloak": ({"typ": "ID"}, "type_refused"),
        "hydra": ({"client_id": None}, "claim_missing"),
        "auth0": ({"gty": None}, "claim_missing"),
        "entra": ({"azp": None}, "claim_missing"),
        "cognito": ({"token_use": "id"}, "type_refused"),
    }
    changes, code = changed[product.name]
    with pytest.raises(TokenError) as caught:
        product.verified(**changes)
    assert caught.value.code == code


OTHER_TENANTS = {
    "keycloak": "https://keycloak.example.com/realms/master",
    "hydra": "https://hydra.example.com/",
    "auth0": "https://example.eu.auth0.com",
    "entra": "https://sts.windows.net/6c1e0b7a-2d3f-4a5b-8c9d-0e1f2a3b4c5d/",
    "cognito": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Another12",
}


@every
def test_a_token_of_another_tenant_is_refused(product: Product) -> None:
    with pytest.raises(TokenError) as caught:
        product.verified(iss=OTHER_TENANTS[product.name])
    assert caught.value.code == "issuer_unknown"


@every
def test_other_kinds_of_jwt_and_other_algorithms_are_refused(product: Product) -> None:
    for kind in ("logout+jwt", "secevent+jwt", "id+jwt"):
        with pytest.raises(TokenError) as caught:
            product.verified(header_typ=kind)
        assert caught.value.code == "type_refused"
    for alg in ("HS256", "none", "ES256", "PS256"):
        with pytest.raises(TokenError) as caught:
            product.verified(alg=alg)
        assert caught.value.code == "algorithm_refused"


@every
def test_a_token_without_the_scope_to_connect_is_refused(product: Product) -> None:
    without: dict[str, dict[str, Any]] = {
        "keycloak": {"scope": "profile email"},
        "hydra": {"scp": ["mqtt.publish:devices/t7/#"]},
        "auth0": {"scope": "sensor"},
        "entra": {"roles": ["sensor"]},
        "cognito": {"scope": "mqtt/sensor"},
    }
    with pytest.raises(TokenError) as caught:
        product.verified(**without[product.name])
    assert caught.value.code in {"scope_missing", "audience_mismatch"}


@pytest.mark.parametrize("product", ["entra"], indirect=True)
def test_an_entra_token_of_version_1_is_refused(product: Product) -> None:
    with pytest.raises(TokenError):
        product.verified(ver="1.0", azp=None, appid=product.claims["azp"])


@pytest.mark.parametrize("product", ["keycloak", "hydra"], indirect=True)
def test_a_product_that_can_say_at_jwt_may(product: Product) -> None:
    assert product.verified(header_typ="at+jwt").device == product.verified().device


def test_what_the_file_says_wins_over_the_preset(tmp_path: Path) -> None:
    path = tmp_path / "keyfob.toml"
    own = 'types = ["at+jwt"]\nrequire = {gty = "", tenant = "iot"}\nrights = ["aif"]\n'
    path.write_text(block("auth0", "toml").replace("rights = []\n", own), encoding="utf-8")
    (section,) = load(path).issuers
    trusted = compose.trusted_issuer(section)
    assert trusted.types == {"at+jwt"}
    assert trusted.required_values == (("tenant", "iot"),)
    assert trusted.device_claim == "azp"
    assert section.rights == ("aif",)
