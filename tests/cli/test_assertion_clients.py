# SPDX-License-Identifier: Apache-2.0
"""private_key_jwt by clients of others and by the documentation's recipe, with a real server."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.requests_client import OAuth2Session  # type: ignore[import-untyped]
from authlib.oauth2.rfc7523 import PrivateKeyJWT  # type: ignore[import-untyped]
from joserfc.jwk import ECKey, Key, KeyParameters, OKPKey, RSAKey
from requests_oauth2client import InvalidClient, OAuth2Client, PrivateKeyJwt

from keyfob.cli.initialising import initialise
from keyfob.cli.installation import Installation, settings_of
from tests.cli.commands import Shell, started
from tests.cli.conftest import FREE

PAGE = Path(__file__).parents[2] / "docs" / "client-authentication.md"


def made(alg: str) -> Key:
    """Make a key with a library that is not ours; its private half stays with the client."""
    members: KeyParameters = {"alg": alg, "use": "sig"}
    if alg == "ES256":
        return ECKey.generate_key("P-256", members, auto_kid=True)
    if alg == "RS256":
        return RSAKey.generate_key(2048, members, auto_kid=True)
    return OKPKey.generate_key("Ed25519", members, auto_kid=True)


def register(shell: Shell, name: str, key: Key, folder: Path) -> None:
    file = folder / f"{name}.jwks"
    file.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    shell.ok("device", "add", name, "--jwks", str(file))


def subject(token: str) -> str:
    payload = token.split(".")[1]
    members = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert isinstance(members["sub"], str)
    return members["sub"]


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server that takes assertions which last for an hour, as Authlib makes them."""
    folder = tmp_path_factory.mktemp("patient")
    installation = initialise(folder / "data", ports=FREE)
    path = installation.settings.path
    path.write_text(path.read_text().replace("[server]", "[server]\nassertion_lifetime = 3600"))
    with started(folder / "log", "server", "--dir", str(installation.directory)) as server:
        server.until("ready at")
        yield settings_of(installation.directory)


def authlib_token(installation: Installation, name: str, key: Key) -> str:
    """Ask as Authlib does: for an hour, and for the URL that it asks at."""
    endpoint = installation.settings.server.issuer + "/oauth2/token"
    with OAuth2Session(name, key, token_endpoint_auth_method="private_key_jwt") as session:
        session.register_client_auth_method(PrivateKeyJWT(alg=key.alg))
        token = session.fetch_token(
            endpoint, grant_type="client_credentials", verify=str(installation.directory / "ca.pem")
        )
    assert isinstance(token["access_token"], str)
    return token["access_token"]


@pytest.mark.parametrize("alg", ["ES256", "RS256", "Ed25519"])
def test_authlib_gets_a_token_each_time(
    patient: Installation, capsys: pytest.CaptureFixture[str], tmp_path: Path, alg: str
) -> None:
    key = made(alg)
    register(Shell(capsys, patient.directory), f"authlib-{alg}", key, tmp_path)
    tokens = [authlib_token(patient, f"authlib-{alg}", key) for _ in range(2)]
    assert [subject(token) for token in tokens] == [f"authlib-{alg}"] * 2
    assert tokens[0] != tokens[1]


def test_an_hour_is_too_long_where_nobody_has_set_it(
    serving: Installation, online: Shell, tmp_path: Path
) -> None:
    key = made("ES256")
    register(online, "authlib-hour", key, tmp_path)
    with pytest.raises(OAuthError, match="invalid_client"):
        authlib_token(serving, "authlib-hour", key)


@pytest.fixture
def _trusting(serving: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(serving.directory / "ca.pem"))


@pytest.mark.usefixtures("_trusting")
@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA"])
@pytest.mark.parametrize("audience", ["issuer", "token endpoint"])
def test_requests_oauth2client_gets_a_token_each_time(
    serving: Installation, online: Shell, tmp_path: Path, alg: str, audience: str
) -> None:
    key = made(alg)
    name = f"roc-{alg}-{audience[0]}"
    register(online, name, key, tmp_path)
    issuer = serving.settings.server.issuer
    aud = issuer if audience == "issuer" else None  # without one it is the endpoint's URL
    auth = PrivateKeyJwt(name, key.as_dict(private=True), alg=alg, aud=aud)
    client = OAuth2Client(issuer + "/oauth2/token", auth=auth)
    with client.session:
        tokens = [str(client.client_credentials().access_token) for _ in range(2)]
    assert [subject(token) for token in tokens] == [name, name]


@pytest.mark.usefixtures("_trusting")
def test_requests_oauth2client_is_refused_with_a_key_of_another(
    serving: Installation, online: Shell, tmp_path: Path
) -> None:
    key, stranger = made("ES256"), made("ES256")
    register(online, "roc-stranger", key, tmp_path)
    issuer = serving.settings.server.issuer
    private = dict(stranger.as_dict(private=True)) | {"kid": key.kid}
    auth = PrivateKeyJwt("roc-stranger", private, aud=issuer)
    client = OAuth2Client(issuer + "/oauth2/token", auth=auth)
    with client.session, pytest.raises(InvalidClient):
        client.client_credentials()


def test_the_recipe_of_the_documentation_gets_a_token(
    serving: Installation, tmp_path: Path
) -> None:
    blocks = re.findall(r"<!-- recipe: (\w+) -->\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [name for name, _ in blocks] == ["key", "register", "token"]
    written = "https://localhost:8443"
    script = "set -eu\n" + "".join(block for _, block in blocks)
    assert script.count(written) == 1
    (tmp_path / "keyfob-data").symlink_to(serving.directory)
    done = subprocess.run(
        ["sh", "-c", script.replace(written, serving.settings.server.issuer)],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(done.stdout.splitlines()[-1])
    assert subject(document["access_token"]) == "dev1"
    assert "PRIVATE" not in (tmp_path / "dev1.jwks").read_text()
