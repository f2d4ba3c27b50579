# SPDX-License-Identifier: Apache-2.0
"""The database file: who may read it, how it grows, who may share it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from keyfob.errors import ConfigError, UpstreamError
from keyfob.server.signing.keys import prepare
from keyfob.server.signing.settings import SigningSettings
from keyfob.server.stores.schema import Migration, bring, migrations
from keyfob.server.stores.sqlite import SqliteSchema
from keyfob.server.stores.store import open_store

pytestmark = pytest.mark.sqlite


def schema(path: Path) -> list[tuple[str, ...]]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
    rows += connection.execute("SELECT * FROM schema_version").fetchall()
    connection.close()
    return rows


def test_nobody_else_may_read_the_file_or_what_sqlite_puts_beside_it(database: Path) -> None:
    store = open_store(database)
    with store.transaction():
        store.set_disabled("nobody", 1.0)
    modes = {file.name: file.stat().st_mode & 0o777 for file in database.parent.iterdir()}
    assert modes == {"server.db": 0o600, "server.db-shm": 0o600, "server.db-wal": 0o600}
    store.close()


def test_a_file_that_others_may_read_is_refused(database: Path) -> None:
    open_store(database).close()
    database.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_store(database)


def test_what_was_committed_is_on_the_disk_and_readers_never_wait(database: Path) -> None:
    store = open_store(database)
    pragma = store._connection.execute
    assert pragma("PRAGMA journal_mode").fetchone() == ("wal",)
    assert pragma("PRAGMA synchronous").fetchone() == (2,)  # FULL
    store.close()


def test_migrating_twice_changes_nothing(database: Path) -> None:
    open_store(database).close()
    once = schema(database)
    open_store(database).close()
    assert schema(database) == once


def test_migrations_are_applied_in_order_and_recorded(tmp_path: Path) -> None:
    one = Migration(1, "0001_a.sql", "CREATE TABLE a (x);\n-- a comment; with a semicolon\n")
    two = Migration(2, "0002_b.sql", "ALTER TABLE a ADD y;\nINSERT INTO a VALUES (1, ';');\n")
    connection = sqlite3.connect(tmp_path / "db", isolation_level=None)
    bring(SqliteSchema(connection), known=(one,))
    bring(SqliteSchema(connection), known=(one, two))
    bring(SqliteSchema(connection), known=(one, two))
    assert connection.execute("SELECT * FROM a").fetchall() == [(1, ";")]
    assert connection.execute("SELECT version, name FROM schema_version").fetchall() == [
        (1, "0001_a.sql"),
        (2, "0002_b.sql"),
    ]
    connection.close()


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    good = Migration(1, "0001_a.sql", "CREATE TABLE a (x);")
    bad = Migration(2, "0002_b.sql", "CREATE TABLE b (x);\nCREATE TABLE b (x);")
    connection = sqlite3.connect(tmp_path / "db", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        bring(SqliteSchema(connection), known=(good, bad))
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


def test_a_schema_that_is_newer_than_the_code_is_an_error(database: Path) -> None:
    open_store(database).close()
    connection = sqlite3.connect(database)
    connection.execute(
        "INSERT INTO schema_version (version, name) VALUES (?, 'later')", (len(migrations()) + 1,)
    )
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError, match="newer"):
        open_store(database)


def test_a_file_that_is_no_database_is_an_error_and_stays_as_it_is(database: Path) -> None:
    database.touch(mode=0o600)
    database.write_bytes(b"something else entirely, and long enough to be read" * 20)
    before = database.read_bytes()
    with pytest.raises(ConfigError, match="not a database"):
        open_store(database)
    assert database.read_bytes() == before


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        open_store(tmp_path / "none" / "server.db")


def test_two_processes_may_make_the_database_at_once(database: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from keyfob.server.stores.store import open_store;"
        "sys.stdin.readline(); open_store(Path(sys.argv[1])).close()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, str(database)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")


def test_a_writer_that_never_gets_its_turn_is_told_so(database: Path) -> None:
    one, two = open_store(database), open_store(database)
    two._connection.execute("PRAGMA busy_timeout = 10")
    with one.transaction(), pytest.raises(UpstreamError, match="locked"), two.transaction():
        pass
    with two.transaction():
        pass
    one.close()
    two.close()


def test_the_signing_key_is_made_once_and_kept(database: Path) -> None:
    one, two = open_store(database), open_store(database)
    first = prepare(one, SigningSettings(), clock=lambda: 1.0)
    second = prepare(two, SigningSettings(), clock=lambda: 2.0)
    assert list(first) == list(second)
    assert len(first) == 1
    assert "PRIVATE KEY" not in repr(one.keys.all())
    one.close()
    two.close()


def test_the_migrations_are_numbered_without_a_gap() -> None:
    assert [each.version for each in migrations()] == list(range(1, len(migrations()) + 1))
    assert all(each.name.startswith(f"{each.version:04}_") for each in migrations())


def test_revocations_from_before_single_tokens_could_be_revoked_stay_what_they_were(
    database: Path,
) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    bring(SqliteSchema(connection), known=migrations()[:1])
    connection.execute(
        "INSERT INTO revocation (cursor, subject, issued_before, until, reason)"
        " VALUES (7, 'dev1', 5, 100, 'disabled')"
    )
    connection.close()
    database.chmod(0o600)
    store = open_store(database)
    (known,) = store.revocations_after(0, now=1, limit=10)
    assert (known.cursor, known.subject, known.issued_before) == (7, "dev1", 5)
    assert known.token_id is None
    assert store.is_token_revoked(subject="dev1", token_id="t", issued_at=5)
    assert not store.is_token_revoked(subject="dev1", token_id="t", issued_at=6)
    assert store.last_cursor() == 7
    store.close()
