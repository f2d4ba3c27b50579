# SPDX-License-Identifier: Apache-2.0
"""`keyfob token --watch`: a file with a good token, or none; and tokens of any issuer."""

from __future__ import annotations

import json
import stat
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyfob.cli.installation import Installation
from keyfob.cli.token_file import TokenFile, keep_fresh, mosquitto, plain
from keyfob.device import Moment, Token, TokenSource
from keyfob.errors import ConfigError, TokenRequestError
from keyfob.tokens.sign import SigningKey
from tests.cli.commands import KEYFOB, Shell, started, wait_for

CLIENT = "KEYFOB_CLIENT_SECRET"
WRONG = "kfs_wrong-as-can-be"


def issuer_of(online: Shell, serving: Installation) -> tuple[str, ...]:
    issuer = serving.settings.server.issuer
    return ("--issuer", issuer, "--ca", str(online.directory / "ca.pem"))


def test_a_token_of_any_issuer_is_printed(
    online: Shell, serving: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLIENT, online.secret("any", "--publish", "a/#"))
    there = issuer_of(online, serving)
    outcome = online.plain("token", "--client-id", "any", *there, "--json")
    assert outcome.code == 0, outcome
    assert set(outcome.json) == {"access_token", "token_type", "expires_in", "scope"}
    assert outcome.json["scope"] == "mqtt.connect mqtt.publish:a/#"
    assert online.plain("token", "--client-id", "any", *there).out.count(".") == 2


def test_an_issuer_that_refuses_is_told_once_and_no_secret_with_it(
    online: Shell, serving: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLIENT, WRONG)
    arguments = ("token", "--client-id", "nobody", *issuer_of(online, serving))
    outcome = online.plain(*arguments)
    assert outcome.code == 1
    assert "(invalid_client)" in outcome.out
    assert outcome.err == ""
    as_json = online.plain(*arguments, "--json")
    assert (as_json.code, as_json.json["error"]) == (1, "invalid_client")
    assert WRONG not in outcome.out + as_json.out + as_json.err


def test_an_issuer_whose_certificate_is_not_trusted_is_no_refusal(
    online: Shell, serving: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLIENT, WRONG)
    issuer = serving.settings.server.issuer
    outcome = online.plain("token", "--client-id", "any", "--issuer", issuer)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "not trusted" in outcome.err


def test_the_password_grant_and_a_signed_assertion_work_with_an_issuer(
    online: Shell, serving: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = issuer_of(online, serving)
    monkeypatch.setenv("KEYFOB_PASSWORD", online.secret("phoned-anywhere"))
    online.ok("application", "add", "phone-anywhere", "--public")
    by_password = online.plain(
        "token", "--client-id", "phone-anywhere", "--username", "phoned-anywhere", *there
    )
    assert by_password.code == 0, by_password
    key, keys = tmp_path / "key.pem", tmp_path / "keys.json"
    signing = SigningKey.generate()
    key.write_bytes(signing.to_pem())
    keys.write_text(json.dumps({"keys": [signing.public_jwk()]}))
    online.ok("device", "add", "signs", "--jwks", str(keys))
    by_key = ("token", "--client-id", "signs", *there, "--private-key")
    outcome = online.plain(*by_key, str(key))
    assert outcome.code == 0, outcome
    missing = online.plain(*by_key, "/nowhere/at/all.pem")
    assert (missing.code, missing.err.count("\n")) == (2, 1)


def test_a_file_has_a_new_token_before_the_old_one_ends(online: Shell, tmp_path: Path) -> None:
    secret = online.secret("watched", "--publish", "a/#", "--lifetime", "10")
    file = tmp_path / "token"
    arguments = ("token", "--client-id", "watched", "--watch", str(file), "--json")
    there = ("--dir", str(online.directory))
    with started(tmp_path / "log", *arguments, *there, **{CLIENT: secret}) as watching:
        watching.until('"until"')
        first = file.read_text(encoding="ascii")
        assert first.count(".") == 2
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        wait_for("a new token", lambda: file.read_text(encoding="ascii") != first)
        watching.process.terminate()
        assert watching.wait() == 0
        lines = [json.loads(line) for line in watching.output().splitlines()]
    assert len(lines) >= 2
    assert not file.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert secret not in watching.output()
    assert first.strip() not in watching.output()


def test_a_refused_first_token_ends_it(online: Shell, tmp_path: Path) -> None:
    online.ok("device", "add", "refused-at-once")
    file = tmp_path / "token"
    arguments = ("token", "--client-id", "refused-at-once")
    done = subprocess.run(
        [*KEYFOB, *arguments, "--watch", str(file), "--dir", str(online.directory)],
        input=WRONG,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "(invalid_client)" in done.stdout
    assert WRONG not in done.stdout + done.stderr
    assert not file.exists()


# The file, by a source that is told what to do


class Clockwork:
    """A clock that stands where it was put."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> Moment:
        return Moment(boot="one", elapsed=self.now, wall=self.now)


class Kept:
    """A store whose one token every renewal finds; so no server is needed."""

    def __init__(self, token: Token) -> None:
        self.token: Token | None = token

    def load(self) -> Token | None:
        return self.token

    def save(self, token: Token) -> None:  # noqa: ARG002 - as TokenStore
        raise AssertionError("nobody fetched one")

    def turn(self) -> Any:
        raise TokenRequestError("no", error="access_denied")


def watched(path: Path, told: Callable[[Token | None, Clockwork, threading.Event], None]) -> None:
    clock = Clockwork()
    token = Token(
        access_token="a.b.c",
        token_type="Bearer",
        scope="",
        lifetime=100.0,
        obtained=clock(),
        refresh_token=None,
    )
    store = Kept(token)
    source = TokenSource("https://localhost:1", client_id="dev1", store=store, clock=clock)
    store.token = replace(token, origin=source._renewing._requesting.origin)
    ended = threading.Event()
    keep_fresh(source, TokenFile(path, plain), ended, lambda held: told(held, clock, ended))


def test_the_file_is_gone_when_the_token_ends_and_nobody_gives_another(tmp_path: Path) -> None:
    path = tmp_path / "token"
    seen: list[bool] = []

    def told(held: Token | None, clock: Clockwork, ended: threading.Event) -> None:
        seen.append(path.exists())
        if held is None:
            ended.set()
        else:
            assert path.read_text(encoding="ascii") == "a.b.c\n"
            clock.now += 99.0  # the margin before its end has begun

    watched(path, told)
    assert seen == [True, False]


def test_the_file_is_gone_when_writing_the_next_one_fails(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def told(held: Token | None, clock: Clockwork, ended: threading.Event) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        watched(folder / "token", told)
    assert list(folder.iterdir()) == []


def test_a_file_needs_a_folder_and_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        TokenFile(tmp_path / "missing" / "token", plain)
    with pytest.raises(ConfigError, match="not an ordinary file"):
        TokenFile(tmp_path, plain)


@pytest.mark.parametrize("name", ["dev1\n-P other", "dev1 ", " dev1", "dev\t1"])
def test_a_username_cannot_bring_options_of_its_own(name: str) -> None:
    with pytest.raises(ConfigError):
        mosquitto(name)


def test_options_for_mosquitto_pub() -> None:
    assert mosquitto("dev 1")("a.b.c") == "-u dev 1\n-P a.b.c\n"
