# SPDX-License-Identifier: Apache-2.0
"""Operators from outside the server: what ``keyfob operator`` changes while the server runs."""

from __future__ import annotations

from typing import Final

from keyfob.errors import ConfigError, ConflictError, NotFoundError
from keyfob.server.names import check_name, shown_name
from keyfob.server.operators import Operator
from keyfob.server.passwords import check_password, hash_password
from keyfob.server.recorded_register import RecordedRegister
from keyfob.server.stores.device_codes import withdraw_approvals
from keyfob.server.stores.operators import (
    delete_operator,
    end_sessions_of,
    insert_operator,
    list_operators,
    set_password_hash,
)
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import open_store

__all__ = ["MAX_SUBJECT_LENGTH", "OperatorRegister"]

MAX_SUBJECT_LENGTH: Final = 255  # OpenID Connect Core 1.0 section 2


class OperatorRegister(RecordedRegister):
    """The operators; a context manager that closes its database."""

    @classmethod
    def open(cls, database: Place, *, migrate: bool = True) -> OperatorRegister:
        """Open the register in a database: a file, made when missing, or one in PostgreSQL.

        Args:
            database: Where it is.
            migrate: Whether the database is brought to this code's schema.

        Raises:
            ConfigError: It cannot be used; see ``open_store``.
            UpstreamError: The PostgreSQL server does not answer.
        """
        return cls(open_store(database, migrate=migrate))

    def add(
        self, name: str, password: str | None, *, openid_subject: str | None = None
    ) -> Operator:
        """Make an account that signs in by a password, by the other OpenID issuer, or by both.

        Args:
            name: What its owner types to sign in; see ``names``.
            password: The same; see ``passwords.check_password``; None: without.
            openid_subject: What the issuer's ID tokens call him; None: he is not known there.

        Raises:
            ConfigError: Name, password or subject is not allowed, or there is no way to sign in.
            ConflictError: There is an operator of this name or subject.
        """
        with self._recorded("operator.add", name):
            check_name(name)
            if password is not None:
                check_password(password)
            _check_subject(openid_subject, needed=password is None)
            now = self._clock()
            operator = Operator(
                name=name, created_at=now, changed_at=now, openid_subject=openid_subject
            )
            hashed = None if password is None else hash_password(password)
            with self._store.transaction():
                if not insert_operator(self._store.connection, operator, hashed):
                    raise ConflictError(
                        f"there is an operator {name!r} already, or of this subject"
                    )
        return operator

    def list(self) -> tuple[Operator, ...]:
        """Return every operator, by name."""
        return list_operators(self._store.connection)

    def set_password(self, name: str, password: str) -> None:
        """Give an operator another password; who is signed in by the old one is not any more.

        What was approved with the old one, and not collected yet, is taken back.

        Raises:
            ConfigError: The password is not allowed.
            NotFoundError: There is no operator of this name.
        """
        with self._recorded("operator.set-password", name):
            check_password(password)
            hashed = hash_password(password)
            with self._store.transaction():
                connection = self._store.connection
                if not set_password_hash(connection, name, hashed, self._clock()):
                    raise NotFoundError(f"no operator {shown_name(name)!r}")
                end_sessions_of(connection, name)
                withdraw_approvals(connection, name)

    def remove(self, name: str) -> None:
        """Remove an account, its sessions, and what it approved and nobody has collected yet.

        Raises:
            NotFoundError: There is no operator of this name.
        """
        with self._recorded("operator.remove", name), self._store.transaction():
            connection = self._store.connection
            if not delete_operator(connection, name):
                raise NotFoundError(f"no operator {shown_name(name)!r}")
            end_sessions_of(connection, name)
            withdraw_approvals(connection, name)


def _check_subject(subject: str | None, *, needed: bool) -> None:
    if subject is None:
        if needed:
            raise ConfigError("an operator signs in by a password or by an OpenID subject")
        return
    if not 0 < len(subject) <= MAX_SUBJECT_LENGTH or not subject.isprintable():
        raise ConfigError(f"an OpenID subject has 1 to {MAX_SUBJECT_LENGTH} printable characters")
