# SPDX-License-Identifier: Apache-2.0
"""`keyfob database copy`: a fleet that began in a SQLite file goes on in PostgreSQL."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator

import pytest

from keyfob.cli.installation import Installation
from keyfob.cli.server_database import server_database
from keyfob.errors import ConflictError
from keyfob.server.stores.copying import copy_register
from keyfob.server.stores.place import PostgresqlUrl
from keyfob.server.stores.store import open_store
from tests.cli.commands import Shell, started
from tests.postgresql import PASSWORD, Cluster
from tests.sqlite_rows import every_table

KEK = 'key_encryption = "env:KEYFOB_KEK"'


def configure(installation: Installation, lines: str) -> None:
    path = installation.settings.path
    path.write_text(path.read_text().replace("[server]", f"[server]\n{lines}", 1))


@pytest.fixture
def target(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresqlUrl]:
    """An empty database, as the environment has it."""
    monkeypatch.setenv("KEYFOB_KEK", secrets.token_hex(32))
    with cluster.database(empty=True) as url:
        monkeypatch.setenv("KEYFOB_DATABASE", url.text)
        yield url


@pytest.fixture
def filled(shell: Shell, installation: Installation, target: PostgresqlUrl) -> Shell:
    """An installation on SQLite with something of each kind, and encrypted keys."""
    configure(installation, KEK)
    shell.ok("key", "rotate", "--now")
    shell.ok("group", "add", "meters", "--publish", "m/{device}")
    for number in range(3):
        shell.ok("device", "add", f"dev{number}", "--group", "meters", "--label", "site=a b")
    shell.ok("device", "disable", "dev1")
    shell.ok("operator", "add", "alice", "--openid", "alice@there")
    shell.ok("receiver", "add", "guard", "--url", "https://guard.example/")
    shell.ok("registration-token", "add", "line")
    return shell


LISTS = (
    *(("device", "list"), ("group", "list"), ("service", "list"), ("operator", "list")),
    *(("receiver", "list"), ("registration-token", "list"), ("key", "list"), ("audit",)),
)


def test_what_every_command_shows_is_the_same_afterwards(
    filled: Shell, installation: Installation
) -> None:
    before = [filled.json(*words) for words in LISTS]
    assert all(before)
    copied = filled.json("database", "copy", "--to", "env:KEYFOB_DATABASE")
    rows = {one["name"]: one["rows"] for one in copied["tables"]}
    assert rows["membership"] == rows["label"] == 3
    assert rows["revocation"] == 1
    configure(installation, 'database = "env:KEYFOB_DATABASE"')
    assert [filled.json(*words) for words in LISTS] == before
    # And it goes on: identities, cursors and triggers are those of a register that was always here.
    filled.ok("device", "disable", "dev2")
    assert filled.json("audit")[-1]["action"] == "device.disable"


def test_every_row_of_every_table_arrives_and_numbers_go_on(
    installation: Installation, target: PostgresqlUrl
) -> None:
    path = server_database(installation.settings)
    assert not isinstance(path, PostgresqlUrl)
    counts = every_table(path)
    copied = copy_register(path, target)
    assert {one.name: one.rows for one in copied.tables} == counts
    assert min(counts.values()) > 0, "a table that is always empty would prove nothing"
    here, there = open_store(path), open_store(target)
    with contextlib.closing(here), contextlib.closing(there):
        for table in counts:
            found = [
                sorted(map(repr, map(_plain, one.connection.execute(f'SELECT * FROM "{table}"'))))
                for one in (here, there)
            ]
            assert found[0] == found[1], table
        cursors = here.last_cursor()
        assert cursors > 40
        assert there.last_cursor() == cursors
        for store in (here, there):
            with store.transaction():
                store.revoke("dev", issued_before=1, until=2**40, reason="revoked", now=0)
        assert there.last_cursor() == here.last_cursor() == cursors + 1


def _plain(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(bytes(one) if isinstance(one, memoryview) else one for one in row)


def test_a_database_that_is_not_empty_is_left_as_it_is(
    filled: Shell, cluster: Cluster, target: PostgresqlUrl
) -> None:
    copy = ("database", "copy", "--to", "env:KEYFOB_DATABASE")
    filled.ok(*copy)
    outcome = filled(*copy, "--json")
    assert (outcome.code, outcome.json["error"]) == (2, "conflict")
    assert "is not empty" in outcome.json["message"]


def test_plain_keys_are_not_carried_to_where_others_read(
    shell: Shell, installation: Installation, target: PostgresqlUrl
) -> None:
    shell.ok("key", "rotate", "--now")
    outcome = shell("database", "copy", "--to", "env:KEYFOB_DATABASE")
    assert outcome.code == 2
    assert "key_encryption" in outcome.err


def test_a_change_meanwhile_is_seen_and_nothing_is_copied(
    filled: Shell, installation: Installation, target: PostgresqlUrl
) -> None:
    path = server_database(installation.settings)
    assert not isinstance(path, PostgresqlUrl)

    def disturb(table: str) -> None:
        if table == "signing_key":
            filled.ok("device", "add", "late")

    with pytest.raises(ConflictError, match="changed meanwhile"):
        copy_register(path, target, on_table=disturb)
    assert filled.json("database", "copy", "--to", "env:KEYFOB_DATABASE")["tables"]


@pytest.mark.parametrize(
    "to",
    [
        *("other.db", "", "mysql://x/y", "env:NOT_THERE"),
        *(f"postgresql://u:{PASSWORD}@localhost/x", "postgresql://db.example/x"),
    ],
)
def test_where_it_cannot_go_is_one_line_without_a_password(filled: Shell, to: str) -> None:
    outcome = filled("database", "copy", "--to", to)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert PASSWORD not in outcome.err


def test_a_file_of_an_older_keyfob_is_migrated_first(
    filled: Shell, installation: Installation
) -> None:
    path = server_database(installation.settings)
    with contextlib.closing(sqlite3.connect(str(path))) as connection:
        connection.execute("DELETE FROM schema_version WHERE version > 3")
        connection.commit()
    outcome = filled("database", "copy", "--to", "env:KEYFOB_DATABASE")
    assert outcome.code == 2
    assert "0004_introspection.sql" in outcome.err


def test_a_server_goes_on_where_the_other_one_stopped(
    filled: Shell, installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    keys = filled.json("key", "list")
    filled.ok("database", "copy", "--to", "env:KEYFOB_DATABASE")
    configure(installation, 'database = "env:KEYFOB_DATABASE"')
    log = tmp_path_factory.mktemp("log") / "log"
    with started(log, "server", "--dir", str(installation.directory)) as server:
        server.until("ready at")
    assert filled.json("key", "list") == keys
