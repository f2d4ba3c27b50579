# SPDX-License-Identifier: Apache-2.0
"""Receivers in the register: who may be one, what rests of its secret, who changed it."""

from __future__ import annotations

import base64
import os

import pytest

from keyfob.errors import ConfigError, ConflictError, KeyfobError, NotFoundError
from keyfob.server.app import create_app
from keyfob.server.events import receiver_register
from keyfob.server.events.credentials import opened
from keyfob.server.events.receiver_register import ReceiverRegister
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.signing.sealing import KeySealer
from keyfob.server.signing.settings import SigningSettings
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import open_store
from tests.server.databases import connected, everything
from tests.server.events.world import URL, Inbox, delivering, until

SECRET = "0123456789abcdef-stream-secret"


def sealer() -> KeySealer:
    return KeySealer(base64.b64encode(os.urandom(32)).decode())


def receivers(database: Place, key: KeySealer | None = None) -> ReceiverRegister:
    return ReceiverRegister(open_store(database), key, actor="alice")


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "url",
    [
        "",
        "guard.example/events",
        "http://guard.example/events",
        "ftp://guard.example/",
        "https://user:password@guard.example/events",
        "https://guard.example/#events",
        "https://guard.example/a b",
        "https://" + "a" * 2_048,
    ],
)
def test_an_address_is_https_or_this_machine_and_holds_no_secret(database: Place, url: str) -> None:
    with receivers(database) as register:
        with pytest.raises(ConfigError) as error:
            register.add("guard", url=url)
        assert "password" not in error.value.message
        assert register.list_receivers() == ()


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "secret", ["two words", "Bearer abc", "ö" * 8, "a\nb", "kfk1:x", "x" * 513]
)
def test_a_secret_is_what_a_header_carries_and_no_error_repeats_it(
    database: Place, secret: str
) -> None:
    with receivers(database) as register:
        with pytest.raises(ConfigError) as error:
            register.add("guard", url=URL, secret=secret)
        assert secret not in error.value.message


def test_the_audience_is_the_url_unless_it_is_said(database: Place) -> None:
    with receivers(database) as register:
        assert register.add("a", url="http://127.0.0.1:1/e").audience == "http://127.0.0.1:1/e"
        assert register.add("b", url=URL, audience="guards").audience == "guards"
        with pytest.raises(ConfigError):
            register.add("c", url=URL, audience="x" * 513)
        with pytest.raises(ConfigError):
            register.add("c", url=URL, ca="not a certificate")


def test_each_change_has_its_line_in_the_trail_and_none_holds_the_secret(database: Place) -> None:
    with receivers(database) as register:
        register.add("guard", url=URL, secret=SECRET)
        with pytest.raises(ConflictError):
            register.add("guard", url=URL)
        register.remove("guard")
        for act in (register.remove, register.status):
            with pytest.raises(NotFoundError):
                act("guard")
    with Register.open(database) as other:
        lines = other.list_actions()
    assert [(line.action, line.actor, line.subject, line.result) for line in lines] == [
        ("receiver.add", "alice", "guard", "done"),
        ("receiver.add", "alice", "guard", "conflict"),
        ("receiver.remove", "alice", "guard", "done"),
        ("receiver.remove", "alice", "guard", "not_found"),
    ]
    assert SECRET not in repr(lines)


def test_there_is_a_bound_on_receivers(database: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_register, "MAX_RECEIVERS", 2)
    with receivers(database) as register:
        register.add("a", url=URL)
        register.add("b", url=URL)
        with pytest.raises(ConflictError):
            register.add("c", url=URL)


def test_a_secret_rests_sealed_and_opens_for_its_receiver_only(database: Place) -> None:
    key = sealer()
    with receivers(database, key) as register:
        register.add("a", url=URL, secret=SECRET)
        register.add("b", url=URL, secret=SECRET)
        a, b = register.list_receivers()
    assert SECRET.encode() not in everything(database)
    assert SECRET not in repr((a, b))
    assert opened(a, key) == opened(b, key) == SECRET
    for wrong in (None, sealer()):
        with pytest.raises(ConfigError) as error:
            opened(a, wrong)
        assert "receiver a" in error.value.message
    with connected(database) as connection:  # as whoever can write the database would
        connection.execute("UPDATE receiver SET credential = ? WHERE name = 'a'", (b.credential,))
    with receivers(database, key) as register, pytest.raises(KeyfobError):
        opened(register.list_receivers()[0], key)


@pytest.mark.anyio
async def test_a_server_that_is_given_a_key_seals_what_was_stored_before(database: Place) -> None:
    with receivers(database) as register:
        register.add("a", url=URL, secret=SECRET)
    assert SECRET.encode() in everything(database)
    key = sealer()
    app = create_app(
        ServerSettings(
            issuer="https://as.example",
            audience="mqtt",
            database=database,
            signing=SigningSettings(sealer=key),
        )
    )
    async with app.router.lifespan_context(app):
        assert SECRET.encode() not in everything(database)
    with receivers(database) as register:
        (a,) = register.list_receivers()
    assert opened(a, key) == SECRET


@pytest.mark.anyio
async def test_the_secret_is_shown_as_bearer_and_one_that_does_not_open_is_told(
    database: Place,
) -> None:
    key, inbox = sealer(), Inbox()
    with receivers(database, key) as register, Register.open(database) as devices:
        register.add("guard", url=URL, secret=SECRET)
        devices.add_device("dev1")
        devices.disable_device("dev1")
        async with delivering(database, inbox):
            await until(lambda: register.status("guard")[1].last_error == "secret_unreadable")
        assert inbox.came == []
        async with delivering(database, inbox, sealer=key):
            await until(lambda: inbox.taken)
    assert inbox.headers[0]["authorization"] == f"Bearer {SECRET}"
    assert inbox.headers[0]["content-type"] == "application/secevent+jwt"
