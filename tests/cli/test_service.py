# SPDX-License-Identifier: Apache-2.0
"""`keyfob service`: clients that ask the server about tokens."""

from __future__ import annotations

from tests.cli.commands import Shell

ASK, READ = "keyfob.introspection", "keyfob.revocations"


def test_a_service_has_a_secret_and_the_scopes_that_were_given(shell: Shell) -> None:
    added = shell.json("service", "add", "asker", "--scope", ASK)
    assert added["client_secret"].startswith("kfs_")
    assert added["scope"] == ASK
    both = shell.ok("service", "add", "both", "--scope", ASK, "--scope", READ, "--scope", ASK)
    assert both.out.splitlines()[-1].split() == ["scope", ASK, READ]


def test_list_says_what_each_may_read_and_no_secret(shell: Shell) -> None:
    shell.ok("service", "add", "asker", "--scope", ASK)
    assert [line.split() for line in shell.ok("service", "list").out.splitlines()] == [
        ["ID", "SCOPE"],
        ["asker", ASK],
        ["keyfob-guard", READ],
    ]
    assert shell.json("service", "list") == [
        {"client_id": "asker", "scope": ASK},
        {"client_id": "keyfob-guard", "scope": READ},
    ]


def test_no_scope_or_another_is_refused_and_nothing_registered(shell: Shell) -> None:
    assert shell("service", "add", "asker").code == 2
    for scope in ("mqtt.connect", "keyfob.other", ""):
        outcome = shell("service", "add", "asker", "--scope", scope)
        assert outcome.code == 2
        assert ASK in outcome.err
    assert len(shell.json("service", "list")) == 1


def test_remove_forgets_it_and_only_services(shell: Shell) -> None:
    shell.ok("service", "add", "asker", "--scope", ASK)
    shell.ok("device", "add", "dev1")
    assert "removed" in shell.ok("service", "remove", "asker").out
    for name in ("asker", "dev1"):
        outcome = shell("service", "remove", name, "--json")
        assert (outcome.code, outcome.json["error"]) == (2, "not_found")


def test_where_there_is_none_it_says_how_to_register_one(shell: Shell) -> None:
    shell.ok("service", "remove", "keyfob-guard")
    assert "keyfob service add ID" in shell.ok("service", "list").out
