# SPDX-License-Identifier: Apache-2.0
"""The guard's file: one SQLite connection, written by one thread.

Theory of operation: while the guard runs its memory is the truth and the file follows. The event
loop hands over immutable changes and never touches the connection; one thread writes them.

- A change that may be lost with the machine's power (a session) is *put*: it waits up to
  ``BATCH_INTERVAL``, coalesced with later changes of the same thing, and is committed with
  ``synchronous=NORMAL``. After a killed process nothing of a committed batch is missing (WAL).
- A change that an answer depends on (a revocation) is *committed*: with ``synchronous=FULL``, at
  once, together with everything put before it; its future ends when it is on the disk.

A batch that the disk refuses is kept and tried again; futures end with the error.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from keyfob.errors import ConfigError

__all__ = ["Change", "Database"]

Change = Callable[[sqlite3.Connection], object]
"""Writes one immutable thing with one statement; called in the writer thread, maybe repeatedly."""

BATCH_INTERVAL: Final = 0.02
"""Seconds that changes gather: 50 commits a second at most, however many CONNECTs come."""

RETRY_INTERVAL: Final = 1.0
"""Seconds before a batch that the disk refused is tried again."""

_VERSION_1: Final = """
CREATE TABLE broker (
  name TEXT PRIMARY KEY,
  instance BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
  broker TEXT NOT NULL,
  client_id TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  state INTEGER NOT NULL,
  clean INTEGER NOT NULL,
  principal TEXT NOT NULL,
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  client TEXT,
  token_id TEXT NOT NULL,
  issued_at REAL,
  expires_at REAL NOT NULL,
  permissions BLOB NOT NULL,
  offline_since REAL,
  PRIMARY KEY (broker, client_id)
) STRICT, WITHOUT ROWID;

