# SPDX-License-Identifier: Apache-2.0
"""OAuth grants, one file each: a grant type and what it takes to be allowed a token by it.

A grant only decides; nothing is issued before every check of a request has passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from keyfob.server.clients import Client
from keyfob.server.issue import Access

__all__ = ["Grant"]


class Grant(Protocol):
    """One row of the token endpoint's table of grants."""

    @property
    def grant_type(self) -> str:
        """The value of the ``grant_type`` parameter."""

    async def authorize(self, client: Client, parameters: Mapping[str, str]) -> Access:
        """Return what a token may say, for a client that is authenticated and registered for it.

        Raises:
            OAuthError: The grant is not good.
        """
