# SPDX-License-Identifier: Apache-2.0
"""An exchange from beginning to end, and a verified token to check its proof against."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyfob.errors import TokenError
from keyfob.guard.exchanges.exchange import Challenge, ExchangeContext, Method, Presented
from keyfob.tokens.verify import VerifiedToken, verify_introspected
from tests.guard.world import NOW, trusted

TOKEN = "opaque-token-0123456789"


def context(**changes: Any) -> ExchangeContext:
    values: dict[str, Any] = {
        "client_id": "dev1",
        "broker": "b",
        "server_nonce": bytes(range(32)),
        "now": NOW,
        "reauthenticating": False,
    }
    return ExchangeContext(**{**values, **changes})


def vouched(cnf: Mapping[str, Any] | None) -> VerifiedToken:
    """A token that its issuer says is bound to this."""
    claims: dict[str, Any] = {"sub": "dev1", "aud": "mqtt", "exp": NOW + 600}
    if cnf is not None:
        claims["cnf"] = cnf
    return verify_introspected({**claims, "scope": "mqtt.connect"}, trusted(), NOW)


def shown(method: Method, connect: bytes, answer: bytes, **changes: Any) -> Presented:
    """Go through an exchange."""
    exchange = method.begin(context(**changes))
    challenge = exchange.step(connect)
    assert isinstance(challenge, Challenge)
    presented = exchange.step(answer)
    assert isinstance(presented, Presented)
    return presented


def checked(presented: Presented, token: VerifiedToken, now: float = NOW) -> None:
    assert presented.proof is not None
    presented.proof.check(token, now)


def outcome(
    case: Mapping[str, Any], method: Method, data: Mapping[str, bytes], **changes: Any
) -> tuple[str, str]:
    """Return how a case of the vectors ends, and in which words."""
    try:
        presented = shown(method, data["connect"], data["answer"], **changes)
        checked(presented, vouched(case["cnf"]))
    except TokenError as error:
        return error.code, error.message
    return "proven", ""


def vectors(name: str) -> Any:
    path = Path(__file__).parents[3] / "vectors" / name
    return json.loads(path.read_text(encoding="utf-8"))
