# SPDX-License-Identifier: Apache-2.0
"""Groups of devices: a named template of rights and a lifetime, for all that are in it.

A device may be in several groups. Its tokens say its own scopes and those of each group, and live
as long as the device says, else as the strictest of its groups says, else as the server says. What
a group says is looked up when a token is issued: a change counts from the next token on, for one
device or a million, and costs nothing more for a million.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from keyfob.errors import ConfigError
from keyfob.server.clients import Client
from keyfob.server.credentials import SECRET_PREFIX
from keyfob.server.lifetimes import check_lifetime
from keyfob.server.templates import compiled

__all__ = [
    "GROUP_PATTERN",
    "MAX_GROUPS",
    "Group",
    "GroupRights",
    "check_group_name",
    "check_groups",
]

MAX_GROUPS: Final = 16
"""A device is in so many groups at most: each is looked up for its tokens."""
GROUP_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9._~-]*$"
"""What a group's name is made of, for those who describe it; ``check_group_name`` decides."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group, as it is kept.

    Args:
        name: What it is called.
        publish: Topic filters its devices may publish to; ``{device}`` is the device.
        subscribe: Topic filters they may subscribe to; the same.
        scopes: Further scopes.
        lifetime: Seconds their tokens live; None follows the server's default.
        created_at: When it was made, in Unix seconds.
    """

    name: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    lifetime: int | None = None
    created_at: float

    def check(self) -> None:
        """Refuse a group that cannot be.

        Raises:
            TopicError: A filter is not one, or has an unknown placeholder.
            ConfigError: The name, a scope or the lifetime is not allowed.
        """
        check_group_name(self.name)
        compiled(self.publish, self.subscribe, self.scopes)
        if self.lifetime is not None:
            check_lifetime(self.lifetime)


def check_group_name(name: str) -> None:
    """Refuse what is not a group's name.

    Raises:
        ConfigError: The message says what one is made of.
    """
    if name.startswith(SECRET_PREFIX):
        raise ConfigError(f"a name cannot begin with {SECRET_PREFIX}: secrets do")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:65]!r} is not a group's name: letters, digits and . _ ~ - with a letter or "
            "digit first, at most 64 characters"
        )


def check_groups(names: Collection[str]) -> None:
    """Refuse what cannot be the groups of a device.

    Raises:
        ConfigError: A name is none, or they are too many.
    """
    for name in names:
        check_group_name(name)
    if len(names) > MAX_GROUPS:
        raise ConfigError(f"a device is in {MAX_GROUPS} groups at most, not in {len(names)}")


class GroupRights:
    """What groups give to a device, kept as long as nobody changed the register.

    Args:
        find: Reads a group.
        change_counter: A number that changes whenever the register may have changed.
    """

    def __init__(
        self, find: Callable[[str], Group | None], change_counter: Callable[[], int]
    ) -> None:
        self._find = find
        self._change_counter = change_counter
        self._seen: int | None = None
        self._known: dict[str, Group | None] = {}

    def applied(self, client: Client) -> Client:
        """Return a client with its groups' scopes and lifetime beside its own.

        A group that is gone gives nothing.
        """
        # The counter before the group: what is committed in between changes it afterwards.
        if (counter := self._change_counter()) != self._seen:
            self._known.clear()
            self._seen = counter
        groups = [group for group in map(self._group, client.groups) if group is not None]
        scopes = dict.fromkeys(client.scopes)
        for group in groups:
            template = compiled(group.publish, group.subscribe, group.scopes)
            scopes.update(dict.fromkeys(template.scopes_of(client.client_id)))
        lifetimes = [group.lifetime for group in groups if group.lifetime is not None]
        lifetime = client.lifetime or min(lifetimes, default=None)
        return replace(client, scopes=tuple(scopes), lifetime=lifetime)

    def _group(self, name: str) -> Group | None:
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]
