# SPDX-License-Identifier: Apache-2.0
"""What one file may not say: a server that signs what the guard beside it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfob.config import Settings, load
from keyfob.errors import ConfigError

ISSUER = '[[issuer]]\nname = "own"\nissuer = "https://localhost:8443"\naudience = ["mqtt"]\n'
OTHER = ISSUER.replace('"own"', '"other"').replace("localhost:8443", "as.example")


def loaded(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "keyfob.toml").write_text(text)
    return load(tmp_path / "keyfob.toml")


def signing(algorithm: str) -> str:
    return f'[server]\nsigning_algorithm = "{algorithm}"\n'


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
def test_an_algorithm_that_the_guard_would_refuse_is_an_error_that_says_what_to_write(
    tmp_path: Path, algorithm: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, signing(algorithm) + ISSUER)
    assert "issuer.0.algorithms" in caught.value.message
    assert f'write algorithms = ["ES256", "{algorithm}"]' in caught.value.message


@pytest.mark.parametrize(
    ("algorithm", "algorithms"),
    [
        ("ES256", '["ES256"]'),
        ("EdDSA", '["ES256", "EdDSA"]'),
        ("EdDSA", '["Ed25519"]'),
        ("RS256", '["RS256"]'),
    ],
)
def test_an_algorithm_that_the_guard_takes_is_accepted(
    tmp_path: Path, algorithm: str, algorithms: str
) -> None:
    text = signing(algorithm) + ISSUER + f"algorithms = {algorithms}\n"
    assert loaded(tmp_path, text).server.signing_algorithm == algorithm


def test_issuers_of_others_are_their_own_business(tmp_path: Path) -> None:
    assert loaded(tmp_path, signing("EdDSA") + OTHER).issuers


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('signing_algorithm = "HS256"', "write"),
        ("key_rotation_days = -1", "write 0 to 3650"),
        ("key_announcement = 599", "write 600 to 604800"),
        ('key_encryption = "s3cret-key"', "file:PATH or env:NAME"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"[server]\n{line}\n")
    assert f"keyfob.toml:2: server.{line.split(maxsplit=1)[0]}: " in caught.value.message
    assert words in caught.value.message
    assert "s3cret-key" not in caught.value.message


OPAQUE = '[server]\naccess_token_format = "opaque"\n'
ASKING = '[issuer.introspection]\nclient_id = "asker"\nclient_secret = "env:ASKER"\n'


def test_opaque_tokens_want_a_guard_that_asks(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, OPAQUE + ISSUER)
    assert "server.access_token_format" in caught.value.message
    assert "[issuer.introspection]" in caught.value.message
    assert loaded(tmp_path, OPAQUE + ISSUER + ASKING).server.access_token_format == "opaque"
    assert loaded(tmp_path, OPAQUE + OTHER).issuers
