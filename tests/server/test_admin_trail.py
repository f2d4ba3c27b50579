# SPDX-License-Identifier: Apache-2.0
"""Every change of the register has one line that says who, what, when and how it ended."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from keyfob.errors import ConfigError, ConflictError, KeyfobError, NotFoundError
from keyfob.server.admin_trail import os_user
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_metadata import NO_METADATA
from keyfob.server.clients import GUARD_SCOPE
from keyfob.server.register import Register
from keyfob.server.signing.key_register import KeyRegister
from keyfob.server.signing.settings import DEFAULT_SIGNING
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import open_store
from keyfob.server.wishes import ApplicationWish, ChangeWish, DeviceWish, Rights
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import jwks_of
from tests.server.databases import connected
from tests.server.world import Clock

NAME = CertificateIdentity(san_dns="dev1.example")
KEYS = jwks_of(SigningKey.generate())
ACTIONS: list[tuple[str, Callable[[Register], object]]] = [
    (
        "device.add",
        lambda register: register.add_device(
            DeviceWish("dev1", rights=Rights(publish=["a/{device}"]))
        ),
    ),
    ("device.disable", lambda register: register.disable_device("dev1")),
    ("device.enable", lambda register: register.enable_device("dev1")),
    ("device.set", lambda register: register.change_device("dev1", ChangeWish(labels={"a": "b"}))),
    ("device.revoke-tokens", lambda register: register.revoke_device_tokens("dev1")),
    ("device.set-jwks", lambda register: register.set_device_jwks("dev1", KEYS)),
    ("device.set-tokens", lambda register: register.set_device_tokens("dev1", NO_METADATA)),
    ("device.rotate-secret", lambda register: register.rotate_secret("dev1")),
    ("device.remove", lambda register: register.remove_device("dev1")),
    ("device.add", lambda register: register.add_device(DeviceWish("dev1", jwks=KEYS))),
    ("device.set-certificate", lambda register: register.set_device_certificate("dev1", NAME)),
    (
        "grant.allow",
        lambda register: register.allow_grant("dev1", "token-exchange", act_for=["a*"]),
    ),
    ("grant.withdraw", lambda register: register.withdraw_grant("dev1", "token-exchange")),
    ("device.remove", lambda register: register.remove_device("dev1")),
    ("application.add", lambda register: register.add_application("dev1")),
    ("application.set-jwks", lambda register: register.set_application_jwks("dev1", KEYS)),
    (
        "application.set-certificate",
        lambda register: register.set_application_certificate("dev1", NAME),
    ),
    ("application.remove", lambda register: register.remove_application("dev1")),
    ("guard.add", lambda register: register.ensure_guard_client("dev1")),
    ("guard.rotate-secret", lambda register: register.ensure_guard_client("dev1")),
    ("guard.remove", lambda register: register.remove_guard_client("dev1")),
    ("service.add", lambda register: register.add_service("dev1", scopes=[GUARD_SCOPE])),
    ("service.remove", lambda register: register.remove_service("dev1")),
]


def test_each_action_has_one_line_in_the_order_in_which_they_were_done(
    database: Place, clock: Clock
) -> None:
    with Register(open_store(database), clock=clock, actor="alice") as register:
        for _, act in ACTIONS:
            act(register)
            clock.now += 1.0
        lines = register.list_actions()
    assert [line.action for line in lines] == [name for name, _ in ACTIONS]
    assert {(line.actor, line.subject, line.result) for line in lines} == {
        ("alice", "dev1", "done")
    }
    assert [line.at for line in lines] == [
        clock.now - len(ACTIONS) + place for place in range(len(ACTIONS))
    ]


def test_every_method_of_the_register_that_changes_it_is_recorded() -> None:
    reading = {"open", "close", "list_devices", "show_device", "list_applications"}
    reading |= {"application_page", "service_page"}
    reading |= {"show_application", "show_service"}
    reading |= {"list_guard_clients", "list_services", "list_actions"}
    reading |= {"database", "fleet"}  # what changes by the fleet: test_fleet_trail
    reading |= {"show_grants"}
    public = {name for name in dir(Register) if not name.startswith("_")}
    changing = {"add_device", "disable_device", "enable_device", "rotate_secret", "remove_device"}
    changing |= {"change_device", "set_device_jwks", "set_application_jwks"}
    changing |= {"set_device_certificate", "set_application_certificate"}
    changing |= {"set_device_tokens", "add_application", "remove_application"}
    changing |= {"revoke_device_tokens"}
    changing |= {"ensure_guard_client", "remove_guard_client", "add_service", "remove_service"}
    changing |= {"allow_grant", "withdraw_grant"}
    assert public - reading == changing  # each of them is in ACTIONS


def test_an_action_that_was_refused_has_its_line_and_changed_nothing(register: Register) -> None:
    register.add_device("dev1")
    tries: list[tuple[Callable[[], object], type[KeyfobError]]] = [
        (lambda: register.add_device("dev1"), ConflictError),
        (lambda: register.remove_device("dev2"), NotFoundError),
        (lambda: register.add_device("kfs_a-secret-in-the-wrong-place"), ConfigError),
    ]
    for act, error in tries:
        with pytest.raises(error):
            act()
    assert [(line.action, line.subject, line.result) for line in register.list_actions()] == [
        ("device.add", "dev1", "done"),
        ("device.add", "dev1", "conflict"),
        ("device.remove", "dev2", "not_found"),
        ("device.add", "?", "config_invalid"),
    ]


def test_no_line_holds_a_secret(database: Place, register: Register) -> None:
    secrets = [register.add_device("dev1").secret, register.rotate_secret("dev1").secret]
    secrets.append(register.ensure_guard_client("guard"))
    shown = repr(register.list_actions())
    assert not any(secret in shown or secret[4:] in shown for secret in secrets)
    assert "kfs_" not in shown


def test_an_action_whose_line_cannot_be_written_is_not_done(
    database: Place, register: Register
) -> None:
    with connected(database) as connection:
        if isinstance(database, Path):
            connection.execute(
                "CREATE TRIGGER broken BEFORE INSERT ON admin_action"
                " BEGIN SELECT RAISE(ABORT, 'broken'); END"
            )
        else:
            connection.execute(
                "CREATE TRIGGER broken BEFORE INSERT ON admin_action FOR EACH STATEMENT"
                " EXECUTE FUNCTION keep_admin_actions()"
            )
    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)):
        register.add_device("dev1")
    assert register.list_devices() == ()


@pytest.mark.parametrize(
    "statement", ["DELETE FROM admin_action", "UPDATE admin_action SET actor = 'nobody'"]
)
def test_a_line_is_never_changed_and_never_goes(
    database: Place, register: Register, statement: str
) -> None:
    register.add_device("dev1")
    error = (sqlite3.IntegrityError, psycopg.IntegrityError)
    with connected(database) as connection, pytest.raises(error, match="only added to"):
        connection.execute(statement)
    assert len(register.list_actions()) == 1


def test_the_last_lines_and_those_of_one_client_are_found(register: Register) -> None:
    for name in ("a", "b", "c"):
        register.add_device(name)
    register.disable_device("b")
    assert [line.subject for line in register.list_actions(last=2)] == ["c", "b"]
    found = register.list_actions(subject="b")
    assert [line.action for line in found] == ["device.add", "device.disable"]


def test_the_actor_is_the_operating_systems_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setenv("USER", "somebody-else")
    assert os_user() != "somebody-else"
    monkeypatch.setattr(os, "getuid", lambda: 4_242_424)
    assert os_user() == "uid 4242424"
    monkeypatch.setenv("SUDO_USER", "alice")
    assert os_user() == "uid 4242424"  # anybody can say so of himself
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert os_user().endswith(" (sudo by alice)")
    monkeypatch.setenv("SUDO_USER", "a\nb")
    assert "\n" not in os_user()


def test_changes_of_signing_keys_are_in_the_same_trail(database: Place, clock: Clock) -> None:
    keys = KeyRegister(open_store(database), DEFAULT_SIGNING, clock=clock, actor="alice")
    with keys:
        first = keys.rotate(at_once=True).kid
        clock.now += 1
        second = keys.rotate().kid
        with pytest.raises(ConflictError):
            keys.rotate()  # one is announced already
        clock.now += 1
        third = keys.rotate(at_once=True).kid
        keys.remove(first)
        with pytest.raises(NotFoundError):
            keys.remove("a pasted secret")
    with Register(open_store(database), clock=clock) as register:
        lines = register.list_actions()
        (of_first, _) = register.list_actions(subject=first)
    refused = lines[2]
    assert (refused.action, refused.result) == ("key.rotate", "conflict")
    assert [(line.action, line.subject, line.result) for line in lines if line != refused] == [
        ("key.rotate-now", first, "done"),
        ("key.rotate", second, "done"),
        ("key.rotate-now", third, "done"),
        ("key.remove", first, "done"),
        ("key.remove", "?", "not_found"),
    ]
    assert of_first.actor == "alice"


def test_what_is_refused_before_it_touches_the_register_has_its_line_too(
    register: Register,
) -> None:
    with pytest.raises(ConfigError):
        register.add_application(ApplicationWish("app", public=True, jwks=KEYS))
    with pytest.raises(ConfigError):
        register.add_service("svc", scopes=[])
    assert [(line.action, line.subject, line.result) for line in register.list_actions()] == [
        ("application.add", "app", "config_invalid"),
        ("service.add", "svc", "config_invalid"),
    ]
