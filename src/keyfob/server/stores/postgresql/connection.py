# SPDX-License-Identifier: Apache-2.0
"""One connection to PostgreSQL that behaves as sqlite3's does, and comes back after a restart.

Outside a transaction a statement whose connection was lost is sent again, once: it is a read, or
one that may happen twice. Inside one nothing is sent again here. Whoever began it is told by
``TryAgainError`` that nothing was done, unless COMMIT was under way: then nobody knows.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import psycopg
from psycopg import adapt, errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from keyfob.errors import ConfigError, UpstreamError
from keyfob.server.stores.connection import Cursor, Parameters, TryAgainError
from keyfob.server.stores.postgresql.statements import translated
from keyfob.server.stores.postgresql.url import PostgresqlUrl

__all__ = ["PostgresqlConnection"]

_T = TypeVar("_T")
_CONNECT_SECONDS: Final = 5
# Waiting for a lock is as long as for a locked SQLite file. A transaction whose process was
# stopped, or whose machine is gone, does not keep its locks for longer than that either.
_SESSION: Final = b"""
SELECT set_config('lock_timeout', '5s', false),
       set_config('statement_timeout', '15s', false),
       set_config('idle_in_transaction_session_timeout', '5s', false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('synchronous_commit',
                  CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                       ELSE current_setting('synchronous_commit') END, false)
"""
# Somebody else's transaction is why, and he has gone on meanwhile.
_CROSSED: Final = (errors.DeadlockDetected, errors.SerializationFailure)
# The server is well, and does not do it: the operator's matter, and not the statement's.
_REFUSED: Final = (
    psycopg.OperationalError,
    psycopg.InternalError,
    errors.InsufficientPrivilege,
    errors.FeatureNotSupported,
)


class _BoolAsNumber(adapt.Dumper):
    """Truth values are numbers in the schema, as SQLite has them."""

    oid = psycopg.adapters.types["int8"].oid

    def dump(self, obj: bool) -> bytes:
        return b"1" if obj else b"0"


class _Text(StrDumper):
    """Text, in which PostgreSQL has no NUL.

    Nothing that is kept holds one. Strangers may ask for it: they ask for what there is not, by a
    character that stands in no name either.
    """

    def dump(self, obj: str) -> Any:  # noqa: ANN401 - as the base class has it
        return super().dump(obj.replace("\0", "\ufffe"))


class PostgresqlConnection:
    """A ``Connection``.

    Args:
        url: Where the database is.

    Raises:
        ConfigError: The URL is malformed, or does not say how the way there is protected.
    """

    def __init__(self, url: PostgresqlUrl) -> None:
        self._url = url
        self._parameters = _connect_parameters(url)
        self._raw: psycopg.Connection[Any] | None = None
        self._begun = False
        self._closed = False

    def execute(self, sql: str, parameters: Parameters = (), /) -> Cursor:
        """Run a statement."""
        statement = translated(sql)
        return self._do(lambda raw: raw.execute(statement, parameters))

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> Cursor:
        """Run a statement once for each of the parameters."""
        statement, rows = translated(sql), list(parameters)

        def run(raw: psycopg.Connection[Any]) -> psycopg.Cursor[Any]:
            cursor = raw.cursor()
            cursor.executemany(statement, rows)
            return cursor

        return self._do(run)

    def copy_in(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Send rows by ``COPY … FROM STDIN``, one after the other; in a transaction."""
        text = statement.encode()

        def run(raw: psycopg.Connection[Any]) -> None:
            with raw.cursor() as cursor, cursor.copy(text) as copy:
                for row in rows:
                    copy.write_row(row)

        self._do(run)

    def script(self, sql: str) -> None:
        """Run statements without parameters, one after the other, in one round trip."""
        text = sql.encode()
        self._do(lambda raw: raw.execute(text))

    @property
    def in_transaction(self) -> bool:
        """Whether one is going on."""
        return self._begun

    def begin(self, sql: str) -> None:
        """Begin a transaction by a script whose first statement is BEGIN."""
        self.script(sql)
        self._begun = True

    def commit(self) -> None:
        """End a transaction; what it did is on the disk when this returns.

        Raises:
            UpstreamError: It is not, or nobody knows.
        """
        raw = self._connected()
        try:
            done = raw.execute(b"COMMIT").statusmessage
        except psycopg.Error as error:
            self._drop_if_lost(error)
            raise UpstreamError(self._told(error)) from error
        if done != "COMMIT":  # PostgreSQL says ROLLBACK, and no error, where a statement failed
            raise UpstreamError(f"{self._url.name}: a statement of the transaction failed")

    def rollback(self) -> None:
        """End a transaction; nothing of it happened. Without one this does nothing."""
        raw, self._begun = self._raw, False
        if raw is None or raw.info.transaction_status is TransactionStatus.IDLE:
            return
        try:
            raw.execute(b"ROLLBACK")
        except psycopg.Error:
            self._drop()

    def close(self) -> None:
        """Close it; closing it twice is allowed."""
        self._closed = True
        self._drop()

    def _do(self, work: Callable[[psycopg.Connection[Any]], _T]) -> _T:
        for again in (True, False):
            raw = self._connected()
            try:
                return work(raw)
            except _CROSSED as error:
                raise TryAgainError(self._told(error)) from error
            except _REFUSED as error:
                lost = self._drop_if_lost(error)
                if lost and self._begun:
                    raise TryAgainError(self._told(error)) from error
                if not (lost and again):
                    raise UpstreamError(self._told(error)) from error
        raise AssertionError("the second try returns or raises")

    def _connected(self) -> psycopg.Connection[Any]:
        if self._closed:
            raise UpstreamError(f"{self._url.name}: the connection is closed")
        if self._raw is None and self._begun:
            raise TryAgainError(f"{self._url.name}: the connection was lost")
        if self._raw is None:
            self._raw = self._connect()
        return self._raw

    def _connect(self) -> psycopg.Connection[Any]:
        outage = self._url.outage
        while True:
            if not outage.may_try():
                raise UpstreamError(outage.why)
            try:
                raw = psycopg.connect(**self._parameters, autocommit=True)
            except psycopg.Error as error:
                if not outage.failed(self._told(error)):
                    raise UpstreamError(outage.why) from error
            else:
                outage.over()
                return self._prepared(raw)
            time.sleep(random.uniform(0.01, 0.2))  # noqa: S311 - so that not all come at once

    def _prepared(self, raw: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
        raw.adapters.register_dumper(str, _Text)
        raw.adapters.register_dumper(int, Int8Dumper)
        raw.adapters.register_dumper(bool, _BoolAsNumber)
        try:
            raw.execute(_SESSION)
        except psycopg.Error as error:
            raw.close()
            raise UpstreamError(self._told(error)) from error
        return raw

    def _drop_if_lost(self, error: psycopg.Error) -> bool:
        raw = self._raw
        # A primary that became a standby answers, and never again what we need.
        if raw is None or raw.closed or isinstance(error, errors.ReadOnlySqlTransaction):
            self._drop()
            return True
        return False

    def _drop(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()

    def _told(self, error: psycopg.Error) -> str:
        return f"{self._url.name}: {self._url.masked(str(error))}"


def _connect_parameters(url: PostgresqlUrl) -> dict[str, Any]:
    try:
        given = conninfo_to_dict(url.text)
    except psycopg.Error:  # whose message repeats parts of it
        raise ConfigError(f"{url.name}: the URL of the database is malformed") from None
    if not _is_protected(given):
        raise ConfigError(
            f"{url.name}: the URL has to say how the way to another machine is protected: append"
            " ?sslmode=verify-full&sslrootcert=FILE, or ?sslmode=disable where nobody listens"
        )
    return {
        "connect_timeout": _CONNECT_SECONDS,
        "application_name": "keyfob",
        "client_encoding": "UTF8",
        **given,
    }


def _is_protected(given: dict[str, Any]) -> bool:
    """Say whether somebody chose how it is, or nobody is between here and there."""
    if "sslmode" in given or "service" in given or "PGSSLMODE" in os.environ:
        return True
    default = os.environ.get("PGHOSTADDR") or os.environ.get("PGHOST", "")
    hosts = str(given.get("hostaddr") or given.get("host") or default).split(",")
    return all(host.startswith(("/", "@", "127.")) or host in _HERE for host in hosts)


_HERE: Final = frozenset({"", "localhost", "::1"})
