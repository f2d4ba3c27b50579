# SPDX-License-Identifier: Apache-2.0
"""The services of the register: guards, and whoever else asks the server about tokens."""

from __future__ import annotations

from collections.abc import Iterable

from keyfob.errors import ConfigError
from keyfob.server.admin_scopes import ADMIN_SCOPES
from keyfob.server.client_register import ClientRegister
from keyfob.server.clients import (
    ADMIN_GRANTS,
    GUARD_SCOPE,
    GUARD_SCOPES,
    SERVICE_SCOPES,
    ClientKind,
    GuardClient,
    Service,
)
from keyfob.server.credentials import generate_secret, hash_secret

__all__ = ["ServiceRegister"]


class ServiceRegister(ClientRegister):
    """What ``Register`` does with services."""

    def add_service(self, client_id: str, *, scopes: Iterable[str]) -> tuple[Service, str]:
        """Register a client that reads what its scopes name.

        Args:
            client_id: Its name.
            scopes: At least one of ``SERVICE_SCOPES``.

        Returns:
            The service, and its secret, which is not kept.

        Raises:
            ConfigError: The name or a scope is not allowed.
            ConflictError: There is a client of this name.
        """
        with self._recorded("service.add", client_id):
            wanted = tuple(dict.fromkeys(scopes))
            if not wanted or not set(wanted) <= set(SERVICE_SCOPES):
                raise ConfigError(f"the scopes of a service are: {', '.join(SERVICE_SCOPES)}")
            secret = generate_secret()
            grants = () if set(ADMIN_SCOPES).isdisjoint(wanted) else ADMIN_GRANTS
            client = self._add(client_id, ClientKind.SERVICE, secret, scopes=wanted, grants=grants)
        return Service.of(client), secret

    def list_services(self) -> tuple[Service, ...]:
        """Return every service, guards among them, by name."""
        return tuple(map(Service.of, self._store.clients(ClientKind.SERVICE)))

    def service_page(self, *, after: str, limit: int) -> tuple[Service, ...]:
        """Return the services that follow a name, by name."""
        page = self._store.client_page(ClientKind.SERVICE, after=after, limit=limit)
        return tuple(map(Service.of, page))

    def show_service(self, client_id: str) -> Service:
        """Return one service.

        Raises:
            NotFoundError: There is none of this name.
        """
        return Service.of(self._found(client_id, ClientKind.SERVICE))

    def remove_service(self, client_id: str) -> None:
        """Forget a service; it can read nothing from then on.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("service.remove", client_id):
            self._remove(client_id, ClientKind.SERVICE)

    # Guards

    def ensure_guard_client(self, client_id: str) -> str:
        """Register a guard that may read revocations, or give it a new secret.

        Returns:
            The secret, which is not kept; an earlier one stops at once.

        Raises:
            ConfigError: The name is not allowed.
            ConflictError: The name belongs to a client that is no guard.
        """
        secret = generate_secret()
        known = self._store.client(client_id)
        if known is None or GUARD_SCOPE not in known.scopes:
            with self._recorded("guard.add", client_id):
                self._add(client_id, ClientKind.SERVICE, secret, scopes=GUARD_SCOPES)
        else:
            with self._recorded("guard.rotate-secret", client_id), self._store.transaction():
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
        with self._recorded("guard.remove", client_id):
            self._remove(client_id, ClientKind.SERVICE)
