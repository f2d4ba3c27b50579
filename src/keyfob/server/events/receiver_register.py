# SPDX-License-Identifier: Apache-2.0
"""The receivers from outside the server: what the command line changes while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from keyfob.errors import ConflictError, NotFoundError
from keyfob.server.events.credentials import written
from keyfob.server.events.receiver import (
    Receiver,
    ReceiverStatus,
    check_ca,
    check_credential,
    check_url,
)
from keyfob.server.names import check_name, shown_name
from keyfob.server.recorded_register import RecordedRegister
from keyfob.server.signing.sealing import KeySealer
from keyfob.server.stores.event_receivers import ReceiverTable
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import Store, open_store

__all__ = ["MAX_RECEIVERS", "ReceiverRegister"]

# Each is told of everything: a handful of guards and a security centre, not a fleet.
MAX_RECEIVERS = 64


class ReceiverRegister(RecordedRegister):
    """The receivers of security events; a context manager that closes its database.

    Args:
        store: An open store, which this register closes.
        sealer: Encrypts the secrets at rest; None: they are stored as they are.
        clock: Unix seconds.
        actor: Who changes them, for the trail; None: the operating system's user.
    """

    def __init__(
        self,
        store: Store,
        sealer: KeySealer | None,
        *,
        clock: Callable[[], float] = time.time,
        actor: str | None = None,
    ) -> None:
        super().__init__(store, clock=clock, actor=actor)
        self._table = ReceiverTable(store)
        self._sealer = sealer

    @classmethod
    def open(
        cls, database: Place, sealer: KeySealer | None, *, migrate: bool = True
    ) -> ReceiverRegister:
        """Open the receivers in a database: a file, made when missing, or one in PostgreSQL.

        Raises:
            ConfigError: It cannot be used; see ``open_store``.
            UpstreamError: The PostgreSQL server does not answer.
        """
        return cls(open_store(database, migrate=migrate), sealer)

    def add(
        self, name: str, *, url: str, audience: str = "", secret: str = "", ca: str | None = None
    ) -> Receiver:
        """Add a receiver, which is told of what is revoked from now on.

        Args:
            name: What to call it; see ``names``.
            url: Where events are pushed to: https, or http on this machine.
            audience: What they carry as ``aud``; empty: the URL.
            secret: What is shown as ``Authorization: Bearer``; empty: nothing.
            ca: CA certificates in PEM that alone are trusted; None: the system's.

        Raises:
            ConfigError: A value is not allowed.
            ConflictError: There is one of this name, or there are too many.
        """
        with self._recorded("receiver.add", name):
            check_name(name)
            check_url(url, audience or url)
            if secret:
                check_credential(secret)
            if ca is not None:
                check_ca(ca)
            receiver = Receiver(
                name=name,
                url=url,
                audience=audience or url,
                credential=written(secret, name, self._sealer) if secret else None,
                ca=ca,
                created_at=self._clock(),
            )
            with self._store.transaction():
                if len(self._table.all()) >= MAX_RECEIVERS:
                    raise ConflictError(f"there are {MAX_RECEIVERS} receivers already")
                self._table.add(receiver)
        return receiver

    def list_receivers(self) -> tuple[Receiver, ...]:
        """Return every receiver, by name."""
        return self._table.all()

    def status(self, name: str) -> tuple[Receiver, ReceiverStatus]:
        """Return a receiver, and how the deliveries to it go.

        Raises:
            NotFoundError: There is none of this name.
        """
        found = [one for one in self._table.all() if one.name == name]
        status = self._table.status(name, now=self._clock())
        if not found or status is None:
            raise NotFoundError(
                f"no receiver {shown_name(name)!r}; `keyfob receiver list` shows them"
            )
        return found[0], status

    def remove(self, name: str) -> None:
        """Forget a receiver, and what it was not told yet.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("receiver.remove", name):
            with self._store.transaction():
                self._table.remove(name)
            self._store.keys.scrub()  # its secret
