# SPDX-License-Identifier: Apache-2.0
"""`keyfob inspect` and `keyfob explain`: good and bad tokens, told step by step."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from keyfob.tokens.sign import SigningKey
from tests.cli.commands import Outcome, Shell

Forge = Callable[..., str]


def explain(
    shell: Shell, token: str, action: str = "publish", topic: str = "devices/forged/t",
    *arguments: str, client_id: str = "forged",
) -> Outcome:  # fmt: skip
    return shell(
        "explain", "--token", token, "--client-id", client_id, action, topic, *arguments
    )  # fmt: skip


def bad_tokens(forge: Forge) -> dict[str, str]:
    good = forge()
    head, body, signature = good.split(".")
    other = "A" if signature[20] != "A" else "B"
    return {
        "token_expired": forge(iat=1_000_000_000, exp=1_000_000_600),
        "audience_mismatch": forge(aud="another"),
        "issuer_unknown": forge(iss="https://evil.example"),
        "scope_missing": forge(scope="mqtt.publish:devices/forged/#"),
        "signature_invalid": f"{head}.{body}.{signature[:20]}{other}{signature[21:]}",
        "key_unknown": SigningKey.generate("ES256").sign({"iss": good_issuer(good)}),
        "token_malformed": "garbage",
    }


def good_issuer(token: str) -> str:
    from keyfob.tokens.verify import unverified

    issuer: str = unverified(token)[1]["iss"]
    return issuer


# inspect


def test_a_good_token_is_shown_and_called_good(online: Shell, forge: Forge) -> None:
    outcome = online("inspect", forge())
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "good"
    for word in ("alg", "ES256", "sub", "forged", "mqtt.connect"):
        assert word in outcome.out
    document = online("inspect", forge(), "--json").json
    assert document["good"] is True
    assert document["claims"]["sub"] == "forged"
    assert document["header"]["typ"] == "at+jwt"


def test_a_bad_token_is_called_bad_and_why(online: Shell, forge: Forge) -> None:
    for reason, token in bad_tokens(forge).items():
        outcome = online("inspect", token)
        assert outcome.code == 1, reason
        assert outcome.out.splitlines()[-1].startswith("not good: ")
        assert outcome.out.splitlines()[-1].endswith(f"({reason})")
        document = online("inspect", token, "--json").json
        assert document["good"] is False
        assert document["reason"] == reason


def test_a_token_is_never_repeated(online: Shell, forge: Forge) -> None:
    for token in (forge(), *bad_tokens(forge).values()):
        if token.count(".") == 2:
            outcome = online("inspect", token)
            assert token.rsplit(".", 1)[1] not in outcome.out + outcome.err


def test_a_token_cannot_give_orders_to_the_terminal(online: Shell, forge: Forge) -> None:
    outcome = online("inspect", forge(**{"x\x1b[2J": "y\x1b]0;z\x07"}))
    assert "\x1b" not in outcome.out
    assert "\x07" not in outcome.out


def test_a_dash_reads_the_token_from_standard_input(
    online: Shell, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(forge() + "\n"))
    assert online("inspect", "-").code == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(forge() + "\n"))
    assert explain(online, "-").code == 0


def test_keys_that_cannot_be_read_are_no_judgement(shell: Shell, forge: Forge) -> None:
    from keyfob.config import load

    issuer = load(shell.directory / "keyfob.toml").server.issuer
    token = forge(iss=issuer)
    for outcome in (shell("inspect", token), explain(shell, token)):
        assert outcome.code == 2
        assert "is `keyfob up` running?" in outcome.err
        assert "(upstream_unavailable)" in outcome.err


# explain


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
        "credentials", "token", "confirmation", "revocation", "device", "session",
        "permissions", "permission", "publish",
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
