# SPDX-License-Identifier: Apache-2.0
"""The register from outside the server: what the command line changes while the server runs.

Everything is committed to disk when a method returns, and the running server goes by it from then
on: it reads the same file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.errors import NotFoundError
from keyfob.server import devices
from keyfob.server.clients import (
    GUARD_SCOPES,
    KIND_GRANTS,
    Application,
    Client,
    ClientKind,
    GuardClient,
    IssuedApplication,
)
from keyfob.server.credentials import generate_secret, hash_secret
from keyfob.server.devices import Device, IssuedSecret
from keyfob.server.fleet import EVERY_DEVICE, Fleet
from keyfob.server.names import check_name, shown_name
from keyfob.server.stores.fleet import Selection
from keyfob.server.stores.sqlite import SqliteStore, open_store

__all__ = ["Register"]


class Register:
    """Devices, applications and guards; a context manager that closes its database.

    Args:
        store: An open store, which this register closes.
        client_id_template: What MQTT client identifiers are made of; no new device may hold the
            separator, such as ``-`` in ``{device}-*``.
        clock: Unix seconds; tests give their own.
    """

    def __init__(
        self,
        store: SqliteStore,
        *,
        client_id_template: str = "{device}",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._template = ClientIdTemplate.parse(client_id_template)
        self._clock = clock

    @classmethod
    def open(cls, database: Path, *, client_id_template: str = "{device}") -> Register:
        """Open the register in a database file, which is made when missing.

        Raises:
            ConfigError: The file cannot be used; see ``open_store``.
        """
        return cls(open_store(database), client_id_template=client_id_template)

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Devices

    def add_device(
        self,
        device_id: str,
        *,
        publish: Iterable[str] = (),
        subscribe: Iterable[str] = (),
        scopes: Iterable[str] = (),
        lifetime: int | None = None,
        groups: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        pending: bool = False,
    ) -> IssuedSecret:
        """Register a device and return it with its secret, which is not kept.

        Args:
            device_id: Its name; see ``names``.
            publish: Topic filters it may publish to; ``{device}`` stands for its name.
            subscribe: Topic filters it may subscribe to; the same.
            scopes: Further scopes, each one or several separated by spaces.
            lifetime: Seconds its tokens live; None follows its groups or the server's default.
            groups: Groups that it is in; each gives its rights.
            labels: What is noted about it.
            pending: Whether it gets no token before it is enabled.

        Raises:
            ConfigError: Name, scope, label or lifetime is not allowed.
            TopicError: A filter is not one.
            NotFoundError: There is no such group.
            ConflictError: There is a client of this name.
        """
        return devices.add_device(
            self._store,
            device_id,
            publish=publish,
            subscribe=subscribe,
            scopes=scopes,
            lifetime=lifetime,
            groups=groups,
            labels=labels,
            pending=pending,
            template=self._template,
            now=self._clock(),
        )

    def list_devices(
        self, selection: Selection = EVERY_DEVICE, *, after: str = "", limit: int = 1_000
    ) -> tuple[Device, ...]:
        """Return a page of devices, by name.

        Args:
            selection: Which ones.
            after: The name before the first of them; empty for the first page.
            limit: How many at most.
        """
        return devices.list_devices(self._store, selection, after=after, limit=limit)

    def change_device(
        self,
        device_id: str,
        *,
        into: Iterable[str] = (),
        out_of: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        unlabel: Iterable[str] = (),
    ) -> Device:
        """Put a device into groups, take it out of others, and change its labels.

        Raises:
            NotFoundError: There is no device, or no group, of this name.
            ConfigError: The groups or labels are not allowed.
        """
        return devices.change_device(
            self._store, device_id, into=into, out_of=out_of, labels=labels, unlabel=unlabel
        )

    def show_device(self, device_id: str) -> Device:
        """Return one device.

        Raises:
            NotFoundError: There is none of this name.
        """
        return devices.find_device(self._store, device_id)

    def disable_device(self, device_id: str) -> Device:
        """Give a device no new token, and revoke those that it has, in one transaction.

        Raises:
            NotFoundError: There is none of this name.
        """
        return devices.disable_device(self._store, device_id, self._clock)

    def enable_device(self, device_id: str) -> Device:
        """Let a disabled or pending device have new tokens; those from before stay revoked.

        Raises:
            NotFoundError: There is none of this name.
        """
        return devices.enable_device(self._store, device_id)

    def remove_device(self, device_id: str) -> None:
        """Forget a device, and revoke the tokens that it has, in one transaction.

        Raises:
            NotFoundError: There is none of this name.
        """
        devices.remove_device(self._store, device_id, self._clock)

    def rotate_secret(
        self, device_id: str, *, overlap: int = 0, until_used: bool = False
    ) -> IssuedSecret:
        """Give a device a new secret; tokens that it has end in their own time.

        Args:
            device_id: Whose.
            overlap: Seconds that the old secret works too; 0: it stops at once.
            until_used: Whether it stops earlier, once the new one was used.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: The overlap is too long.
        """
        return devices.rotate_secret(
            self._store, device_id, self._clock, overlap=overlap, until_used=until_used
        )

    @property
    def database(self) -> Path:
        """The file that it is in."""
        return self._store.path

    @property
    def fleet(self) -> Fleet:
        """Groups, and what is done to many devices at once."""
        return Fleet(self._store, template=self._template, clock=self._clock)

    # Applications

    def add_application(self, client_id: str, *, public: bool = False) -> IssuedApplication:
        """Register an application for the password grant.

        Args:
            client_id: Its name.
            public: Whether it has no secret of its own because it could not keep one.

        Raises:
            ConfigError: The name is not allowed.
            ConflictError: There is a client of this name.
        """
        secret = None if public else generate_secret()
        client = self._add(client_id, ClientKind.APPLICATION, secret)
        return IssuedApplication(application=Application.of(client), secret=secret)

    def list_applications(self) -> tuple[Application, ...]:
        """Return every application, by name."""
        return tuple(map(Application.of, self._store.clients(ClientKind.APPLICATION)))

    def remove_application(self, client_id: str) -> None:
        """Forget an application; tokens that devices got through it end in their own time.

        Raises:
            NotFoundError: There is none of this name.
        """
        self._remove(client_id, ClientKind.APPLICATION)

    # Guards

    def ensure_guard_client(self, client_id: str) -> str:
        """Register a guard that may read revocations, or give it a new secret.

        Returns:
            The secret, which is not kept; an earlier one stops at once.

        Raises:
            ConfigError: The name is not allowed.
            ConflictError: The name belongs to a device or an application.
        """
        secret = generate_secret()
        known = self._store.client(client_id)
        if known is None or known.kind is not ClientKind.SERVICE:
            self._add(client_id, ClientKind.SERVICE, secret)
        else:
            with self._store.transaction():
                self._store.set_secret(client_id, hash_secret(secret))
        return secret

    def list_guard_clients(self) -> tuple[GuardClient, ...]:
        """Return every guard, by name."""
        return tuple(map(GuardClient.of, self._store.clients(ClientKind.SERVICE)))

    def remove_guard_client(self, client_id: str) -> None:
        """Forget a guard; it can read no further revocation.

        Raises:
            NotFoundError: There is none of this name.
        """
        self._remove(client_id, ClientKind.SERVICE)

    def _add(self, client_id: str, kind: ClientKind, secret: str | None) -> Client:
        check_name(client_id)
        client = Client(
            client_id=client_id,
            kind=kind,
            secret_hash=None if secret is None else hash_secret(secret),
            grants=KIND_GRANTS[kind],
            scopes=GUARD_SCOPES if kind is ClientKind.SERVICE else (),
            created_at=self._clock(),
        )
        with self._store.transaction():
            self._store.insert_client(client)
        return client

    def _remove(self, client_id: str, kind: ClientKind) -> None:
        with self._store.transaction():
            client = self._store.client(client_id)
            if client is None or client.kind is not kind:
                raise NotFoundError(f"no {kind} {shown_name(client_id)!r}")
            self._store.delete_client(client_id)
