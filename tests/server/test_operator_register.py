# SPDX-License-Identifier: Apache-2.0
"""Accounts of operators: made, changed, removed, each with its line in the trail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keyfob.errors import ConfigError, ConflictError, KeyfobError, NotFoundError
from keyfob.server.operator_register import OperatorRegister
from keyfob.server.register import Register
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import open_store
from tests.server.world import Clock

PASSWORD = "correct horse battery"


@pytest.fixture
def operators(database: Place, clock: Clock) -> Iterator[OperatorRegister]:
    with OperatorRegister(open_store(database), clock=clock, actor="root") as operators:
        yield operators


def test_each_change_has_its_line_and_no_line_a_password(
    operators: OperatorRegister, register: Register
) -> None:
    operators.add("alice", PASSWORD)
    with pytest.raises(ConflictError):
        operators.add("alice", PASSWORD)
    operators.set_password("alice", PASSWORD + "!")
    operators.remove("alice")
    tries: list[tuple[str, str, type[KeyfobError]]] = [
        ("bob", "short", ConfigError),
        ("a b", PASSWORD, ConfigError),
        ("kfs_in-the-wrong-place", PASSWORD, ConfigError),
    ]
    for name, password, error in tries:
        with pytest.raises(error):
            operators.add(name, password)
    with pytest.raises(NotFoundError):
        operators.remove("bob")
    with pytest.raises(NotFoundError):
        operators.set_password("bob", PASSWORD)
    lines = register.list_actions()
    assert [(line.action, line.subject, line.result) for line in lines] == [
        ("operator.add", "alice", "done"),
        ("operator.add", "alice", "conflict"),
        ("operator.set-password", "alice", "done"),
        ("operator.remove", "alice", "done"),
        ("operator.add", "bob", "config_invalid"),
        ("operator.add", "?", "config_invalid"),
        ("operator.add", "?", "config_invalid"),
        ("operator.remove", "bob", "not_found"),
        ("operator.set-password", "bob", "not_found"),
    ]
    assert {line.actor for line in lines} == {"root"}
    assert PASSWORD not in repr(lines)


def test_an_operator_and_a_device_may_have_one_name(
    operators: OperatorRegister, register: Register
) -> None:
    register.add_device("alice")
    operators.add("alice", PASSWORD)
    assert [one.name for one in operators.list()] == ["alice"]
    assert [one.id for one in register.list_devices()] == ["alice"]
    operators.remove("alice")
    assert operators.list() == ()
    assert [one.id for one in register.list_devices()] == ["alice"]
