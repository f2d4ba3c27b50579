# SPDX-License-Identifier: Apache-2.0
"""`keyfob grant`: which grants a client may use, and for which devices a gateway acts."""

from __future__ import annotations

from tests.cli.commands import Shell

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def test_a_gateway_is_told_for_whom_it_acts(shell: Shell) -> None:
    shell.ok("device", "add", "gw1")
    patterns = ["--act-for", "gw1-*", "--act-for", "lamp"]
    allowed = shell.json("grant", "allow", "gw1", "token-exchange", *patterns)
    assert allowed == {
        "client_id": "gw1",
        "grant_types": ["client_credentials", EXCHANGE],
        "may_act_for": ["gw1-*", "lamp"],
    }
    assert shell.json("grant", "show", "gw1") == allowed
    # Left out, they stay; given, they are all that there are.
    assert shell.json("grant", "allow", "gw1", EXCHANGE) == allowed
    fewer = shell.json("grant", "allow", "gw1", EXCHANGE, "--act-for", "lamp")
    assert fewer["may_act_for"] == ["lamp"]
    shown = shell.ok("grant", "withdraw", "gw1", "token-exchange").out
    assert [line.split() for line in shown.splitlines()] == [
        ["client_id", "gw1"],
        ["grant_types", "client_credentials"],
        ["may_act_for", "-"],
    ]


def test_an_application_may_use_grants_of_its_own(shell: Shell) -> None:
    shell.ok("application", "add", "app")
    assert shell.json("grant", "allow", "app", "jwt-bearer")["grant_types"] == ["password", BEARER]
    assert shell.json("grant", "allow", "app", "refresh_token")["grant_types"][-1] == (
        "refresh_token"
    )


def test_what_is_no_grant_of_a_client_is_refused_and_says_what_is(shell: Shell) -> None:
    shell.ok("device", "add", "dev1")
    outcome = shell("grant", "allow", "dev1", "password")
    assert outcome.code == 2
    assert "client_credentials, jwt-bearer, token-exchange" in outcome.err
    for pattern in ("*", "a*b*c", "a/b", ""):
        assert shell("grant", "allow", "dev1", "token-exchange", "--act-for", pattern).code == 2
    assert shell.json("grant", "show", "dev1")["grant_types"] == ["client_credentials"]


def test_who_is_not_there_and_a_guard_have_no_grants(shell: Shell) -> None:
    for name in ("nobody", "keyfob-guard"):
        outcome = shell("grant", "allow", name, "jwt-bearer", "--json")
        assert (outcome.code, outcome.json["error"]) == (2, "not_found")
