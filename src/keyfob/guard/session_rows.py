# SPDX-License-Identifier: Apache-2.0
"""Sessions as rows of the guard's file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import msgspec

from keyfob.authorization.permissions import Effect, Form, Operation, Permissions, Rule
from keyfob.errors import ConfigError, KeyfobError
from keyfob.guard.database import Change, Database
from keyfob.guard.session import Session, SessionState
from keyfob.mqtt.topics import TopicFilter

__all__ = ["delete", "load_instances", "load_sessions", "store", "store_instance"]

_COLUMNS: Final = (
    "broker, client_id, epoch, state, clean, principal, issuer, subject, client, token_id,"
    " issued_at, expires_at, permissions, offline_since, payload, key_id, assigned, ask_by,"
    " proven"
)
_VALUES: Final = ", ".join("?" * 19)
_STORE: Final = f"INSERT OR REPLACE INTO session ({_COLUMNS}) VALUES ({_VALUES})"  # noqa: S608
_DELETE: Final = "DELETE FROM session WHERE broker = ? AND client_id = ?"
_STORE_INSTANCE: Final = "INSERT OR REPLACE INTO broker (name, instance) VALUES (?, ?)"
# Who went first is evicted first.
_LOAD: Final = f"SELECT {_COLUMNS} FROM session ORDER BY offline_since"  # noqa: S608 - constants

_RuleRow = tuple[int, int, str, bool, int, int]
_PermissionsRow = tuple[int, tuple[_RuleRow, ...]]
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_PermissionsRow)


def store(session: Session) -> Change:
    """Write a session."""
    return partial(_store, session)


def delete(broker: str, client_id: str) -> Change:
    """Forget a session."""
    return partial(_execute, _DELETE, (broker, client_id))


def store_instance(broker: str, instance: bytes) -> Change:
    """Write which run of a broker the sessions are of."""
    return partial(_execute, _STORE_INSTANCE, (broker, instance))


def load_sessions(database: Database, holds: Callable[[str], bool]) -> Iterator[Session]:
    """Read sessions, those that went offline first before the others.

    Args:
        database: The file.
        holds: Tells by its client identifier whether a session is wanted.

    Raises:
        ConfigError: A row is damaged.
    """
    for row in database.rows(_LOAD):
        try:
            if holds(row[1]):
                yield _session(row)
        except (KeyfobError, msgspec.MsgspecError, TypeError, ValueError) as error:
            raise ConfigError(f"the guard's file holds a damaged session: {error}") from error


def load_instances(database: Database) -> dict[str, bytes]:
    """Read which run of each broker the sessions are of."""
    return {str(name): bytes(run) for name, run in database.rows("SELECT * FROM broker")}


def _store(session: Session, connection: sqlite3.Connection) -> None:
    row = (
        session.broker,
        session.client_id,
        _signed(session.epoch),
        session.state.value,
        session.clean,
        session.principal,
        session.issuer,
        session.subject,
        session.client,
        session.token_id,
        session.issued_at,
        session.expires_at,
        _encoder.encode(_permissions_row(session.permissions)),
        session.offline_since,
        session.payload,
        session.key_id,
        session.assigned,
        session.ask_by,
        session.proven,
    )
    connection.execute(_STORE, row)


def _execute(statement: str, row: tuple[object, ...], connection: sqlite3.Connection) -> None:
    connection.execute(statement, row)


def _session(row: tuple[Any, ...]) -> Session:
    return Session(
        broker=row[0],
        client_id=row[1],
        epoch=row[2] & 0xFFFF_FFFF_FFFF_FFFF,
        state=SessionState(row[3]),
        clean=bool(row[4]),
        principal=row[5],
        issuer=row[6],
        subject=row[7],
        client=row[8],
        token_id=row[9],
        issued_at=row[10],
        expires_at=row[11],
        permissions=_permissions(_decoder.decode(row[12])),
        offline_since=row[13],
        payload=row[14],
        key_id=row[15],
        assigned=bool(row[16]),
        ask_by=row[17],
        proven=row[18],
    )


def _signed(epoch: int) -> int:
    """Fit 64 unsigned bits into SQLite's 64 signed ones."""
    return epoch - (1 << 64) if epoch >> 63 else epoch


def _permissions_row(permissions: Permissions) -> _PermissionsRow:
    return permissions.form.value, tuple(
        (
            rule.effect.value,
            rule.operations.value,
            str(rule.filter),
            rule.literal,
            rule.qos,
            rule.retain,
        )
        for rule in permissions.rules
    )


def _permissions(row: _PermissionsRow) -> Permissions:
    form, rules = row
    return Permissions(
        Form(form),
        tuple(
            Rule(
                effect=Effect(effect),
                operations=Operation(operations),
                filter=TopicFilter.parse(text),
                literal=literal,
                qos=qos,
                retain=retain,
            )
            for effect, operations, text, literal, qos, retain in rules
        ),
    )
