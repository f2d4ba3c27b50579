# SPDX-License-Identifier: Apache-2.0
"""The guard's socket for Mosquitto plugins: who may open a link, and which broker has which.

docs/wire-protocol.md tells what is said on a link; ``plugin_link`` says it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from keyfob.brokers.mosquitto.frames import Hello
from keyfob.brokers.mosquitto.plugin_link import PluginLink
from keyfob.brokers.mosquitto.unix_socket import UnixListener, user_ids
from keyfob.brokers.mosquitto.workers import check_worker, socket_of
from keyfob.guard.guard import Guard
from keyfob.guard.session import Change

__all__ = ["BrokerStatus", "LinkServer"]

BLOCKING_WAIT: Final = 0.02
"""Seconds: all other clients of that broker wait as long."""

CLOSE_TIMEOUT: Final = 2.0
"""Seconds that a plugin has to read its last frames when the guard stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStatus:
    """A broker that has a link.

    Attributes:
        name: What it calls itself (``plugin_opt_broker_name``).
        version: Which Mosquitto it is, as far as its plugin can tell, such as ``2.0.11``.
        instance: Which run of it, in hex.
        since: When the link was opened, in Unix seconds.
        synchronised: Plugin and guard agree who is there: CONNECTs are decided.
    """

    name: str
    version: str
    instance: str
    since: float
    synchronised: bool


class LinkServer:
    """Serves the plugins of the brokers on this machine, as one worker of the guard.

    Args:
        guard: Who decides.
        path: Where the first worker listens; see ``socket_of`` for the others.
        users: Names of users that a broker may run as, besides our own and root.
        group: The group that may reach the socket, where a broker runs as another user.
        clock: Unix seconds.
        blocking_wait: Seconds that a broker which stops while it waits for a decision may be kept
            waiting for keys or introspection.
        worker: Which worker this is, from 0.
        workers: How many there are. Each client belongs to one of them; see ``owner_of``.

    Raises:
        ConfigError: There is no such user, or no such worker.
    """

    def __init__(
        self,
        guard: Guard,
        path: Path,
        *,
        users: Iterable[str] = (),
        group: str | None = None,
        clock: Callable[[], float] = time.time,
        blocking_wait: float = BLOCKING_WAIT,
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        check_worker(worker, workers)
        self.guard = guard
        self.guard_instance = os.urandom(16)
        self.users = frozenset({os.geteuid(), 0}) | user_ids(users)
        self.worker = worker
        self.workers = workers
        self.blocking_wait = blocking_wait
        self._path = socket_of(path, worker)
        self._group = group
        self._clock = clock
        self._links: set[PluginLink] = set()
        self._brokers: dict[str, tuple[PluginLink, float]] = {}
        self._stop: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Open the socket.

        Raises:
            ConfigError: The path cannot be listened at safely; see ``UnixListener``.
        """
        listener = UnixListener(self._path, group=self._group)
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(self._accept, sock=listener.socket)
        unsubscribe = self.guard.subscribe(self._push)

        def stop() -> None:
            unsubscribe()
            server.close()
            listener.close()

        self._stop = stop

    async def close(self) -> None:
        """Close the socket and every link, after what was said on it is written."""
        self._stop()
        self._stop = lambda: None
        for link in tuple(self._links):
            link.close()
        if self._links:
            await asyncio.wait([link.gone for link in self._links], timeout=CLOSE_TIMEOUT)
        for link in tuple(self._links):
            link.abort()

    def brokers(self) -> tuple[BrokerStatus, ...]:
        """The brokers that have a link now."""
        return tuple(
            BrokerStatus(
                name=name,
                version=_version(link.hello.broker_version),
                instance=link.hello.broker_instance.hex(),
                since=since,
                synchronised=link.synchronised,
            )
            for name, (link, since) in self._brokers.items()
            if link.hello
        )

    # For links

    def opened(self, link: PluginLink, hello: Hello) -> None:
        """Take note which broker a link is of; it replaces an earlier one of the same name."""
        earlier = self._brokers.pop(hello.broker_name, None)
        if earlier is not None:
            # Two brokers of one name would go on taking the link from each other.
            earlier[0].end("a new link has the same broker name")
        self._brokers[hello.broker_name] = (link, self._clock())

    def closed(self, link: PluginLink) -> None:
        """Forget a link; sessions stay as they are until the broker says otherwise."""
        self._links.discard(link)
        if link.hello and self._brokers.get(link.hello.broker_name, (None,))[0] is link:
            del self._brokers[link.hello.broker_name]

    def _accept(self) -> PluginLink:
        link = PluginLink(self)
        self._links.add(link)
        return link

    def _push(self, change: Change) -> None:
        if change.broker in self._brokers:
            self._brokers[change.broker][0].push(change)


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"
