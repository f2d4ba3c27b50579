# SPDX-License-Identifier: Apache-2.0
"""A ceiling for each grant: how long its tokens live at most, whatever the device says.

A login by password may be worth less than one by a key, whoever's it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from keyfob.server.clients import Client
from keyfob.server.grants import Grant
from keyfob.server.issue import Access

__all__ = ["LimitedGrant", "limited"]


class LimitedGrant:
    """A grant whose tokens live no longer than some time.

    Args:
        grant: What decides everything else.
        most: Seconds.
        default: Seconds that a token lives where its device does not say it.
    """

    def __init__(self, grant: Grant, *, most: int, default: int) -> None:
        self._grant = grant
        self._most = most
        self._default = default

    @property
    def grant_type(self) -> str:
        """The value of ``grant_type`` that asks for it."""
        return self._grant.grant_type

    async def authorize(self, client: Client, parameters: Mapping[str, str]) -> Access:
        """Allow what the grant allows, for the shorter of the two times.

        Raises:
            OAuthError: As the grant does.
        """
        access = await self._grant.authorize(client, parameters)
        return replace(access, lifetime=min(access.lifetime or self._default, self._most))


def limited(grant: Grant, lifetimes: Mapping[str, int], *, default: int) -> Grant:
    """Return a grant with its ceiling; itself where it has none.

    Args:
        grant: Which one.
        lifetimes: Seconds, by grant type.
        default: Seconds that a token lives where its device does not say it.
    """
    most = lifetimes.get(grant.grant_type)
    return grant if most is None else LimitedGrant(grant, most=most, default=default)
