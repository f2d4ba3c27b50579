# SPDX-License-Identifier: Apache-2.0
"""The guard's file: written in batches by one thread, at once where an answer depends on it."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest

from keyfob.errors import ConfigError
from keyfob.guard import database as module
from keyfob.guard.database import Database


def remember(name: str, value: bytes, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT OR REPLACE INTO broker VALUES (?, ?)", (name, value))


def instances(path: Path) -> dict[str, bytes]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT * FROM broker").fetchall())


def put(database: Database, name: str, value: bytes) -> None:
    database.put(name, partial(remember, name, value))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "guard.db"


def test_what_was_put_is_there_after_a_flush(path: Path, database: Database) -> None:
    put(database, "a", b"1")
    database.flush()
    assert instances(path) == {"a": b"1"}


def test_what_was_put_is_written_without_anybody_asking(path: Path, database: Database) -> None:
    written = threading.Event()

    def note(connection: sqlite3.Connection) -> None:
        remember("a", b"1", connection)
        written.set()

    database.put("a", note)
    assert written.wait(30)
    database.flush()
    assert instances(path) == {"a": b"1"}


def test_the_last_change_of_a_thing_wins(path: Path, database: Database) -> None:
    for number in range(1000):
        put(database, "a", b"%d" % number)
    database.flush()
    assert instances(path) == {"a": b"999"}


def test_closing_writes_what_waits(path: Path) -> None:
    with Database.open(path) as database:
        put(database, "a", b"1")
    assert instances(path) == {"a": b"1"}


def test_a_commit_is_on_the_disk_when_it_says_so(path: Path, database: Database) -> None:
    database.commit([partial(remember, "a", b"1"), partial(remember, "b", b"2")]).result()
    assert instances(path) == {"a": b"1", "b": b"2"}


def test_a_commit_takes_along_what_was_put_before(path: Path, database: Database) -> None:
    put(database, "a", b"1")
    database.commit([partial(remember, "b", b"2")]).result()
    assert instances(path) == {"a": b"1", "b": b"2"}


def test_commits_are_synchronised_with_the_disk_and_batches_are_not(database: Database) -> None:
    seen: list[int] = []

    written = threading.Event()

    def note(connection: sqlite3.Connection) -> None:
        seen.append(connection.execute("PRAGMA synchronous").fetchone()[0])
        written.set()

    full, normal = 2, 1
    database.commit([note]).result()
    assert seen.pop() == full
    written.clear()
    database.put("x", note)
    assert written.wait(30)
    assert seen.pop() == normal


def test_a_commit_of_two_changes_is_whole_or_nothing(path: Path, database: Database) -> None:
    def wrong(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO broker VALUES (NULL, NULL)")

    future = database.commit([partial(remember, "a", b"1"), wrong])
    with pytest.raises(sqlite3.IntegrityError):
        future.result()
    assert instances(path) == {}


def test_a_hopeless_change_holds_nothing_else_up(path: Path, database: Database) -> None:
    put(database, "a", b"1")
    put(database, "\ud800", b"no UTF-8")
    put(database, "c", b"3")
    database.commit([partial(remember, "d", b"4")]).result()
    assert instances(path) == {"a": b"1", "c": b"3", "d": b"4"}


def test_a_disk_that_refuses_is_tried_again_with_the_latest(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_INTERVAL", 0.001)
    database.commit([lambda connection: connection.execute("PRAGMA busy_timeout=1")]).result()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as somebody_else:
        somebody_else.execute("BEGIN IMMEDIATE")
        put(database, "a", b"1")
        put(database, "b", b"1")
        with pytest.raises(sqlite3.OperationalError):
            database.commit([]).result()
        assert "locked" in database.failure
        put(database, "b", b"2")
        somebody_else.execute("ROLLBACK")
    database.flush()
    assert instances(path) == {"a": b"1", "b": b"2"}
    assert database.failure == ""


def test_a_commit_whose_caller_went_away_is_written_nevertheless(
    path: Path, database: Database
) -> None:
    started, let_go = threading.Event(), threading.Event()

    def block(_: sqlite3.Connection) -> None:
        started.set()
        let_go.wait()

    database.commit([block])
    assert started.wait(30)
    future = database.commit([partial(remember, "a", b"1")])
    assert future.cancel()
    let_go.set()
    database.flush()
    assert instances(path) == {"a": b"1"}


def test_the_file_is_its_owners_alone(path: Path, database: Database) -> None:
    put(database, "a", b"1")
    database.flush()
    for each in path.parent.iterdir():
        assert each.stat().st_mode & 0o077 == 0, each


def test_two_guards_never_share_a_file(path: Path, database: Database) -> None:
    with pytest.raises(ConfigError, match="another guard"):
        Database.open(path)
    database.close()
    Database.open(path).close()


def test_somebody_may_look_while_the_guard_writes(path: Path, database: Database) -> None:
    put(database, "a", b"1")
    database.flush()
    with Database.read(path) as reader:
        assert list(reader.rows("SELECT name FROM broker")) == [("a",)]


def test_looking_at_no_file_makes_none(path: Path) -> None:
    with pytest.raises(ConfigError):
        Database.read(path)
    assert not path.exists()


def test_a_damaged_file_is_named(path: Path) -> None:
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    for opened in (Database.open, Database.read):
        with pytest.raises(ConfigError, match=r"guard\.db"):
            opened(path)


def test_a_file_of_a_later_version_is_left_alone(path: Path) -> None:
    Database.open(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(ConfigError, match="later Keyfob"):
        Database.open(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        Database.open(tmp_path / "nowhere" / "guard.db")


def test_a_batch_that_breaks_in_the_middle_is_undone_and_tried_again_whole(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_INTERVAL", 0.001)
    full = [sqlite3.OperationalError("database or disk is full")]

    def breaks_once(connection: sqlite3.Connection) -> None:
        if full:
            raise full.pop()
        remember("b", b"2", connection)

    put(database, "a", b"1")
    database.put("b", breaks_once)
    with pytest.raises(sqlite3.OperationalError):
        database.commit([]).result()
    assert instances(path) in ({}, {"a": b"1", "b": b"2"})
    database.flush()
    assert instances(path) == {"a": b"1", "b": b"2"}


def test_a_closed_file_refuses_at_once_rather_than_never(database: Database) -> None:
    database.close()
    with pytest.raises(sqlite3.ProgrammingError):
        database.flush()


def test_a_mistake_in_one_change_does_not_end_the_writing(path: Path, database: Database) -> None:
    def mistaken(_: sqlite3.Connection) -> None:
        raise TypeError("a mistake")

    database.put("x", mistaken)
    with pytest.raises(TypeError):
        database.commit([mistaken]).result()
    put(database, "a", b"1")
    database.flush()
    assert instances(path) == {"a": b"1"}


def tables(path: Path) -> tuple[int, set[str]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    return version, {name for (name,) in names}


def first_version(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{module._MIGRATIONS[0]}PRAGMA user_version=1;")
        connection.execute("INSERT INTO broker VALUES ('a', x'31')")
        connection.execute("INSERT INTO revocation VALUES ('i', 's', '', '', 1.0, 2.0)")
        connection.commit()


def test_an_earlier_version_is_brought_up_and_keeps_what_it_holds(path: Path) -> None:
    first_version(path)
    assert tables(path) == (1, {"broker", "session", "revocation", "feed"})
    for _ in range(2):
        with Database.open(path) as opened:
            assert list(opened.rows("SELECT subject FROM revocation")) == [("s",)]
    version, names = tables(path)
    assert version == module.VERSION
    assert "event" in names
    assert instances(path) == {"a": b"1"}


def test_a_step_that_breaks_leaves_the_version_before_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_version(path)
    broken = "CREATE TABLE half (x INTEGER) STRICT; CREATE TABLE broker (x INTEGER) STRICT;"
    with monkeypatch.context() as patched:
        patched.setattr(module, "_MIGRATIONS", (*module._MIGRATIONS[:1], broken))
        with pytest.raises(ConfigError, match=r"guard\.db"):
            Database.open(path)
    assert tables(path) == (1, {"broker", "session", "revocation", "feed"})
    Database.open(path).close()
    assert tables(path)[0] == module.VERSION


def test_a_file_of_an_earlier_version_is_not_looked_at(tmp_path: Path) -> None:
    """``keyfob explain`` after an update, before the guard was started again."""
    path = tmp_path / "guard.db"
    connection = sqlite3.connect(path)
    connection.executescript(f"{module._MIGRATIONS[0]}PRAGMA user_version=1;")
    connection.close()
    with pytest.raises(ConfigError, match="start its guard once"):
        Database.read(path)


def test_what_was_deleted_is_not_in_the_file_any_more(path: Path) -> None:
    """Claims of tokens are, and may be somebody's."""
    secret = "somebody's name"
    with Database.open(path) as database:
        database.put("a", lambda c: c.execute("INSERT INTO broker VALUES (?, x'00')", (secret,)))
        database.flush()
        database.put("a", lambda c: c.execute("DELETE FROM broker"))
        database.flush()
    # The last connection brings the log into the file and removes it.
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]
    assert secret.encode() not in path.read_bytes()
