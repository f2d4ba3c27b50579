# SPDX-License-Identifier: Apache-2.0
"""Security events that an issuer pushes with curl to the running guard (RFC 8417, RFC 8935)."""

from __future__ import annotations

import json
import time

from tests.running import NOT_AUTHORIZED, Installation, until
from tests.system.foreign import STREAM_SECRET, Foreign

REVOKED = ("refused", "token_revoked")


def push(up: Installation, event: str, secret: str = STREAM_SECRET) -> tuple[int, str]:
    return up.http(
        "/events",
        *("-H", "Content-Type: application/secevent+jwt"),
        *("-H", f"Authorization: Bearer {secret}"),
        *("--data-binary", event),
    )


def until_refused_as_revoked(up: Installation, device: str, token: str) -> None:
    """While the guard starts again it may be unavailable; never is the token good."""
    before = len(up.told(device))

    def refused() -> bool:
        code = up.client(device).try_connect(device, token)
        assert code != 0
        return code == up.connack(NOT_AUTHORIZED)

    until("it is refused", refused)
    until("the audit tells why", lambda: REVOKED in up.told(device)[before:])


def test_a_pushed_event_ends_the_session_and_holds_after_a_kill(
    trusting: Installation, foreign: Foreign
) -> None:
    token = foreign.signed("pushed")
    client = trusting.come_in("pushed", token)
    event = foreign.event("pushed")
    assert push(trusting, event) == (202, "")
    client.until_disconnected()
    until_refused_as_revoked(trusting, "pushed", token)
    assert push(trusting, event) == (202, ""), "a replay is acknowledged, too"

    old = trusting.kill("guard")
    trusting.wait_restarted("guard", old)
    until_refused_as_revoked(trusting, "pushed", token)
    later = foreign.signed("pushed", iat=int(time.time()) + 1)
    trusting.come_in("pushed", later)


def test_an_acknowledged_event_is_on_the_disk_before_its_202(
    trusting: Installation, foreign: Foreign
) -> None:
    token = foreign.signed("at-once")
    trusting.come_in("at-once", token)
    assert push(trusting, foreign.event("at-once"))[0] == 202
    old = trusting.kill("guard")  # at once
    trusting.wait_restarted("guard", old)
    until_refused_as_revoked(trusting, "at-once", token)


def test_who_may_not_speak_for_the_issuer_changes_nothing(
    trusting: Installation, foreign: Foreign
) -> None:
    token = foreign.signed("unmoved")
    client = trusting.come_in("unmoved", token)
    assert push(trusting, foreign.event("unmoved"), "wrong")[0] == 401
    status, body = push(trusting, token)
    assert (status, json.loads(body)["err"]) == (400, "invalid_request")
    status, body = push(trusting, foreign.event("unmoved", aud="https://elsewhere.example"))
    assert (status, json.loads(body)["err"]) == (400, "invalid_audience")
    assert client.disconnects == []
    assert trusting.client("unmoved").try_connect("unmoved", foreign.event("unmoved")) != 0
