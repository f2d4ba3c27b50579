# SPDX-License-Identifier: Apache-2.0
"""The operators of a server somewhere else, through its admin API."""

from __future__ import annotations

from keyfob.cli.admin_client import NOTHING, AdminClient, gathered, one
from keyfob.server.admin.operators import NewOperator, NewPassword, OperatorPage
from keyfob.server.operators import Operator
from keyfob.server.passwords import check_password

__all__ = ["RemoteOperators"]


class RemoteOperators:
    """An ``AnyOperators``.

    Args:
        client: What asks.
    """

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    def add(
        self, name: str, password: str | None, *, openid_subject: str | None = None
    ) -> Operator:
        """Make an account."""
        if password is not None:
            check_password(password)
        wish = NewOperator(name=name, password=password, openid_subject=openid_subject)
        return self._client.ask("POST", "operators", kind=Operator, body=wish)

    def list(self) -> tuple[Operator, ...]:
        """List the accounts."""
        return gathered(
            lambda place: self._client.ask("GET", "operators", kind=OperatorPage, query=place)
        )

    def set_password(self, name: str, password: str) -> None:
        """Change a password."""
        check_password(password)
        path = *one("operators", name), "password"
        self._client.ask("PUT", *path, kind=NOTHING, body=NewPassword(password=password))

    def remove(self, name: str) -> None:
        """Remove an account."""
        self._client.ask("DELETE", *one("operators", name), kind=NOTHING)
