# SPDX-License-Identifier: Apache-2.0
"""What a section says reaches the part that goes by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyfob.authorization.syntaxes.rabbitmq import RabbitMq
from keyfob.cli import compose
from keyfob.cli.parts import Parts
from keyfob.config import IssuerSection, RabbitmqSection, load
from keyfob.errors import ConfigError
from keyfob.guard.fetching import Fetcher
from keyfob.guard.key_sources import FileKeySource, HttpKeySource, StaticKeySource
from keyfob.tokens.sign import SigningKey

pytestmark = pytest.mark.anyio

KEY = SigningKey.generate("ES256")
JWKS = json.dumps({"keys": [KEY.public_jwk()]})


def section(**changes: Any) -> IssuerSection:
    values: dict[str, Any] = {"name": "a", "issuer": "https://a.example", "audience": ("mqtt",)}
    return IssuerSection(**(values | changes))


def test_every_rule_of_the_section_reaches_the_verifier() -> None:
    trusted = compose.trusted_issuer(
        section(
            audience_claim="resource",
            algorithms=("RS256", "ES256"),
            required_scopes=("a", "b"),
            scope_claim="scp",
            device_claim="azp",
            types=("JWT",),
            require={"token_use": "access", "gty": ""},
            leeway=1,
            expiry_leeway=2,
            max_lifetime=3,
            client_id_template="{device}-*",
        )
    )
    assert trusted.name == "a"
    assert trusted.issuer == "https://a.example"
    assert trusted.audiences == {"mqtt"}
    assert trusted.audience_claim == "resource"
    assert trusted.algorithms == {"RS256", "ES256"}
    assert trusted.required_scopes == {"a", "b"}
    assert trusted.scope_claim == "scp"
    assert trusted.device_claim == "azp"
    assert trusted.types == {"jwt"}
    assert trusted.required_values == (("token_use", "access"),)
    assert (trusted.leeway, trusted.expiry_leeway, trusted.max_lifetime) == (1, 2, 3)
    assert trusted.client_id_template == "{device}-*"
    assert compose.trusted_issuer(section()).max_lifetime is None


async def test_keys_come_from_where_the_section_says(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(JWKS, encoding="utf-8")
    inline = compose.key_source(section(jwks=JWKS))
    assert isinstance(inline, StaticKeySource)
    assert [key.kid for key in inline.keys.keys] == [KEY.kid]
    file = compose.key_source(section(jwks_file=tmp_path / "keys.json"))
    assert isinstance(file, FileKeySource)
    fetched = compose.key_source(section(jwks_uri="https://a.example/keys"))
    assert isinstance(fetched, HttpKeySource)
    assert fetched.health().source == "https://a.example/keys"
    assert compose.key_source(section()).health().source == "https://a.example"


async def test_refresh_and_cooldown_reach_the_fetching(monkeypatch: pytest.MonkeyPatch) -> None:
    def answered(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=JWKS, headers={"Cache-Control": "max-age=86400"})

    transport = httpx.MockTransport(answered)
    monkeypatch.setattr(
        "keyfob.guard.key_sources.Fetcher", lambda **_: Fetcher(transport=transport)
    )
    source = compose.key_source(
        section(jwks_uri="https://a.example/keys", jwks_refresh=120, jwks_cooldown=1)
    )
    flight = source.ask_again(None)
    assert flight is not None
    await flight
    assert source.health().fresh_for == 120
    assert source.ask_again(None) is None
    await source.aclose()


def test_native_scopes_count_where_rights_names_them() -> None:
    def rights(*names: str) -> list[str]:
        return [syntax.name for syntax in compose.policy(section(rights=names)).rights]

    assert rights("scopes") == ["scopes"]
    assert rights() == []
    assert rights("aif", "rabbitmq") == ["aif", "rabbitmq"]


def test_a_syntax_is_read_with_the_options_of_its_section() -> None:
    rabbitmq = RabbitmqSection(resource_server_id="mq", vhost="v", aliases={"all": ("mq.tag:x",)})
    policy = compose.policy(section(rights=("rabbitmq",), rabbitmq=rabbitmq))
    (syntax,) = policy.rights
    assert isinstance(syntax, RabbitMq)
    assert (syntax.prefix, syntax.vhost) == ("mq.", "v")


def test_rights_that_do_not_go_together_name_their_key() -> None:
    with pytest.raises(ConfigError) as caught:
        compose.policy(section(rights=("emqx_acl", "scopes")))
    assert caught.value.key == "rights"


async def test_every_issuer_of_a_file_is_bound_by_its_iss(tmp_path: Path) -> None:
    path = tmp_path / "keyfob.toml"
    one = '[[issuer]]\nname = "{0}"\nissuer = "https://{0}.example"\naudience = ["mqtt"]\n'
    path.write_text(one.format("a") + one.format("b"), encoding="utf-8")
    bound = compose.bindings(load(path))
    assert {iss: one.trusted.name for iss, one in bound.items()} == {
        "https://a.example": "a",
        "https://b.example": "b",
    }
    assert all(one.revocations is None for one in bound.values())


async def test_a_renewed_ca_makes_new_what_trusts_it_and_nothing_else(tmp_path: Path) -> None:
    """The connections of a part go on with the certificates that it read when it was made."""
    path, ca = tmp_path / "keyfob.toml", tmp_path / "ca.pem"
    one = '[[issuer]]\nname = "{0}"\nissuer = "https://{0}.example"\naudience = ["mqtt"]\n'
    path.write_text(one.format("a") + 'ca = "ca.pem"\n' + one.format("b"), encoding="utf-8")
    ca.write_text("one")
    first = Parts()
    before = compose.bindings(load(path), parts=first)
    ca.write_text("two")
    now = compose.bindings(load(path), parts=Parts(first))
    changed = {iss for iss, one in now.items() if one.keys is not before[iss].keys}
    assert changed == {"https://a.example"}
