# SPDX-License-Identifier: Apache-2.0
"""What ``[server]`` says of its grants reaches the server, and what is wrong names its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfob.cli.checking import check
from keyfob.cli.server_settings import server_settings
from keyfob.config import load
from keyfob.errors import ConfigError
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import jwks_of
from tests.server.granting import JWT_BEARER, TOKEN_EXCHANGE

ISSUER = """
[[issuer]]
name = "keyfob"
issuer = "https://localhost:8443"
audience = ["mqtt"]
"""
TRUSTED = """
[[server.trusted_issuer]]
name = "cloud"
issuer = "https://cloud.example"
devices = ["dev*"]
jwks_file = "keys.json"
"""


def settings_of(tmp_path: Path, text: str) -> Path:
    (tmp_path / "keys.json").write_bytes(jwks_of(SigningKey.generate()))
    path = tmp_path / "keyfob.toml"
    path.write_text(text + ISSUER, encoding="utf-8")
    return path


def test_every_section_reaches_the_server(tmp_path: Path) -> None:
    text = f"""
[server.grant_lifetimes]
jwt_bearer = 60
token_exchange = 30
[[server.resource]]
uri = "https://a.example/"
audience = "a"
{TRUSTED}
"""
    made = server_settings(load(settings_of(tmp_path, text)))
    assert made.grant_lifetimes == {JWT_BEARER: 60, TOKEN_EXCHANGE: 30}
    assert made.targets.audiences == {"mqtt", "a"}
    (trusted,) = made.trusted_issuers
    assert trusted.jwks_file == tmp_path / "keys.json"
    assert (trusted.single_use, trusted.without_client) == (True, False)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[[server.resource]]\nuri = "a"\naudience = "a"\n', "server.resource.0.uri"),
        ('[[server.resource]]\nuri = "a:b"\naudience = "a"\n' * 2, "server.resource.1.uri"),
        (
            '[[server.resource]]\nuri = "a:b"\naudience = "https://localhost:8443/admin/v1"\n',
            "server.resource.0.audience",
        ),
        (TRUSTED.replace('"dev*"', '"*"'), "server.trusted_issuer.0.devices"),
        (TRUSTED.replace("keys.json", "none.json"), "server.trusted_issuer.0.jwks_file"),
        (TRUSTED + 'jwks_uri = "https://a.example"\n', "server.trusted_issuer.0.jwks"),
        (
            TRUSTED.replace('jwks_file = "keys.json"', 'jwks_uri = "http://a.example"'),
            "server.trusted_issuer.0.jwks_uri",
        ),
        (TRUSTED + 'algorithms = ["HS256"]\n', "server.trusted_issuer.0.algorithms"),
        (TRUSTED + "lifetime = 0\n", "server.trusted_issuer.0.lifetime"),
        (
            TRUSTED.replace("https://cloud.example", "https://localhost:8443"),
            "server.trusted_issuer.0.issuer",
        ),
        (TRUSTED * 2, "server.trusted_issuer.1.issuer"),
    ],
)
def test_what_is_wrong_names_its_key_and_line(tmp_path: Path, text: str, key: str) -> None:
    path = settings_of(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        check(load(path))
    assert caught.value.key == key
    assert caught.value.message.startswith(f"{path}:")
