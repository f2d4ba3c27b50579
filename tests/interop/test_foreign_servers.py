# SPDX-License-Identifier: Apache-2.0
"""The script that fetches foreign authorization servers, and what those servers are here for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.interop.fetched import CANNOT_HAVE
from tests.interop.foreign.oidc_provider import OidcProvider
from tests.interop.foreign.server import KEYS_KEPT, SCRIPT, ForeignServer
from tests.interop.foreign.servers import OIDC_PROVIDER, SERVERS
from tests.interop.storm import kid_of
from tests.running import until


def fetch(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def only(folder: Path, *programs: str) -> str:
    """A PATH with those programs alone."""
    for program in programs:
        found = shutil.which(program)
        assert found is not None
        (folder / program).symlink_to(found)
    return str(folder)


@pytest.mark.parametrize("arguments", [(), ("",), ("../keycloak",), ("auth0",)])
def test_a_server_that_is_none_is_misuse(arguments: tuple[str, ...]) -> None:
    assert fetch(*arguments).returncode == 2


@pytest.mark.parametrize("name", SERVERS)
def test_what_is_there_is_not_fetched_again(tmp_path: Path, name: str) -> None:
    target, path = tmp_path / "target", tmp_path / "path"
    target.mkdir()
    path.mkdir()
    (target / "built").touch()
    programs = only(path, "sh", "dirname", "mkdir")
    for program in ("java", "node"):
        (path / program).symlink_to("sh")
    result = fetch(name, str(target), PATH=programs)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{target}/")
    assert [one.name for one in target.iterdir()] == ["built"]


@pytest.mark.parametrize("name", SERVERS)
def test_a_machine_without_the_tools_cannot_have_it_and_is_told_why(
    tmp_path: Path, name: str
) -> None:
    target, path = tmp_path / "target", tmp_path / "path"
    path.mkdir()
    result = fetch(name, str(target), PATH=only(path, "sh", "dirname", "mkdir"))
    assert result.returncode == CANNOT_HAVE
    assert "apt-get install" in result.stderr.splitlines()[-1]


def test_an_archive_that_is_another_is_not_taken(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "path"
    path.mkdir()
    tools = ["sh", "dirname", "mkdir", "rm", "touch", "tar", "sha256sum", "timeout", "sed", "grep"]
    programs = only(path, *tools)
    (path / "java").symlink_to("sh")
    maven = path / "mvn"
    maven.write_text(
        "#!/bin/sh\n"
        'for one in "$@"; do case "$one" in -Dartifact=*) one="${one#*:}"; break ;; esac; done\n'
        'one="${one%:*}"\n'
        f'echo forged >"{target}/${{one%%:*}}-${{one#*:}}.tar.gz"\n'
    )
    maven.chmod(0o755)
    result = fetch("keycloak", str(target), PATH=programs)
    assert result.returncode == 1, result.stderr
    assert "is not what it should be" in result.stderr
    assert not (target / "home").exists()


@pytest.fixture(scope="module")
def server(foreign_servers: Callable[[str], ForeignServer]) -> OidcProvider:
    server = foreign_servers(OIDC_PROVIDER)
    assert isinstance(server, OidcProvider)
    return server


def test_a_key_signs_when_it_is_used_and_not_when_it_is_published(
    server: OidcProvider, fresh: Callable[[str], str]
) -> None:
    server.add("sensor", device := fresh("sensor"))
    metadata = httpx.get(f"{server.issuer}/.well-known/openid-configuration", trust_env=False)

    def published() -> set[str]:
        keys = httpx.get(metadata.json()["jwks_uri"], trust_env=False).json()["keys"]
        return {key["kid"] for key in keys}

    asked = server.keys_asked()
    old, before = kid_of(server.token(device)), published()
    assert old in before
    server.publish_key()
    (new,) = published() - before
    assert kid_of(server.token(device)) == old
    server.use_key()
    assert kid_of(server.token(device)) == new
    server.rotate_unannounced()
    latest = kid_of(server.token(device))
    assert latest not in {old, new}
    assert {old, new, latest} <= published()
    until("every question is counted", lambda: server.keys_asked() == asked + 3)
    for _ in range(2 * KEYS_KEPT):
        server.rotate_unannounced()
    assert len(published()) == KEYS_KEPT
    assert kid_of(server.token(device)) in published()


def test_an_opaque_token_can_be_asked_about_until_it_is_revoked(
    server: OidcProvider, fresh: Callable[[str], str]
) -> None:
    server.add("sensor", device := fresh("sensor"))
    token = server.opaque(device)
    assert "." not in token

    def answer() -> Any:
        response = server.http.post(
            server.introspection_endpoint,
            data={"token": token},
            auth=server.introspection_credentials,
        )
        return response.json()

    active = answer()
    assert active["active"] is True
    assert active["client_id"] == device
    server.rotate_unannounced()
    assert answer() == active
    server.revoke(device, token)
    assert answer() == {"active": False}
