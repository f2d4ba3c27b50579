# SPDX-License-Identifier: Apache-2.0
"""`keyfob explain`: of tokens, of claims that nobody signed, and of who is connected."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.permissions import Operation, Permissions, Rule
from keyfob.config import load
from keyfob.guard.database import Database
from keyfob.guard.session import Session, SessionState
from keyfob.guard.sessions import SessionStore
from keyfob.mqtt.topics import TopicFilter
from tests.cli.commands import Outcome, Shell
from tests.cli.test_inspecting import bad_tokens

Forge = Callable[..., str]


def explain(
    shell: Shell, token: str, action: str = "publish", topic: str = "devices/forged/t",
    *arguments: str, client_id: str = "forged",
) -> Outcome:  # fmt: skip
    return shell(
        "explain", "--token", token, "--client-id", client_id, action, topic, *arguments
    )  # fmt: skip


# A token


def test_a_dash_reads_the_token_from_standard_input(
    online: Shell, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(forge() + "\n"))
    assert explain(online, "-").code == 0


def test_keys_that_cannot_be_read_are_no_judgement(shell: Shell, forge: Forge) -> None:
    issuer = load(shell.directory / "keyfob.toml").server.issuer
    outcome = explain(shell, forge(iss=issuer))
    assert outcome.code == 2
    assert "is `keyfob up` running?" in outcome.err
    assert "(upstream_unavailable)" in outcome.err


def test_what_is_allowed_is_told_with_the_scope_that_allows_it(online: Shell, forge: Forge) -> None:
    outcome = explain(online, forge())
    assert outcome.code == 0
    *steps, empty, sentence = outcome.out.splitlines()
    assert all(step.startswith("ok ") for step in steps)
    assert empty == ""
    assert sentence.startswith("allowed: forged may publish devices/forged/t, until 2")
    assert "mqtt.publish:devices/forged/#" in steps[-1]


def test_a_topic_outside_is_refused_at_the_last_step(online: Shell, forge: Forge) -> None:
    outcome = explain(online, forge(), "publish", "devices/another/t")
    assert outcome.code == 1
    *steps, _, sentence = outcome.out.splitlines()
    assert [step[:2] for step in steps] == ["ok"] * (len(steps) - 1) + ["NO"]
    assert sentence == ("refused: forged may not publish devices/another/t (topic_not_permitted)")


def test_subscribing_is_containment(online: Shell, forge: Forge) -> None:
    token = forge(scope="mqtt.connect mqtt.subscribe:a/+")
    assert explain(online, token, "subscribe", "a/+").code == 0
    assert explain(online, token, "subscribe", "a/b").code == 0
    assert explain(online, token, "subscribe", "a/#").code == 1
    assert explain(online, token, "publish", "a/b").code == 1


def test_a_refused_token_has_its_reason(online: Shell, forge: Forge) -> None:
    for reason, token in bad_tokens(forge).items():
        outcome = explain(online, token)
        assert outcome.code == 1
        assert f"({reason})" in outcome.out.splitlines()[-1]
        assert outcome.out.splitlines()[-3].startswith("NO  token")


def test_another_client_identifier_is_refused_at_the_device(online: Shell, forge: Forge) -> None:
    outcome = explain(online, forge(), client_id="somebody-else")
    assert outcome.code == 1
    assert "(client_id_mismatch)" in outcome.out
    assert explain(online, forge(), client_id="").code == 0


def test_as_json_every_step_is_there(online: Shell, forge: Forge) -> None:
    def document(*arguments: str, **options: Any) -> Any:
        return explain(online, forge(), *arguments, "--json", **options).json

    allowed = document("publish", "devices/forged/t")
    assert allowed["allowed"] is True
    assert allowed["reason"] is None
    assert allowed["principal"] == "forged"
    assert [step["check"] for step in allowed["steps"]] == [
        "credentials", "token", "issuer", "key", "audience", "time", "scope", "confirmation",
        "revocation", "device", "session", "permissions", "permission", "publish",
    ]  # fmt: skip
    refused = document("publish", "elsewhere")
    assert (refused["allowed"], refused["reason"]) == (False, "topic_not_permitted")
    assert refused["steps"][-1]["ok"] is False
    stranger = document("publish", "elsewhere", client_id="x")
    assert stranger["reason"] == "client_id_mismatch"
    assert stranger["steps"][-1]["check"] == "device"


@pytest.mark.parametrize("topic", ["a/#", "", "a\0b"])
def test_what_is_no_topic_name_is_misuse(online: Shell, forge: Forge, topic: str) -> None:
    outcome = explain(online, forge(), "publish", topic)
    assert outcome.code == 2
    assert "(topic_invalid)" in outcome.err


def test_a_subscription_that_asks_for_too_much_is_told_what_it_would_bring(
    online: Shell, forge: Forge
) -> None:
    token = forge(scope="mqtt.connect mqtt.subscribe:a/+")
    outcome = explain(online, token, "subscribe", "a/#")
    assert "a/+ would not cover a" in outcome.out
    assert "would not cover" not in explain(online, token, "subscribe", "b/#").out


# Claims that nobody signed


def claims_file(folder: Path, **members: Any) -> str:
    path = folder / "claims.json"
    path.write_text(json.dumps(members))
    return str(path)


def suppose(shell: Shell, path: str, *arguments: str, topic: str = "a/x") -> Outcome:
    return shell(
        "explain", "--claims", path, "--client-id", "dev1", "publish", topic, *arguments
    )  # fmt: skip


def test_claims_alone_say_what_they_would_allow(shell: Shell, tmp_path: Path) -> None:
    """Without an issuer that answers: no key is asked for."""
    path = claims_file(tmp_path, scope="mqtt.connect mqtt.publish:a/+")
    allowed = suppose(shell, path)
    assert allowed.code == 0, allowed.out + allowed.err
    assert "signed by nobody" in allowed.out
    assert "assumed: iss" in allowed.out
    assert suppose(shell, path, topic="b").code == 1
    document = suppose(shell, path, "--json").json
    assert document["allowed"] is True
    assert document["steps"][0]["check"] == "claims"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"scope": "mqtt.publish:a/+"}, "scope_missing"),
        ({"aud": "another"}, "audience_mismatch"),
        ({"exp": 2, "iat": 1}, "token_expired"),
        ({"sub": "dev2"}, "client_id_mismatch"),
        ({"cnf": {"jkt": "x"}}, "confirmation_unproven"),
        ({"exp": "soon"}, "claim_invalid"),
    ],
)
def test_claims_are_refused_for_what_a_token_with_them_would_be(
    shell: Shell, tmp_path: Path, members: dict[str, Any], reason: str
) -> None:
    given = {"scope": "mqtt.connect mqtt.publish:a/+"} | members
    outcome = suppose(shell, claims_file(tmp_path, **given))
    assert outcome.code == 1
    assert f"({reason})" in outcome.out.splitlines()[-1]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "a": 2}', "x" * 70_000])
def test_what_is_no_claims_set_is_misuse(shell: Shell, tmp_path: Path, text: str) -> None:
    path = tmp_path / "claims.json"
    path.write_text(text)
    outcome = suppose(shell, str(path))
    assert outcome.code == 2
    assert str(path) in outcome.err


def test_whose_claims_they_would_be_must_be_clear(shell: Shell, tmp_path: Path) -> None:
    path = claims_file(tmp_path, iss="https://nobody.example")
    outcome = suppose(shell, path)
    assert outcome.code == 2
    assert "--issuer" in outcome.err
    assert suppose(shell, path, "--issuer", "nobody").code == 2
    assert suppose(shell, claims_file(tmp_path), "--issuer", "keyfob").code == 1
    assert shell("explain", "--issuer", "x", "--client-id", "a", "publish", "t").code == 2
    both = suppose(shell, path, "--token", "x")
    assert both.code == 2
    assert "not both" in both.err


# Who is connected


def remember(shell: Shell, **changes: Any) -> None:
    settings = load(shell.directory / "keyfob.toml")
    issuer = settings.issuers[0]
    now = int(time.time())
    claims = {
        "iss": issuer.issuer, "sub": "dev1", "client_id": "dev1", "aud": "mqtt", "iat": now,
        "exp": now + 600, "jti": "x", "scope": "mqtt.connect mqtt.publish:a/+",
    }  # fmt: skip
    rule = Rule(operations=Operation.PUBLISH, filter=TopicFilter.parse("a/+"))
    values: dict[str, Any] = {
        "broker": "mosquitto", "client_id": "dev1", "epoch": 1, "state": SessionState.ONLINE,
        "clean": False, "principal": "dev1", "issuer": issuer.issuer, "subject": "dev1",
        "client": "dev1", "token_id": "x", "issued_at": now, "expires_at": now + 600,
        "permissions": Permissions.allow_only([rule]), "payload": json.dumps(claims).encode(),
    }  # fmt: skip
    with Database.open(settings.guard.database) as database:
        store = SessionStore(database)
        store.put(Session(**{**values, **changes}))
        store.flush()


def ask(shell: Shell, topic: str = "a/x") -> Outcome:
    return shell("explain", "--client-id", "dev1", "publish", topic)


def test_of_a_connected_client_it_is_told_what_it_may_do_and_by_which_scope(shell: Shell) -> None:
    remember(shell)
    outcome = ask(shell)
    assert outcome.code == 0, outcome.out + outcome.err
    assert "is connected" in outcome.out
    assert "scope mqtt.publish:a/+ lets it publish a/x" in outcome.out
    assert ask(shell, "b").code == 1


def test_a_session_whose_claims_are_not_known_is_told_as_it_is_held(shell: Shell) -> None:
    remember(shell, payload=b"")
    outcome = ask(shell)
    assert outcome.code == 0
    assert "a/+ lets it publish a/x" in outcome.out


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"state": SessionState.REVOKED, "offline_since": 1.0}, "(token_revoked)"),
        ({"expires_at": 1.0}, "(token_expired)"),
    ],
)
def test_a_session_that_is_over_allows_nothing(
    shell: Shell, changes: dict[str, Any], told: str
) -> None:
    remember(shell, **changes)
    outcome = ask(shell)
    assert outcome.code == 1
    assert told in outcome.out


def test_who_has_no_session_is_not_found(shell: Shell) -> None:
    outcome = ask(shell)
    assert outcome.code == 2
    assert "(not_found)" in outcome.err
