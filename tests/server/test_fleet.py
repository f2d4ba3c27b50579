# SPDX-License-Identifier: Apache-2.0
"""What is done to many devices at once, and how they are listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob.errors import ConfigError, ConflictError
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.credentials import verify_secret
from keyfob.server.fleet import Chosen, Selection
from keyfob.server.fleet_many import CHUNK
from keyfob.server.private_file import PrivateFile
from keyfob.server.register import Register
from keyfob.server.stores.fleet import NewDevice, insert_devices, page_query
from keyfob.server.stores.store import Store, open_store
from keyfob.server.wishes import ChangeWish, DeviceWish
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import jwks_of
from tests.server.test_fleet_import import secrets_in
from tests.server.world import Clock

SIZE = 2_500


@pytest.fixture
def store(database: Path, register: Register) -> Iterator[Store]:
    """The same file once more, with devices dev0000 to dev2499; every fifth is in group five."""
    store = open_store(database)
    register.fleet.add_group("five", publish=["a"])
    devices = [
        NewDevice(
            device_id=f"dev{number:04}",
            secret_hash=f"hash{number}",
            scopes="mqtt.connect",
            lifetime=None,
            state="active",
            groups=("five",) if number % 5 == 0 else (),
            labels={"three": "yes" if number % 3 == 0 else "no"},
        )
        for number in range(SIZE)
    ]
    with store.transaction():
        insert_devices(store, devices, now=1.0)
    yield store
    store.close()


def register_into(store: Store, name: str, group: str) -> None:
    device = NewDevice(
        device_id=name,
        secret_hash="hash",
        scopes="mqtt.connect",
        lifetime=None,
        state="active",
        groups=(group,),
        labels={},
    )
    with store.transaction():
        insert_devices(store, [device], now=1.0)


def names(step: int) -> list[str]:
    return [f"dev{number:04}" for number in range(0, SIZE, step)]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), names(1)),
        (Selection(group="five"), names(5)),
        (Selection(label=("three", "yes")), names(3)),
        (Selection(group="five", label=("three", "yes")), names(15)),
        (Selection(state="active", group="five"), names(5)),
        (Selection(state="pending"), []),
        (Selection(group="none"), []),
        (Selection(label=("three", "maybe")), []),
    ],
)
def test_pages_hold_every_device_of_a_selection_once_and_in_order(
    register: Register, store: Store, selection: Selection, expected: list[str]
) -> None:
    assert [row.device_id for page in register.fleet.pages(selection) for row in page] == expected
    first = register.list_devices(selection, limit=7)
    assert [device.id for device in first] == expected[:7]
    if first:
        second = register.list_devices(selection, after=first[-1].id, limit=7)
        assert [device.id for device in second] == expected[7:14]


@pytest.mark.sqlite  # as SQLite tells its plans
@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(group="five"),
        Selection(label=("three", "yes")),
        Selection(group="five", label=("three", "yes")),
    ],
)
def test_a_page_is_found_by_an_index(store: Store, selection: Selection) -> None:
    query, parameters = page_query(selection, after="dev0100", limit=10)
    plan = store.connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters).fetchall()
    told = " ".join(row[3] for row in plan)
    assert "SCAN" not in told
    assert "TEMP B-TREE" not in told


def test_many_are_disabled_and_revoked_together(register: Register, store: Store) -> None:
    outcome = register.fleet.disable(Chosen(selection=Selection(group="five")))
    assert (outcome.done, outcome.missing) == (SIZE // 5, 0)
    disabled = [device.id for device in register.list_devices(Selection(state="disabled"))]
    assert disabled == names(5)
    revoked = store.revocations_after(0, now=0, limit=SIZE)
    assert [row.subject for row in revoked] == names(5)


def test_a_commit_that_reaches_into_the_next_second_is_covered_for_all(
    database: Path, store: Store
) -> None:
    own = open_store(database)

    def passing() -> float:
        return 100.9 if own.connection.in_transaction else 101.1

    with Register(own, clock=passing) as register:
        register.fleet.disable(Chosen(selection=Selection(group="five")))
    last = {row.subject: row.issued_before for row in store.revocations_after(0, now=0, limit=9999)}
    assert last == dict.fromkeys(names(5), 101)


def test_a_file_names_devices_and_what_is_none_is_told(
    register: Register, store: Store, tmp_path: Path
) -> None:
    register.add_application("app")
    wanted = names(2)
    lines = [*wanted, "", "nobody", "  dev0002  ", "app", "a b", "\udcff", "dev0001"]
    (tmp_path / "names").write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")
    outcome = register.fleet.disable(Chosen(names=tmp_path / "names"))
    assert outcome.missing == 4
    assert outcome.examples == ("nobody", "app", "?", "?")
    disabled = [
        row.device_id for page in register.fleet.pages(Selection(state="disabled")) for row in page
    ]
    assert disabled == sorted([*wanted, "dev0001"])
    with pytest.raises(ConfigError):
        register.fleet.disable(Chosen(names=tmp_path / "none"))


def test_those_who_were_in_a_group_are_disabled_whoever_joins_or_leaves_meanwhile(
    register: Register, store: Store
) -> None:
    """A selection is read by name; who joins behind the name it has reached is for the next run."""
    register.fleet.add_group("all")
    for number in range(CHUNK + 1):
        register_into(store, f"m{number:04}", "all")

    def joining(done: int) -> None:
        if done == CHUNK:
            register_into(store, "a-behind", "all")
            register_into(store, "z-ahead", "all")

    chosen = Chosen(selection=Selection(group="all"))
    assert register.fleet.disable(chosen, on_progress=joining).done == CHUNK + 2
    active = Selection(group="all", state="active")
    assert [one.id for one in register.list_devices(active)] == ["a-behind"]
    register.fleet.disable(chosen)
    assert register.list_devices(active) == ()


def test_many_get_new_secrets_that_are_in_the_file(
    register: Register, store: Store, tmp_path: Path
) -> None:
    chosen = Chosen(selection=Selection(label=("three", "yes")))
    with PrivateFile(tmp_path / "s.csv") as secrets:
        outcome = register.fleet.rotate(chosen, secrets, overlap=60)
    made = secrets_in(tmp_path / "s.csv")
    assert sorted(made) == names(3)
    assert outcome.done == len(made)
    stored = store.secret("dev0003", now=0)
    assert stored is not None
    assert stored.old_hash == "hash3"
    assert store.secret("dev0001", now=0).secret_hash == "hash1"  # type: ignore[union-attr]
    with PrivateFile(tmp_path / "s.csv") as secrets, pytest.raises(ConflictError):
        register.fleet.rotate(chosen, secrets)


def test_a_rotation_that_was_interrupted_goes_on_and_gives_nobody_two(
    register: Register, store: Store, tmp_path: Path, clock: Clock
) -> None:
    """So the secret that a device has, and not one that it never had, is its old one."""

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with PrivateFile(tmp_path / "s.csv") as secrets, pytest.raises(KeyboardInterrupt):
        register.fleet.rotate(Chosen(), secrets, overlap=60, on_progress=stop)
    with (tmp_path / "s.csv").open("a") as file:
        file.write("dev2000,kfs_void\n")
    with PrivateFile(tmp_path / "s.csv") as secrets:
        outcome = register.fleet.rotate(Chosen(), secrets, overlap=60)
    assert outcome.done == SIZE - 1_000
    assert sorted(secrets_in(tmp_path / "s.csv")) == names(1)
    for number in (0, 999, 1_000, 2_499):
        stored = store.secret(f"dev{number:04}", now=clock.now)
        assert stored is not None
        assert stored.old_hash == f"hash{number}"


def test_a_name_that_stands_twice_is_given_one_new_secret(
    register: Register, store: Store, tmp_path: Path
) -> None:
    """Also far from each other, and after an interruption: else its second one were its old one."""
    wanted = [*names(1), "dev0001", "dev0002"]
    (tmp_path / "names").write_text("dev0001\n" + "\n".join(wanted))
    chosen = Chosen(names=tmp_path / "names")

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with PrivateFile(tmp_path / "s.csv") as secrets, pytest.raises(KeyboardInterrupt):
        register.fleet.rotate(chosen, secrets, overlap=60, on_progress=stop)
    with PrivateFile(tmp_path / "s.csv") as secrets:
        register.fleet.rotate(chosen, secrets, overlap=60)
    made = secrets_in(tmp_path / "s.csv")  # which refuses two of one device
    assert sorted(made) == names(1)
    stored = store.secret("dev0001", now=0)
    assert stored is not None
    assert stored.old_hash == "hash1"
    assert verify_secret(made["dev0001"], stored.secret_hash)
    left = store.connection.execute("SELECT count(*) FROM bulk_done").fetchone()
    assert left == (0,)
    with PrivateFile(tmp_path / "other.csv") as secrets:  # another file is another rotation
        assert register.fleet.rotate(chosen, secrets).done == SIZE


def test_devices_that_have_keys_or_a_certificate_only_are_passed_over_and_told(
    register: Register, tmp_path: Path
) -> None:
    keys = jwks_of(SigningKey.generate())
    register.add_device(DeviceWish("keys", jwks=keys))
    register.add_device(DeviceWish("name", certificate=CertificateIdentity(san_dns="dev1.example")))
    before = register.add_device("both").secret
    register.set_device_jwks("both", keys)
    with PrivateFile(tmp_path / "s.csv") as secrets:
        outcome = register.fleet.rotate(Chosen(), secrets)
    assert (outcome.done, outcome.passed_over, outcome.missing) == (1, 2, 0)
    made = secrets_in(tmp_path / "s.csv")
    assert (list(made), made["both"] != before) == (["both"], True)
    assert not register.show_device("keys").has_secret
    assert not register.show_device("name").has_secret


def test_a_group_that_is_removed_leaves_none_of_its_rights_to_a_later_one(
    register: Register, store: Store
) -> None:
    register.fleet.remove_group("five")
    assert store.connection.execute("SELECT count(*) FROM membership").fetchone() == (0,)
    register.fleet.add_group("five", publish=["b"])
    assert register.show_device("dev0005").groups == ()
    assert register.fleet.rights("dev0005") == ("mqtt.connect",)


def test_what_a_device_is_in_and_the_index_of_it_are_the_same(
    register: Register, store: Store
) -> None:
    register.fleet.add_group("more")
    register.change_device(
        "dev0005", ChangeWish(into=["more"], labels={"three": "maybe", "new": "1"})
    )
    register.change_device("dev0010", ChangeWish(out_of=["five"], unlabel=["three"]))
    register.remove_device("dev0015")
    groups = [
        (name, row[0])
        for row in store.connection.execute("SELECT client_id, group_names FROM client")
        for name in row[1].split()
    ]
    labels = [
        (key, value, row[0])
        for row in store.connection.execute("SELECT client_id, labels FROM client")
        for key, value in json.loads(row[1]).items()
    ]
    rows = store.connection.execute("SELECT group_name, client_id FROM membership").fetchall()
    assert sorted(groups) == sorted(rows)
    rows = store.connection.execute("SELECT key, value, client_id FROM label").fetchall()
    assert sorted(labels) == sorted(rows)
    assert register.show_device("dev0005").groups == ("five", "more")
    assert register.show_device("dev0010").labels == {}


def test_a_file_of_secrets_is_private_and_written_by_one(tmp_path: Path) -> None:
    with PrivateFile(tmp_path / "s") as file:
        file.write("one\n")
        file.sync()
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
        with pytest.raises(ConflictError):
            PrivateFile(tmp_path / "s")
        with pytest.raises(ConfigError):
            file.cut(10)
        file.cut(0)
    (tmp_path / "s").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        PrivateFile(tmp_path / "s")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    for path in (tmp_path / "link", tmp_path / "no" / "s", tmp_path):
        with pytest.raises(ConfigError):
            PrivateFile(path)
