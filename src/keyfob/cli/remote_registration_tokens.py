# SPDX-License-Identifier: Apache-2.0
"""The initial access tokens of a server somewhere else, through its admin API."""

from __future__ import annotations

from typing import Any

import msgspec

from keyfob.cli.admin_client import NOTHING, AdminClient, gathered, one
from keyfob.server.admin.registration_tokens import (
    NewRegistrationToken,
    NewTemplate,
    RegistrationTokenPage,
)
from keyfob.server.registration.initial_tokens import (
    IssuedRegistrationToken,
    RegistrationToken,
    Template,
)

__all__ = ["RemoteRegistrationTokens"]


class RemoteRegistrationTokens:
    """An ``AnyRegistrationTokens``.

    Args:
        client: What asks.
    """

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    def add(
        self, name: str, *, uses: int, seconds: int, template: Template
    ) -> IssuedRegistrationToken:
        """Make a token."""
        members: dict[str, Any] = msgspec.structs.asdict(template)
        wish = NewRegistrationToken(
            name=name, uses=uses, expires_in=seconds, template=NewTemplate(**members)
        )
        return self._client.ask(
            "POST", "registration-tokens", kind=IssuedRegistrationToken, body=wish
        )

    def list(self, *, after: str = "", limit: int = 1_000) -> tuple[RegistrationToken, ...]:
        """List a page of tokens."""
        return gathered(
            lambda place: self._client.ask(
                "GET", "registration-tokens", kind=RegistrationTokenPage, query=place
            ),
            after=after,
            limit=limit,
        )

    def remove(self, name: str) -> None:
        """Forget a token."""
        self._client.ask("DELETE", *one("registration-tokens", name), kind=NOTHING)
