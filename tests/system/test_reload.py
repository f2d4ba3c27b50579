# SPDX-License-Identifier: Apache-2.0
"""SIGHUP to the guard: keyfob.toml is read again, and who is connected is decided again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.free_ports import free_port
from tests.running import NOT_AUTHORIZED, Installation, until
from tests.system.foreign import Foreign

ROW = """
[[issuer.policy]]
scope = "extra"
publish = ["extra/{device}/#"]
"""
ACCEPTED = {0, 0x10}


def with_row(text: str) -> str:
    """Give Keyfob's own issuer, the first one, a row."""
    return text.replace("\n[mosquitto]", f"{ROW}\n[mosquitto]", 1)


@pytest.fixture
def up(trusting: Installation) -> Iterator[Installation]:
    """An installation that has its own configuration again afterwards."""
    path = trusting.directory / "keyfob.toml"
    before = path.read_text(encoding="utf-8")
    yield trusting
    assert "read keyfob.toml again" in trusting.configure(lambda _: before)


def test_a_row_gives_and_takes_rights_on_the_same_connection(up: Installation) -> None:
    token = up.enrol("rows", publish=["own/#"], scopes=["extra"])
    client = up.client("rows").connect(token)
    assert client.publish("extra/rows/t") == NOT_AUTHORIZED
    assert "0 sessions ended" in up.configure(with_row)
    until("the broker knows", lambda: client.publish("extra/rows/t") in ACCEPTED)
    assert client.publish("extra/other/t") == NOT_AUTHORIZED
    up.configure(lambda text: text.replace(ROW, ""))
    until("the broker knows", lambda: client.publish("extra/rows/t") == NOT_AUTHORIZED)
    assert client.publish("own/t") in ACCEPTED
    assert client.disconnects == []


def test_a_scope_that_is_required_now_drops_those_without_it_only(up: Installation) -> None:
    having = up.client("having").connect(up.enrol("having", scopes=["extra"]))
    lacking_token = up.enrol("lacking")
    lacking = up.client("lacking").connect(lacking_token)
    audience = 'audience = ["mqtt"]\n'
    required = f'{audience}required_scopes = ["mqtt.connect", "extra"]\n'
    up.configure(lambda text: text.replace(audience, required, 1))
    lacking.until_disconnected()
    refused = up.connack(NOT_AUTHORIZED)
    assert up.client("lacking").try_connect("lacking", lacking_token) == refused
    assert having.publish("$nothing") in {NOT_AUTHORIZED, *ACCEPTED}
    assert having.disconnects == []


def test_a_broken_file_changes_nothing_and_says_where(up: Installation) -> None:
    token = up.enrol("calm", publish=["calm/#"])
    client = up.client("calm").connect(token)
    path = up.directory / "keyfob.toml"
    lines = path.read_text(encoding="utf-8").count("\n")
    said = up.configure(lambda text: f"{text}nonsens = 1\n")
    assert f"the old configuration stays: {path}:{lines + 1}: " in said
    assert client.publish("calm/t") in ACCEPTED
    assert up.client("calm").try_connect("calm", token) == 0


@pytest.mark.soak  # ten seconds are waited for its keys
def test_a_new_issuer_that_is_down_disturbs_nobody(up: Installation, foreign: Foreign) -> None:
    token = up.enrol("steady", publish=["steady/#"])
    client = up.client("steady").connect(token)
    dead = f"http://127.0.0.1:{free_port()}"
    section = f'[[issuer]]\nname = "dead"\nissuer = "{dead}"\naudience = ["mqtt"]\n'
    assert "0 sessions ended" in up.configure(lambda text: f"{text}\n{section}")
    assert client.publish("steady/t") in ACCEPTED
    assert client.disconnects == []
    up.client("steady").connect(token)
    of_dead = foreign.key.sign(foreign.claims("always", "new", iss=dead))
    assert up.client("new").try_connect("new", of_dead) == up.connack(0x88)
    status, body = up.http("/readyz")
    assert status == 503
    assert "keys_missing" in body
