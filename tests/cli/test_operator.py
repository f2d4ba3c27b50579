# SPDX-License-Identifier: Apache-2.0
"""`keyfob operator`: accounts whose passwords never stand on a command line."""

from __future__ import annotations

import getpass
import io
import sys

import pytest

from keyfob.cli.installation import Installation
from keyfob.cli.server_database import server_database
from keyfob.server.passwords import verify_password
from keyfob.server.stores.store import open_store
from tests.cli.commands import Shell

PASSWORD = "correct horse battery"


def stored(installation: Installation, name: str) -> str:
    store = open_store(server_database(installation.settings))
    row = store.connection.execute(
        "SELECT password_hash FROM operator_account WHERE name = ?", (name,)
    ).fetchone()
    store.close()
    return str(row[0])


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_the_password_is_the_first_line_of_standard_input(
    shell: Shell, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, f"{PASSWORD}\nnot this\n")
    assert shell.json("operator", "add", "alice") == {"name": "alice"}
    assert verify_password(PASSWORD, stored(installation, "alice"))
    type_in(monkeypatch, "another battery staple")
    out = shell.ok("operator", "set-password", "alice").out
    assert "battery" not in out
    assert verify_password("another battery staple", stored(installation, "alice"))


@pytest.mark.parametrize("answers", [[PASSWORD, PASSWORD], [PASSWORD, "another one here"]])
def test_at_a_terminal_it_is_asked_for_twice(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, answers: list[str]
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    asked = iter(answers)
    monkeypatch.setattr(getpass, "getpass", lambda _: next(asked))
    same = answers[0] == answers[1]
    outcome = shell("operator", "add", "alice")
    assert outcome.code == (0 if same else 2)
    assert PASSWORD not in outcome.out + outcome.err


@pytest.mark.parametrize("text", ["", "\n", "short\n", "x" * 2_000])
def test_a_password_that_is_none_makes_no_account(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    type_in(monkeypatch, text)
    outcome = shell("operator", "add", "alice")
    assert outcome.code == 2
    assert "between 12 and 1024 characters" in outcome.err
    assert shell.json("operator", "list") == []


def test_a_generated_password_is_shown_once(shell: Shell, installation: Installation) -> None:
    password = shell.json("operator", "add", "alice", "--generate")["password"]
    assert verify_password(password, stored(installation, "alice"))
    other = shell.json("operator", "set-password", "alice", "--generate")["password"]
    assert other != password
    assert password not in shell.ok("operator", "list").out


def test_an_account_of_another_issuer_has_no_password(shell: Shell) -> None:
    assert shell.json("operator", "add", "alice", "--openid", "alice@there") == {"name": "alice"}
    assert shell.json("operator", "list")[0]["openid"] == "alice@there"
    for arguments in (("bob", "--openid", "alice@there"), ("bob", "--openid", "")):
        assert shell("operator", "add", *arguments).code == 2
    assert shell("operator", "add", "bob", "--openid", "b", "--generate").code == 2
    assert len(shell.json("operator", "list")) == 1


def test_list_and_remove(shell: Shell) -> None:
    assert "keyfob operator add NAME" in shell.ok("operator", "list").out
    shell.ok("operator", "add", "alice", "--generate")
    lines = shell.ok("operator", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "alice"]
    assert "removed" in shell.ok("operator", "remove", "alice").out
    outcome = shell("operator", "remove", "alice", "--json")
    assert (outcome.code, outcome.json["error"]) == (2, "not_found")
    actions = [line["action"] for line in shell.json("audit")]
    assert actions[-3:] == ["operator.add", "operator.remove", "operator.remove"]


def test_an_application_for_approved_devices_has_that_grant_alone(shell: Shell) -> None:
    shell.ok("application", "add", "setup", "--public", "--device-code", "--refresh")
    assert shell.json("application", "list") == [
        {
            "client_id": "setup",
            "public": True,
            "grant_types": "urn:ietf:params:oauth:grant-type:device_code refresh_token",
        }
    ]
