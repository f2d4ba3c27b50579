# SPDX-License-Identifier: Apache-2.0
"""What is done to many devices, and to groups, stands in the trail with what was done."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfob.errors import ConfigError, ConflictError, NotFoundError
from keyfob.server.fleet import Chosen, Fleet, Selection
from keyfob.server.private_file import PrivateFile
from keyfob.server.register import Register
from keyfob.server.rotation import MAX_OVERLAP
from keyfob.server.wishes import ChangeWish, DeviceWish
from tests.server.test_fleet_import import load


def lines(register: Register) -> list[tuple[str, str, str]]:
    return [(line.action, line.subject, line.result) for line in register.list_actions(last=999)]


def test_an_import_has_a_line_that_says_how_many(register: Register, tmp_path: Path) -> None:
    load(register, "device\ndev1\ndev2\nno name\n", tmp_path)
    assert lines(register) == [("device.import", "(2 devices)", "done")]
    load(register, "device\ndev1\n", tmp_path, secrets="other.csv")
    assert len(lines(register)) == 1  # nothing was done


def test_each_of_many_has_its_line_in_the_transaction_that_did_it(
    register: Register, tmp_path: Path
) -> None:
    for number in range(3):
        register.add_device(DeviceWish(f"dev{number}", labels={"a": "b"} if number else {}))
    chosen = Chosen(selection=Selection(label=("a", "b")))
    with PrivateFile(tmp_path / "s.csv") as secrets:
        register.fleet.rotate(chosen, secrets, overlap=5)
    register.fleet.disable(chosen)
    assert lines(register)[3:] == [
        ("device.rotate-secret", "dev1", "done"),
        ("device.rotate-secret", "dev2", "done"),
        ("device.disable", "dev1", "done"),
        ("device.disable", "dev2", "done"),
    ]
    found = register.list_actions(subject="dev1")
    assert [line.action for line in found][1:] == ["device.rotate-secret", "device.disable"]
    shown = repr(register.list_actions(last=999)) + repr(chosen)
    assert "kfs_" not in shown


def test_changes_of_groups_have_their_lines(register: Register) -> None:
    fleet = register.fleet
    fleet.add_group("a")
    register.add_device(DeviceWish("dev1", groups=["a"]))
    register.change_device("dev1", ChangeWish(out_of=["a"]))
    fleet.set_group("a", {"lifetime": 60})
    fleet.remove_group("a")
    assert lines(register) == [
        ("group.add", "a", "done"),
        ("device.add", "dev1", "done"),
        ("device.set", "dev1", "done"),
        ("group.set", "a", "done"),
        ("group.remove", "a", "done"),
    ]


def test_what_is_refused_has_its_line(register: Register, tmp_path: Path) -> None:
    fleet = register.fleet
    with pytest.raises(ConfigError):
        fleet.add_group("a b")
    with pytest.raises(NotFoundError):
        fleet.set_group("a", {"lifetime": 60})
    with pytest.raises(NotFoundError):
        fleet.remove_group("a")
    with pytest.raises(ConfigError):
        fleet.disable(Chosen(names=tmp_path / "none"))
    with PrivateFile(tmp_path / "s.csv") as secrets:
        with pytest.raises(ConfigError):
            fleet.rotate(Chosen(), secrets, overlap=MAX_OVERLAP + 1)
        secrets.write("something")
        with pytest.raises(ConflictError):
            fleet.rotate(Chosen(), secrets)
    with pytest.raises(ConfigError):
        load(register, "nonsense\n", tmp_path)
    assert lines(register) == [
        ("group.add", "?", "config_invalid"),
        ("group.set", "a", "not_found"),
        ("group.remove", "?", "not_found"),
        ("device.disable", "?", "config_invalid"),
        ("device.rotate-secret", "?", "config_invalid"),
        ("device.rotate-secret", "?", "conflict"),
        ("device.import", "?", "config_invalid"),
    ]


def test_every_method_of_the_fleet_that_changes_it_is_above() -> None:
    reading = {"show_group", "list_groups", "rights", "page", "pages", "written"}
    public = {name for name in vars(Fleet) if not name.startswith("_")}
    changing = {"add_group", "set_group", "remove_group", "import_devices", "disable", "rotate"}
    changing |= {"rotate_listed", "import_batch"}  # tests/server/admin/test_fleet_resources.py
    assert public - reading == changing
