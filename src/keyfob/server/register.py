# SPDX-License-Identifier: Apache-2.0
"""The register from outside the server: what the command line changes while the server runs.

Everything is committed to disk when a method returns, and the running server goes by it from then
on: it reads the same file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.errors import ConfigError, NotFoundError
from keyfob.server import devices
from keyfob.server.client_keys import client_jwks
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
from keyfob.server.names import check_name, shown_name
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
    ) -> IssuedSecret:
        """Register a device and return it with its secret, which is not kept.

        Args:
            device_id: Its name; see ``names``.
            publish: Topic filters it may publish to; ``{device}`` stands for its name.
            subscribe: Topic filters it may subscribe to; the same.
            scopes: Further scopes, each one or several separated by spaces.
            lifetime: Seconds its tokens live; None follows the server's default.

        Raises:
            ConfigError: Name, scope or lifetime is not allowed.
            TopicError: A filter is not one.
            ConflictError: There is a client of this name.
        """
        return devices.add_device(
            self._store,
            device_id,
            publish=publish,
            subscribe=subscribe,
            scopes=scopes,
            lifetime=lifetime,
            template=self._template,
            now=self._clock(),
        )

    def add_device_with_keys(
        self,
        device_id: str,
        *,
        jwks: bytes,
        publish: Iterable[str] = (),
        subscribe: Iterable[str] = (),
        scopes: Iterable[str] = (),
        lifetime: int | None = None,
    ) -> Device:
        """Register a device that authenticates by ``private_key_jwt`` and has no secret.

        Args:
            device_id: Its name; see ``names``.
            jwks: A JWK Set of its public keys; see ``client_keys``.
            publish: As in ``add_device``.
            subscribe: The same.
            scopes: The same.
            lifetime: The same.

        Raises:
            ConfigError: Name, keys, scope or lifetime is not allowed.
            TopicError: A filter is not one.
            ConflictError: There is a client of this name.
        """
        return devices.add_device_with_keys(
            self._store,
            device_id,
            jwks=client_jwks(jwks),
            publish=publish,
            subscribe=subscribe,
            scopes=scopes,
            lifetime=lifetime,
            template=self._template,
            now=self._clock(),
        )

    def list_devices(self) -> tuple[Device, ...]:
        """Return every device, by name."""
        return devices.list_devices(self._store)

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
        """Let a disabled device have new tokens; those from before stay revoked.

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

    def set_device_jwks(
        self, device_id: str, jwks: bytes, *, remove_secret: bool = False
    ) -> Device:
        """Give a device other public keys; those before stop at once.

        Args:
            device_id: Its name.
            jwks: All that it has from now on; see ``client_keys``.
            remove_secret: Whether its secret stops, too.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: The keys are not allowed.
        """
        return devices.set_jwks(
            self._store, device_id, client_jwks(jwks), remove_secret=remove_secret
        )

    def rotate_secret(self, device_id: str) -> IssuedSecret:
        """Give a device a new secret; the old one stops at once, its tokens in their own time.

        Raises:
            NotFoundError: There is none of this name.
            ConflictError: It has keys and no secret.
        """
        return devices.rotate_secret(self._store, device_id)

    # Applications

    def add_application(
        self, client_id: str, *, public: bool = False, jwks: bytes | None = None
    ) -> IssuedApplication:
        """Register an application for the password grant.

        Args:
            client_id: Its name.
            public: Whether it has no secret of its own because it could not keep one.
            jwks: Its public keys, which it has instead of a secret; see ``client_keys``.

        Raises:
            ConfigError: The name or the keys are not allowed, or it is public and has keys.
            ConflictError: There is a client of this name.
        """
        if public and jwks is not None:
            raise ConfigError("a public application has neither a secret nor keys")
        secret = None if public or jwks is not None else generate_secret()
        keys = None if jwks is None else client_jwks(jwks)
        client = self._add(client_id, ClientKind.APPLICATION, secret, jwks=keys)
        return IssuedApplication(application=Application.of(client), secret=secret)

    def list_applications(self) -> tuple[Application, ...]:
        """Return every application, by name."""
        return tuple(map(Application.of, self._store.clients(ClientKind.APPLICATION)))

    def set_application_jwks(
        self, client_id: str, jwks: bytes, *, remove_secret: bool = False
    ) -> Application:
        """Give an application other public keys; those before stop at once.

        Args:
            client_id: Its name.
            jwks: All that it has from now on; see ``client_keys``.
            remove_secret: Whether its secret stops, too.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: The keys are not allowed, or it is public.
        """
        keys = client_jwks(jwks)
        with self._store.transaction():
            known = self._store.client(client_id)
            if known is None or known.kind is not ClientKind.APPLICATION:
                raise NotFoundError(f"no application {shown_name(client_id)!r}")
            if known.public:
                raise ConfigError("a public application has neither a secret nor keys")
            self._store.set_jwks(client_id, keys)
            if remove_secret:
                self._store.remove_secret(client_id)
        return Application.of(known)

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

    def _add(
        self, client_id: str, kind: ClientKind, secret: str | None, *, jwks: str | None = None
    ) -> Client:
        check_name(client_id)
        client = Client(
            client_id=client_id,
            kind=kind,
            secret_hash=None if secret is None else hash_secret(secret),
            grants=KIND_GRANTS[kind],
            scopes=GUARD_SCOPES if kind is ClientKind.SERVICE else (),
            created_at=self._clock(),
            jwks=jwks,
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
