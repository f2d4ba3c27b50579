# SPDX-License-Identifier: Apache-2.0
"""What doctor is told of the machine: users, files, sockets, versions. All values, no I/O."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Facts", "GuardFacts", "Node", "PluginFile", "SocketFacts", "User"]


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who runs a process."""

    name: str
    uid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True)
class Node:
    """A file or a folder: who owns it and what its mode says. Access control lists are not seen."""

    path: Path
    mode: int
    uid: int
    gid: int

    def lets(self, user: User, want: int) -> bool:
        """Tell whether a user may do what ``want`` says: 4 read, 2 write, 1 enter or execute."""
        if user.uid == 0:
            return True
        if self.uid == user.uid:
            bits = self.mode >> 6
        elif self.gid in user.groups:
            bits = self.mode >> 3
        else:
            bits = self.mode
        return bits & want == want

    @property
    def is_socket(self) -> bool:
        """Tell whether it is a socket."""
        return stat.S_ISSOCK(self.mode)

    @property
    def is_file(self) -> bool:
        """Tell whether it is an ordinary file."""
        return stat.S_ISREG(self.mode)


Way = tuple[Node, ...]
"""A path from / to its end, or to the last part that is there."""


@dataclass(frozen=True, slots=True)
class PluginFile:
    """The plugin's file. ``release`` and ``wire``: what it says it was built from."""

    path: Path
    way: Way
    exists: bool
    is_plugin: bool = False
    machine_fits: bool = True
    wire: int | None = None
    sources: str = ""
    replaced_under: tuple[int, ...] = ()  # processes that have an older file of this name loaded


@dataclass(frozen=True, slots=True)
class SocketFacts:
    """The guard's socket, and who answered when it was tried."""

    path: Path
    way: Way
    exists: bool
    answer: Literal["answers", "refused", "forbidden", "untried"] = "untried"
    guard: User | None = None


@dataclass(frozen=True, slots=True)
class GuardFacts:
    """What keyfob.toml says of the guard, and whom that file belongs to."""

    conf: Path
    owner: str
    socket: Path
    socket_users: tuple[str, ...]
    socket_group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it. None: not known.

    ``wire`` and ``sources`` are what a plugin says that this Keyfob builds.
    """

    version: tuple[int, int, int] | None
    broker_user: User | None
    plugin: PluginFile | None = None
    socket: SocketFacts | None = None
    guard: GuardFacts | None = None
    guard_users: frozenset[int] = frozenset()
    missing_users: tuple[str, ...] = ()
    wire: int = 0
    sources: str = ""
