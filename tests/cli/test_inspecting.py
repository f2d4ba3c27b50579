# SPDX-License-Identifier: Apache-2.0
"""`keyfob inspect`: good and bad tokens, shown and judged."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from keyfob.tokens.sign import SigningKey
from tests.cli.commands import Shell

Forge = Callable[..., str]


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


def test_keys_that_cannot_be_read_are_no_judgement(shell: Shell, forge: Forge) -> None:
    from keyfob.config import load

    issuer = load(shell.directory / "keyfob.toml").server.issuer
    token = forge(iss=issuer)
    outcome = shell("inspect", token)
    assert outcome.code == 2
    assert "is `keyfob up` running?" in outcome.err
    assert "(upstream_unavailable)" in outcome.err
