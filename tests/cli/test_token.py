# SPDX-License-Identifier: Apache-2.0
"""`keyfob token`: a token of a real server; where the secret comes from; what a refusal says."""

from __future__ import annotations

import io
import os
import pty
import subprocess

import pytest

from tests.cli.commands import KEYFOB, Shell

CLIENT = "KEYFOB_CLIENT_SECRET"
DEVICE = "KEYFOB_PASSWORD"


def test_the_secret_comes_from_the_environment(
    online: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLIENT, online.secret("env", "--publish", "a/#"))
    token = online.ok("token", "--client-id", "env").out
    assert token.count(".") == 2
    assert token.count("\n") == 1
    answer = online.json("token", "--client-id", "env")
    assert set(answer) == {"access_token", "token_type", "expires_in", "scope"}


def test_the_secret_comes_from_a_pipe(online: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(online.secret("piped") + "\n"))
    assert online.ok("token", "--client-id", "piped").out.count(".") == 2


def test_a_person_is_asked_and_the_secret_is_not_shown(online: Shell) -> None:
    secret = online.secret("typed")
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [*KEYFOB, "token", "--client-id", "typed", "--dir", str(online.directory)],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while b"secret of typed" not in shown:
            shown += os.read(terminal, 1000)
        os.write(terminal, secret.encode() + b"\n")
        out, _ = process.communicate(timeout=30)
        shown += os.read(terminal, 1000)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert process.returncode == 0, shown
    assert out.count(b".") == 2
    assert secret.encode() not in shown


def test_no_secret_at_all_is_misuse(online: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    outcome = online("token", "--client-id", "nobody")
    assert outcome.code == 2
    assert CLIENT in outcome.err


def test_a_wrong_secret_is_refused_and_repeated_nowhere(
    online: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    online.ok("device", "add", "wrong")
    monkeypatch.setenv(CLIENT, "kfs_wrong-as-can-be")
    outcome = online("token", "--client-id", "wrong")
    assert outcome.code == 1
    assert "(invalid_client)" in outcome.out
    as_json = online("token", "--client-id", "wrong", "--json")
    assert as_json.code == 1
    assert as_json.json["error"] == "invalid_client"
    unknown = online("token", "--client-id", "never-registered", "--json")
    assert (unknown.code, unknown.json) == (1, as_json.json)
    for text in (outcome.out, outcome.err, as_json.out, as_json.err):
        assert "wrong-as-can-be" not in text


def test_a_disabled_device_gets_none(online: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLIENT, online.secret("off"))
    online.ok("device", "disable", "off")
    assert online("token", "--client-id", "off").code == 1


def test_a_scope_may_be_narrowed_and_not_widened(
    online: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLIENT, online.secret("scoped", "--publish", "a/#"))
    narrow = "mqtt.connect mqtt.publish:a/b"
    assert online.json("token", "--client-id", "scoped", "--scope", narrow)["scope"] == narrow
    outcome = online("token", "--client-id", "scoped", "--scope", "mqtt.publish:b", "--json")
    assert (outcome.code, outcome.json["error"]) == (1, "invalid_scope")


def test_the_password_grant_takes_the_devices_secret_and_the_applications(
    online: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEVICE, online.secret("phoned"))
    backend = online.json("application", "add", "a-backend")["client_secret"]
    online.ok("application", "add", "a-phone", "--public")
    arguments = ("token", "--username", "phoned", "--client-id")
    assert online(*arguments, "a-phone").code == 0
    assert online(*arguments, "a-backend").code == 1
    monkeypatch.setenv(CLIENT, backend)
    assert online(*arguments, "a-backend").code == 0
    monkeypatch.setenv(DEVICE, "kfs_wrong")
    outcome = online(*arguments, "a-backend", "--json")
    assert (outcome.code, outcome.json["error"]) == (1, "invalid_grant")


def test_a_server_that_is_not_there_is_no_refusal(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLIENT, "kfs_x")
    outcome = shell("token", "--client-id", "dev1")
    assert outcome.code == 2
    assert "keyfob up" in outcome.err
    assert "(upstream_unavailable)" in outcome.err
