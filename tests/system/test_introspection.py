# SPDX-License-Identifier: Apache-2.0
"""Tokens that their issuer is asked about (RFC 7662), from CONNECT to the end of the session."""

from __future__ import annotations

import pytest

from tests.running import NOT_AUTHORIZED, Installation, until
from tests.system.foreign import Foreign
from tests.system.introspection_server import SECRET

KINDS = ("opaque", "signed")


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_issuer_says_is_what_a_client_may_do(
    trusting: Installation, foreign: Foreign, kind: str
) -> None:
    device = f"asked-{kind}"
    token = getattr(foreign, kind)(device, f"mqtt.publish:devices/{device}/%23")
    client = trusting.come_in(device, token)
    assert client.publish(f"devices/{device}/t") in {0, 0x10}
    assert client.publish("devices/other/t") == NOT_AUTHORIZED


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_revoked_at_the_issuer_ends_the_session_and_is_refused(
    trusting: Installation, foreign: Foreign, kind: str
) -> None:
    device = f"ended-{kind}"
    token = getattr(foreign, kind)(device)
    client = trusting.come_in(device, token)
    foreign.revoke(token)
    client.until_disconnected()
    refused = trusting.connack(NOT_AUTHORIZED)
    until(
        "it is refused as bad, not as unavailable",
        lambda: trusting.client(device).try_connect(device, token) == refused,
    )
    until("the audit", lambda: ("refused", "token_inactive") in trusting.told(device))
    assert ("revoked", "token_inactive") in trusting.told(device)


def test_a_session_that_a_new_guard_cannot_ask_about_ends_and_comes_back(
    trusting: Installation, foreign: Foreign
) -> None:
    """Tokens are kept in memory only: nobody knows any more what to ask about."""
    token = foreign.opaque("forgotten")
    client = trusting.come_in("forgotten", token)
    by_signature = trusting.client("remembered").connect(trusting.enrol("remembered"))
    trusting.wait_restarted("guard", trusting.kill("guard"))
    client.until_disconnected()
    trusting.come_in("forgotten", token)
    assert by_signature.disconnects == []


def test_a_token_that_the_issuer_does_not_know_is_refused_as_bad(
    trusting: Installation, foreign: Foreign
) -> None:
    client = trusting.client("stranger")
    refused = trusting.connack(NOT_AUTHORIZED)
    until("it is refused", lambda: client.try_connect("stranger", "x" * 43) == refused)


def test_no_token_and_no_secret_is_written_anywhere(
    trusting: Installation, foreign: Foreign
) -> None:
    token = foreign.opaque("quiet")
    trusting.come_in("quiet", token)
    until("the audit", lambda: trusting.told("quiet"))
    written = {
        path: path.read_bytes()
        for path in trusting.directory.rglob("*")
        if path.is_file() and path.suffix in {".log", ".jsonl", ".db", ".db-wal"}
    }
    read = {path.name for path in written}
    assert {"audit.jsonl", "guard.db", trusting.log_file.name} <= read
    for path, content in written.items():
        for text in (token, SECRET):
            assert text.encode() not in content, path
