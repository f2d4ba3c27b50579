# SPDX-License-Identifier: Apache-2.0
"""keyfob.toml: what is refused says where and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfob.config import SecretReference, load
from keyfob.errors import ConfigError

ISSUER = '[[issuer]]\nname = "a"\nissuer = "https://a.example"\naudience = ["mqtt"]\n'


def settings_from(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "keyfob.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nprot = 1\n", ["'server.prot'", "'port'"]),
        ('[server]\nport = "x"\n', ["server.port", "int"]),
        ("[server]\nport = 0\n", ["server.port", "65535"]),
        ("[mosquitto]\nplain_port = 70000\n", ["mosquitto.plain_port"]),
        ("[server]\ntoken_lifetime = 0\n", ["token_lifetime"]),
        ("[guard]\nready_timeout = nan\n", ["guard.ready_timeout"]),
        ("[mosquitto]\nguard_timeout_ms = -5\n", ["mosquitto.guard_timeout_ms"]),
        ("[mosquitto]\nautosave_interval = 0\n", ["mosquitto.autosave_interval"]),
        ('[server]\nhost = ""\n', ["server.host"]),
        ("nonsense", ["not valid TOML"]),
        ("server = 3\n", ["server"]),
        ("[guard]\ntoken_fields = []\n", ["guard.token_fields"]),
        ('[guard]\ntoken_fields = ["header"]\n', ["guard.token_fields", "header"]),
        (ISSUER + 'algoritms = ["ES256"]\n', ["'issuer.0.algoritms'", "'algorithms'"]),
        (ISSUER + ISSUER, ["issuer.name", "twice"]),
        (ISSUER.replace('"a"', '"a:b"'), ["issuer.0.name"]),
        (ISSUER.replace('["mqtt"]', "[]"), ["issuer.0.audience"]),
        (ISSUER + 'revocation_client = "guard"\n', ["revocation_client"]),
        (ISSUER + '[[issuer.policy]]\nscope = "a"\nclaim = "b"\n', ["issuer.0.policy"]),
        (ISSUER + '[[issuer.policy]]\nscop = "a"\n', ["'issuer.0.policy.0.scop'", "'scope'"]),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_the_key(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    path = settings_from(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    for word in [str(path), *words]:
        assert word in caught.value.message


def test_a_missing_file_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keyfob init"):
        load(tmp_path / "keyfob.toml")


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load(settings_from(tmp_path, ISSUER + 'ca = "ca.pem"\njwks_file = "/keys.json"\n'))
    assert settings.issuers[0].ca == tmp_path / "ca.pem"
    assert settings.issuers[0].jwks_file == Path("/keys.json")
    assert settings.server.database == tmp_path / "server.db"


def test_the_sockets_group_is_none_unless_it_is_named(tmp_path: Path) -> None:
    assert load(settings_from(tmp_path, ISSUER)).guard.socket_group == ""
    text = '[guard]\nsocket_group = "mosquitto"\n' + ISSUER
    assert load(settings_from(tmp_path, text)).guard.socket_group == "mosquitto"
    with pytest.raises(ConfigError, match=r"guard\.socket_group"):
        load(settings_from(tmp_path, "[guard]\nsocket_group = 5\n" + ISSUER))


def test_every_value_knows_its_origin(tmp_path: Path) -> None:
    settings = load(settings_from(tmp_path, "[server]\nport = 1234\n" + ISSUER))
    assert settings.origin("server.port") == "file"
    assert settings.origin("server.host") == "default"
    assert settings.origin("issuer.0.audience") == "file"
    assert settings.origin("issuer.0.leeway") == "default"


def test_a_bare_secret_is_refused_and_not_repeated(tmp_path: Path) -> None:
    text = ISSUER + 'revocation_client = "guard"\nrevocation_secret = "hunter2"\n'
    with pytest.raises(ConfigError) as caught:
        load(settings_from(tmp_path, text))
    assert "hunter2" not in caught.value.message


def test_a_secret_reference_reads_file_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "guard.secret").write_text("s3cret\n", encoding="utf-8")
    monkeypatch.setenv("GUARD_SECRET", "from-env")
    assert SecretReference.parse("file:guard.secret", tmp_path).read() == "s3cret"
    assert SecretReference.parse("env:GUARD_SECRET", tmp_path).read() == "from-env"
    with pytest.raises(ConfigError, match="NOWHERE"):
        SecretReference.parse("env:NOWHERE", tmp_path).read()
