# SPDX-License-Identifier: Apache-2.0
"""`keyfob key`: the signing keys, also of a server that runs."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

import pytest

from keyfob.cli.installation import Installation
from keyfob.cli.main import run
from keyfob.tokens.jws import parse_compact
from tests.cli.commands import Shell, started

KID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{42}")


def configure(installation: Installation, lines: str) -> None:
    """Put lines into the server's section."""
    path = installation.settings.path
    path.write_text(path.read_text().replace("[server]", f"[server]\n{lines}"))


def test_a_list_without_keys_says_why(shell: Shell) -> None:
    assert "no signing keys yet" in shell.ok("key", "list").out
    assert shell.json("key", "list") == []


def test_rotate_announces_and_list_shows_it(shell: Shell) -> None:
    first = shell.json("key", "rotate")
    assert (first["state"], first["algorithm"], first["encrypted"]) == ("signing", "ES256", False)
    out = shell.ok("key", "rotate").out
    assert "is published, and signs from" in out
    newest, oldest = shell.json("key", "list")
    assert (newest["state"], oldest["state"]) == ("announced", "signing")
    assert oldest["kid"] == first["kid"]
    assert KID.fullmatch(newest["kid"])
    assert (newest["published_until"], bool(oldest["published_until"])) == (None, True)
    head, *rows = shell.ok("key", "list").out.splitlines()
    columns = "KID ALGORITHM STATE SIGNS_FROM PUBLISHED_UNTIL AT_REST"
    assert head.split() == columns.replace("_", " ").split()
    assert [row.split()[2] for row in rows] == ["announced", "signing"]


def test_a_second_rotation_waits_for_the_first_unless_it_is_an_emergency(shell: Shell) -> None:
    shell.ok("key", "rotate")
    announced = shell.json("key", "rotate")["kid"]
    refused = shell("key", "rotate", "--json")
    assert (refused.code, refused.json["error"]) == (2, "conflict")
    assert announced in refused.json["message"]
    out = shell.ok("key", "rotate", "--now").out
    assert "300 s" in out
    assert "keyfob key remove" in out
    states = [key["state"] for key in shell.json("key", "list")]
    assert states == ["signing", "retired"]


def test_remove_takes_any_but_the_signing_key(shell: Shell) -> None:
    old = shell.json("key", "rotate")["kid"]
    signs = shell("key", "remove", old, "--json")
    assert (signs.code, signs.json["error"]) == (2, "conflict")
    shell.ok("key", "rotate", "--now")
    assert shell.json("key", "remove", old) == {"kid": old, "removed": True}
    unknown = shell("key", "remove", old, "--json")
    assert (unknown.code, unknown.json["error"]) == (2, "not_found")


def test_a_wrong_encryption_key_is_one_line_that_says_where(
    installation: Installation, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(installation, 'key_encryption = "env:KEYFOB_TEST_KEY"')
    monkeypatch.delenv("KEYFOB_TEST_KEY", raising=False)
    missing = shell("key", "rotate")
    assert missing.code == 2
    assert re.search(
        r"keyfob\.toml:\d+: server\.key_encryption: .*env:KEYFOB_TEST_KEY", missing.err
    )
    monkeypatch.setenv("KEYFOB_TEST_KEY", "correct horse")
    phrase = shell("config", "check")
    assert phrase.code == 2
    assert "openssl rand" in phrase.err
    assert "correct horse" not in phrase.err
    right, wrong = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    monkeypatch.setenv("KEYFOB_TEST_KEY", right)
    assert shell.json("key", "rotate")["encrypted"] is True
    directory = str(installation.directory)
    with started(tmp_path / "log", "server", "--dir", directory, KEYFOB_TEST_KEY=wrong) as server:
        assert server.wait() == 2
        assert "cannot be decrypted" in server.output()
        assert wrong not in server.output()
        assert server.output().count("\n") == 1
    with started(tmp_path / "log", "server", "--dir", directory, KEYFOB_TEST_KEY=right) as server:
        server.until("ready at")


def test_a_bare_secret_for_the_encryption_is_refused(
    installation: Installation, shell: Shell
) -> None:
    configure(installation, 'key_encryption = "0123456789abcdef"')
    outcome = shell("config", "check")
    assert outcome.code == 2
    assert "server.key_encryption" in outcome.err
    assert "0123456789abcdef" not in outcome.err


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
def test_a_running_server_signs_what_its_guard_takes(
    installation: Installation,
    shell: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    algorithm: str,
) -> None:
    """And takes up a key that the command line makes, without a restart."""
    monkeypatch.setenv("KEYFOB_CLIENT_SECRET", shell.secret("dev1", "--publish", "a/#"))
    configure(installation, f'signing_algorithm = "{algorithm}"')
    refused = shell("config", "check")
    assert refused.code == 2
    assert f'write algorithms = ["ES256", "{algorithm}"]' in refused.err
    path = installation.settings.path
    path.write_text(
        path.read_text().replace("\n[[issuer]]\n", f'\n[[issuer]]\nalgorithms = ["{algorithm}"]\n')
    )
    log = tmp_path / "log"
    with started(log, "server", "--dir", str(installation.directory)) as server:
        server.until("ready at")
        before = token(shell)
        new = shell.json("key", "rotate", "--now")["kid"]
        server.until(f"signing key {new} ({algorithm}) signs from now on")
        after = token(shell)
        assert parse_compact(before).header.alg == algorithm
        assert parse_compact(after).header.kid == new != parse_compact(before).header.kid
        for each in (before, after):
            explained = shell("explain", "--token", each, "--client-id", "dev1", "publish", "a/b")
            assert explained.code == 0, explained


def token(shell: Shell) -> str:
    shell.capture.readouterr()
    code = run(["token", "--client-id", "dev1", "--dir", str(shell.directory), "--json"])
    assert code == 0
    found: str = json.loads(shell.capture.readouterr().out)["access_token"]
    return found
