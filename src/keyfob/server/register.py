# SPDX-License-Identifier: Apache-2.0
"""The register from outside the server: what the command line changes while the server runs.

Everything is committed to disk when a method returns, and the running server goes by it from then
on: it reads the same database.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from keyfob.server import client_grants
from keyfob.server.application_register import ApplicationRegister
from keyfob.server.client_grants import ClientGrants
from keyfob.server.device_register import DeviceRegister
from keyfob.server.service_register import ServiceRegister
from keyfob.server.stores.admin_actions import AdminAction, last_actions
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import open_store

__all__ = ["Register"]


class Register(DeviceRegister, ApplicationRegister, ServiceRegister):
    """Devices, applications, services and their grants; a context manager that closes its database.

    Made as a ``DeviceRegister`` is.
    """

    @classmethod
    def open(
        cls, database: Place, *, client_id_template: str = "{device}", migrate: bool = True
    ) -> Self:
        """Open the register in a database: a file, made when missing, or one in PostgreSQL.

        Args:
            database: Where it is.
            client_id_template: What MQTT client identifiers are made of.
            migrate: Whether the database is brought to this code's schema.

        Raises:
            ConfigError: It cannot be used; see ``open_store``.
            UpstreamError: The PostgreSQL server does not answer.
        """
        store = open_store(database, migrate=migrate)
        return cls(store, client_id_template=client_id_template)

    # Grants

    def show_grants(self, client_id: str) -> ClientGrants:
        """Return which grants a device or an application may use.

        Raises:
            NotFoundError: There is none of this name.
        """
        return client_grants.show_grants(self._store, client_id)

    def allow_grant(
        self, client_id: str, grant: str, *, act_for: Iterable[str] | None = None
    ) -> ClientGrants:
        """Let a device or an application use one more grant.

        Args:
            client_id: Its name.
            grant: The grant type, or the short form of its URN, such as ``token-exchange``.
            act_for: The devices that this gateway gets tokens for from now on (``name_patterns``);
                None leaves them.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: It is no grant for it, or a pattern is none.
        """
        with self._recorded("grant.allow", client_id):
            return client_grants.allow_grant(self._store, client_id, grant, act_for)

    def withdraw_grant(self, client_id: str, grant: str) -> ClientGrants:
        """Take a grant from a client; tokens that it got by it end in their own time.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: It is no grant for it.
        """
        with self._recorded("grant.withdraw", client_id):
            return client_grants.withdraw_grant(self._store, client_id, grant)

    # The trail

    def list_actions(self, *, last: int = 100, subject: str = "") -> tuple[AdminAction, ...]:
        """Return who changed what, oldest first; reading is no action.

        Args:
            last: So many, the last ones.
            subject: Only what concerned this client; empty: everything.
        """
        return last_actions(self._store.connection, limit=last, subject=subject)