-- '' stands for "any" in subject, client and token_id.
CREATE TABLE revocation (
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  client TEXT NOT NULL,
  token_id TEXT NOT NULL,
  issued_before REAL,
  until REAL NOT NULL,
  PRIMARY KEY (issuer, subject, client, token_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE feed (
  issuer TEXT PRIMARY KEY,
  cursor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

_VERSION_2: Final = """
ALTER TABLE session ADD COLUMN payload BLOB NOT NULL DEFAULT x'';
ALTER TABLE session ADD COLUMN key_id TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN assigned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN ask_by REAL;

-- Security event tokens that were taken in, so that one that comes again is known.
CREATE TABLE event (
  issuer TEXT NOT NULL,
  jti TEXT NOT NULL,
  until REAL NOT NULL,
  PRIMARY KEY (issuer, jti)
) STRICT, WITHOUT ROWID;
"""

_VERSION_3: Final = """
ALTER TABLE session ADD COLUMN proven TEXT;
"""

_MIGRATIONS: Final = (_VERSION_1, _VERSION_2, _VERSION_3)
"""What makes each version of the file from the one before; each runs once, in a transaction."""

VERSION: Final = len(_MIGRATIONS)

# SQLite's errors over the change itself: trying again cannot help, as with any mistake in it.
_HOPELESS: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)

_Commit = tuple[tuple[Change, ...], "Future[None]"]
_log = logging.getLogger("keyfob.guard.database")


class Database:
    """The guard's file. Use ``open`` or ``read``."""

    def __init__(self, connection: sqlite3.Connection, lock_file: int | None) -> None:
        self._connection = connection
        self._lock_file = lock_file
        self._lock = threading.Lock()
        self._put: dict[Hashable, Change] = {}
        self._commits: list[_Commit] = []
        self._something = threading.Event()
        self._hurry = threading.Event()
        self._closing = False
        self._synchronous = ""
        self._failure = ""
        self._thread: threading.Thread | None = None

    @classmethod
    def open(cls, path: Path, *, role: str = "") -> Self:
        """Open the file for the one guard that owns it; made, for its owner only, when missing.

        Args:
            path: The file.
            role: Which of the guard's processes this is, where several share it.

        Raises:
            ConfigError: Another guard (in that role) has it, it is damaged, or of a later version.
        """
        try:
            lock_file = _lock_out_others(path, role)
            # Only a file that is new: closing a descriptor drops every POSIX lock that this process
            # has on the file (fcntl(2)), SQLite's among them.
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be opened: {error.strerror}") from error
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path)
        except (sqlite3.Error, ConfigError) as error:
            connection.close()
            os.close(lock_file)
            raise error if isinstance(error, ConfigError) else _damaged(path, error) from error
        return cls(connection, lock_file)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open the file of a guard that may be running, to look and not to write.

        Raises:
            ConfigError: There is none, it is damaged, or of another version.
        """
        try:
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None
            )
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            raise _damaged(path, error) from error
        if version != VERSION:
            connection.close()
            raise ConfigError(f"{path}: of another version of Keyfob; start its guard once")
        return cls(connection, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failure(self) -> str:
        """Why the last batch could not be written; empty: it was."""
        return self._failure

    def rows(self, query: str) -> Iterable[tuple[Any, ...]]:
        """Read, at start and before anything is written."""
        return self._connection.execute(query)

    def put(self, key: Hashable, change: Change) -> None:
        """Write soon; a change that is put under the same key before that replaces this one."""
        with self._lock:
            idle = not self._put
            self._put[key] = change
        if idle:
            self._wake()

    def commit(self, changes: Iterable[Change]) -> Future[None]:
        """Write now, in one transaction with all that was put before.

        Returns:
            What ends when the changes are on the disk, or with the error, mostly a
            ``sqlite3.Error``, that kept them from it.
        """
        future: Future[None] = Future()
        with self._lock:
            if self._closing:
                future.set_exception(sqlite3.ProgrammingError("the guard's file is closed"))
                return future
            self._commits.append((tuple(changes), future))
        self._hurry.set()
        self._wake()
        return future

    def flush(self) -> None:
        """Wait until all that was put is on the disk.

        Raises:
            sqlite3.Error: The disk refuses it.
        """
        self.commit(()).result()

    def close(self) -> None:
        """Write what waits, end the thread and close the file."""
        with self._lock:
            self._closing = True
        self._hurry.set()
        self._something.set()
        if self._thread is not None:
            self._thread.join()
        self._connection.close()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="keyfob-database", daemon=True)
            self._thread.start()
        self._something.set()

    def _run(self) -> None:
        while not self._closing:
            self._something.wait()
            self._hurry.wait(RETRY_INTERVAL if self._failure else BATCH_INTERVAL)
            self._something.clear()
            self._hurry.clear()
            self._write()
        self._write()

    def _write(self) -> None:
        with self._lock:
            put, self._put = self._put, {}
            commits, self._commits = self._commits, []
        if not put and not commits:
            return
        live = [commit for commit in commits if commit[1].set_running_or_notify_cancel()]
        try:
            refused = self._transaction(put, commits)
        except sqlite3.Error as error:
            self._keep_for_later(put, error)
            for _, future in live:
                future.set_exception(error)
            return
        self._failure = ""
        for _, future in live:
            if future in refused:
                future.set_exception(refused[future])
            else:
                future.set_result(None)

    def _transaction(
        self, put: dict[Hashable, Change], commits: list[_Commit]
    ) -> dict[Future[None], Exception]:
        self._set_synchronous("FULL" if commits else "NORMAL")
        refused: dict[Future[None], Exception] = {}
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for change in put.values():
                # One statement each: a hopeless one undoes itself.
                _hopeless(connection, (change,))
            for changes, future in commits:
                connection.execute("SAVEPOINT changes")
                error = _hopeless(connection, changes)
                if error is not None:
                    connection.execute("ROLLBACK TO changes")
                    refused[future] = error
                connection.execute("RELEASE changes")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return refused

    def _set_synchronous(self, level: str) -> None:
        if level != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous={level}")
            self._synchronous = level

    def _keep_for_later(self, put: dict[Hashable, Change], error: sqlite3.Error) -> None:
        if not self._failure:
            _log.error("the guard's file cannot be written: %s", error)
        self._failure = str(error)
        with self._lock:
            self._put = {**put, **self._put}
        self._something.set()


def _hopeless(connection: sqlite3.Connection, changes: Iterable[Change]) -> Exception | None:
    """Apply changes up to the first that can never be applied, and return why it cannot."""
    try:
        for change in changes:
            change(connection)
    except Exception as error:
        if isinstance(error, sqlite3.Error) and not isinstance(error, _HOPELESS):
            raise  # the disk's, not the change's
        _log.error("a change cannot be stored: %s", type(error).__name__)
        return error
    return None


def _lock_out_others(path: Path, role: str) -> int:
    # A file of its own: SQLite's locks on the database would be lost with any descriptor closed.
    descriptor = os.open(f"{path}{role}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigError(f"{path}: another guard is using it") from None
    return descriptor


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA busy_timeout=5000")
    connection.execute("PRAGMA journal_mode=WAL")
    # Claims may be personal data: what is deleted does not stay in free pages.
    connection.execute("PRAGMA secure_delete=ON")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise ConfigError(f"{path}: written by a later Keyfob (version {version})")
    for number, script in enumerate(_MIGRATIONS[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE;{script}PRAGMA user_version={number};COMMIT;")


def _damaged(path: Path, error: sqlite3.Error) -> ConfigError:
    return ConfigError(
        f"{path}: {error}. If it is damaged, move it away: revocations are read from the issuers "
        "again and live sessions from the brokers"
    )
